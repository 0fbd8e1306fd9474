"""Whether the way from a page's bytes to the Parquet file takes more instructions than before: guard.py BINARY [--write] [--turns 3]

Runs the binary under callgrind on recordings of fixed pages, without network, and takes a run of few pages from one of many: what is
left is reading, decoding and encoding of 40,000 records. Wall time plays no part. Compares the least of some turns with
benches/guard.json, and ends with 1 above 2 %; `--write` makes what was counted the figure to compare with. The figure holds for a
compiler and a build profile, which stand beside it; needs valgrind (Debian: valgrind).
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

from api import Api
from load import project

BASELINE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "guard.json")
PAGE, FEW, MANY = 1000, 4, 44
TOLERANCE = 0.02


def record(binary, folder):
    api = Api(os.path.join(folder, "records"), PAGE * MANY, processes=1)
    try:
        for pages in (FEW, MANY):
            place = os.path.join(folder, str(pages))
            project(place, f"{api.url}/n{pages * PAGE}", PAGE)
            call(binary, "-C", place, "run", "items", "--record", os.path.join(place, "recording"))
    finally:
        api.end()


def call(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done


def count(binary, folder, pages):
    place, into = os.path.join(folder, str(pages)), os.path.join(folder, "into")
    shutil.rmtree(into, ignore_errors=True)
    valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={os.path.join(folder, 'callgrind.out')}"]
    done = call(*valgrind, binary, "-C", place, "run", "items", "--replay", os.path.join(place, "recording"), "--into", into, "--json")
    kept = json.loads(done.stdout)[0]["counts"]["kept"]
    if kept != pages * PAGE:
        raise SystemExit(f"{kept:,} rows of {pages * PAGE:,} came out of the recording")
    return int(re.search(r"Collected : (\d+)", done.stderr).group(1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    if not shutil.which("valgrind"):
        raise SystemExit("valgrind is not installed: apt-get install valgrind")
    binary = os.path.abspath(arguments.binary)
    with tempfile.TemporaryDirectory(prefix="highwater-guard-") as folder:
        record(binary, folder)
        counted = {pages: [count(binary, folder, pages) for _ in range(arguments.turns)] for pages in (FEW, MANY)}
    for pages, found in counted.items():
        print(f"{pages * PAGE:,} records: {', '.join(f'{one:,}' for one in found)} instructions, {max(found) / min(found) - 1:.2%} apart")
    now = round((min(counted[MANY]) - min(counted[FEW])) / ((MANY - FEW) * PAGE))
    rustc = call("rustc", "--version").stdout.strip()
    if arguments.write:
        with open(BASELINE, "w") as file:
            json.dump({"instructions_a_row": now, "profile": "release", "rustc": rustc}, file, indent=2)
            file.write("\n")
        print(f"{now:,} instructions a row, written to {BASELINE}")
        return 0
    with open(BASELINE) as file:
        known = json.load(file)
    change = now / known["instructions_a_row"] - 1
    print(f"{now:,} instructions a row, {known['instructions_a_row']:,} before: {change:+.2%}, {TOLERANCE:.0%} is allowed")
    if rustc != known["rustc"]:
        print(f"the figure is of {known['rustc']}, this is {rustc}")
    return 1 if change > TOLERANCE else 0


if __name__ == "__main__":
    sys.exit(main())
