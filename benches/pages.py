"""Writes pages of the bench's API to files, one answer's body each: pages.py FOLDER [--pages 100] [--per 1000]"""

import argparse
import os
import tempfile
import urllib.request

from api import Api


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--pages", type=int, default=100)
    parser.add_argument("--per", type=int, default=1000)
    arguments = parser.parse_args()
    os.makedirs(arguments.folder, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="highwater-pages-") as scratch:
        api = Api(os.path.join(scratch, "records"), arguments.pages * arguments.per, processes=1)
        try:
            for page in range(1, arguments.pages + 1):
                with urllib.request.urlopen(f"{api.url}/n{api.rows}/items?page={page}&per_page={arguments.per}") as answer:
                    body = answer.read()
                with open(os.path.join(arguments.folder, f"{page:05}.json"), "wb") as file:
                    file.write(body)
        finally:
            api.end()


if __name__ == "__main__":
    main()
