"""How much memory a stream takes whose parents are many: peak resident memory of whole runs, by number of parents.

    parents.py BINARY FOLDER [--parents 10000,100000,1000000] [--memory 128MiB] [--seed 1]

Serves parents in pages of a thousand with 0, 1 or 2 children each (the seed says who), and loads the children by a cursor of their own
into FOLDER: a first run, and a second one after which a hundredth of the parents have another child. What was measured is kept in
FOLDER/figures.json, and not measured again by the same call. Counts are compared with what was served.
"""

import argparse
import asyncio
import json
import os
import random
import subprocess
import threading
import time
from functools import lru_cache

PAGE = 1000
EARLY = b"2026-01-02T00:00:00.000Z"
LATE = b"2026-02-01T12:00:00.000Z"


def answer(body, date):
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: %s\r\nContent-Length: %d\r\n\r\n"
    return head % (date, len(body)) + body


class Source:
    """Answers requests of one line each as fast as Python can: what it does must not be most of what is measured."""

    def __init__(self, parents, seed):
        self.parents = parents
        self.children = bytes(random.Random(seed).choices(range(3), k=parents))
        self.stand(False, b"Sun, 01 Feb 2026 00:00:00 GMT")

    def stand(self, late, date):
        """With `late` a hundredth of the parents have another child."""
        self.late, self.date, self.requests = late, date, 0
        self.nothing = answer(b'{"rows":[]}', date)

    def answer(self, target):
        self.requests += 1
        path, _, query = target.partition(b"?")
        steps = path.split(b"/")
        if len(steps) < 3:
            return self.page(int(query.removeprefix(b"page=") or b"1"))
        parent = int(steps[2])
        since = instant(query.removeprefix(b"since="))
        rows = [(4 * parent + n, EARLY) for n in range(self.children[parent])] if since <= EARLY else []
        if self.late and parent % 100 == 0 and since <= LATE:
            rows.append((4 * parent + 3, LATE))
        if not rows:
            return self.nothing
        return answer(b'{"rows":[%s]}' % b",".join(b'{"id":%d,"at":"%s"}' % row for row in rows), self.date)

    def page(self, page):
        ids = range((page - 1) * PAGE, min(page * PAGE, self.parents))
        more = b"true" if page * PAGE < self.parents else b"false"
        return answer(b'{"rows":[%s],"more":%s}' % (b",".join(b'{"id":%d}' % i for i in ids), more), self.date)


@lru_cache
def instant(text):
    """An instant of the query as it stands in records."""
    return text.replace(b"%3A", b":")


class Connection(asyncio.Protocol):
    def __init__(self, source):
        self.source = source
        self.got = b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        *requests, self.got = (self.got + data).split(b"\r\n\r\n")
        for request in requests:
            self.transport.write(self.source.answer(request[4 : request.index(b" ", 4)]))


def serve(source):
    """The port of a server that ends with this program."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(loop.create_server(lambda: Connection(source), "127.0.0.1", 0))
    threading.Thread(target=loop.run_forever, daemon=True).start()
    return server.sockets[0].getsockname()[1]


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
    source = Source(parents, seed)
    project(folder, serve(source), memory)
    figures = {"parents": parents}
    kept, figures["first_mib"], figures["first_s"] = run(binary, folder)
    figures["first_requests"] = source.requests
    assert kept == sum(source.children), (kept, sum(source.children))
    source.stand(True, b"Mon, 02 Feb 2026 00:00:00 GMT")
    kept, figures["second_mib"], figures["second_s"] = run(binary, folder)
    figures["second_requests"] = source.requests
    assert kept == len(range(0, parents, 100)), kept
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
