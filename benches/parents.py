"""How much memory a stream takes whose parents are many: peak resident memory of whole runs, by number of parents.

    parents.py BINARY FOLDER [--parents 10000,100000,1000000] [--memory 128MiB] [--seed 1]

Serves parents in pages of a thousand with 0, 1 or 2 children each (the seed says who), and loads the children by a cursor of their own
into FOLDER: a first run, and a second one after which a hundredth of the parents have another child. What was measured is kept in
FOLDER/figures.json, and not measured again by the same call. Counts are compared with what was served.
"""

import argparse
import json
import os
import random
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

PAGE = 1000


class Source:
    def __init__(self, parents, seed):
        self.parents = parents
        self.children = bytes(random.Random(seed).choices(range(3), k=parents))
        self.late = 0
        self.requests = 0

    def answer(self, path, query):
        self.requests += 1
        if path == "/parents":
            page = int(query.get("page", ["1"])[0])
            ids = range((page - 1) * PAGE, min(page * PAGE, self.parents))
            return {"rows": [{"id": i} for i in ids], "more": page * PAGE < self.parents}
        parent = int(path.split("/")[2])
        since = query.get("since", [""])[0]
        rows = [{"id": 4 * parent + n, "at": "2026-01-02T00:00:00.000Z"} for n in range(self.children[parent])]
        if self.late and parent % 100 == 0:
            rows.append({"id": 4 * parent + 3, "at": "2026-02-01T12:00:00.000Z"})
        return {"rows": [row for row in rows if row["at"] >= since]}


def serve(source, clock):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self):
            url = urlparse(self.path)
            body = json.dumps(source.answer(url.path, parse_qs(url.query))).encode()
            self.wfile.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: %s\r\nContent-Length: %d\r\n\r\n%s"
                % (clock["date"].encode(), len(body), body)
            )

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def project(folder, port, memory):
    for name in ("sources", "sinks", "jobs"):
        os.makedirs(os.path.join(folder, name), exist_ok=True)

    def write(path, text):
        with open(os.path.join(folder, path), "w") as file:
            file.write(text)

    write("config.toml", f'version = 1\n[limits]\nmemory = "{memory}"\n')
    write("sinks/lake.toml", 'version = 1\ntype = "parquet"\nurl = "lake"\n')
    write(
        "sources/api.toml",
        f"""version = 1
type = "http"
base_url = "http://127.0.0.1:{port}"
[streams.parents]
path = "/parents"
records = "rows"
primary_key = ["id"]
paging = {{ type = "page", param = "page", more = "more" }}
[streams.children]
path = "/parents/{{{{ parent.id }}}}/children"
records = "rows"
parent = {{ stream = "parents", carry = {{ parent = "id" }} }}
[streams.children.cursor]
field = "at"
type = "timestamp"
query = {{ since = "{{{{ from }}}}" }}
""",
    )
    write(
        "jobs/children.toml",
        """version = 1
source = "api"
stream = "children"
sink = "lake"
mode = "append"
[window]
start = "2026-01-01T00:00:00Z"
""",
    )


def run(binary, folder):
    """The rows that were kept, the peak of resident memory in MiB, and the seconds that it took."""
    begun = time.time()
    process = subprocess.Popen([binary, "-C", folder, "run", "children", "--json"], stdout=subprocess.PIPE, text=True)
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"the run failed: {out}")
    return json.loads(out)[0]["counts"]["kept"], usage.ru_maxrss / 1024, time.time() - begun


def measure(binary, folder, parents, memory, seed):
    source, clock = Source(parents, seed), {"date": "Sun, 01 Feb 2026 00:00:00 GMT"}
    server = serve(source, clock)
    project(folder, server.server_address[1], memory)
    figures = {"parents": parents}
    kept, figures["first_mib"], figures["first_s"] = run(binary, folder)
    figures["first_requests"] = source.requests
    assert kept == sum(source.children), (kept, sum(source.children))
    source.late, clock["date"], source.requests = 1, "Mon, 02 Feb 2026 00:00:00 GMT", 0
    kept, figures["second_mib"], figures["second_s"] = run(binary, folder)
    figures["second_requests"] = source.requests
    assert kept == len(range(0, parents, 100)), kept
    server.shutdown()
    return figures


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("binary")
    arguments.add_argument("folder")
    arguments.add_argument("--parents", default="10000,100000,1000000")
    arguments.add_argument("--memory", default="128MiB")
    arguments.add_argument("--seed", type=int, default=1)
    options = arguments.parse_args()
    os.makedirs(options.folder, exist_ok=True)
    known = os.path.join(options.folder, "figures.json")
    figures = json.load(open(known)) if os.path.exists(known) else {}
    for parents in map(int, options.parents.split(",")):
        name = f"{parents} {options.memory} {options.seed}"
        if name not in figures:
            folder = os.path.join(options.folder, f"{parents}-{os.getpid()}")
            figures[name] = measure(os.path.abspath(options.binary), folder, parents, options.memory, options.seed)
            with open(known + ".new", "w") as file:
                json.dump(figures, file, indent=1)
            os.replace(known + ".new", known)
        found = figures[name]
        print(
            f"{parents} parents: first run {found['first_mib']:.0f} MiB, {found['first_requests']} requests, {found['first_s']:.0f} s;"
            f" second run {found['second_mib']:.0f} MiB, {found['second_requests']} requests, {found['second_s']:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
