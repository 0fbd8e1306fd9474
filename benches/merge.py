"""A merge into a large table: how long it takes and how much memory, as the number of files grows.

    merge.py BINARY FOLDER [--rows 10000000] [--files 100] [--updates 10000] [--memory 128MiB]

Loads a table of --rows rows in --files files from an API on a loopback port, then merges --updates updates: once into rows of the
last two files, once into rows of all files. Prints wall seconds, the peak of resident memory and what was written anew, and checks
with DuckDB that every row is there once and every update has come. The load is kept in FOLDER; a second call begins at the merges.
"""

import argparse
import datetime as dt
import glob
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

import duckdb

START = dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc)
PAGE = 5000


def second(text):
    return (dt.datetime.fromisoformat(text.replace("Z", "+00:00")) - START).total_seconds()


def stamp(seconds):
    return (START + dt.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


class Api:
    """Row n was written at second n. Updates come in batches, each a list of ids, one a second from a time on."""

    def __init__(self, rows):
        self.rows, self.batches = rows, []

    def page(self, low, high, page):
        first = max(0, int(low))
        found = range(first, min(self.rows, int(high) + 1)) if first < self.rows else range(0)
        part = found[(page - 1) * PAGE : page * PAGE]
        rows = [row(ident, ident, 0) for ident in part]
        more = len(found) > page * PAGE
        for number, (begin, ids) in enumerate(self.batches):
            if not rows and low <= begin + len(ids) and begin <= high:
                chosen = [(begin + at, ident) for at, ident in enumerate(ids) if low <= begin + at <= high]
                rows = [row(ident, at, number + 1) for at, ident in chosen[(page - 1) * PAGE : page * PAGE]]
                more = len(chosen) > page * PAGE
        return '{"more":%s,"data":[%s]}' % ("true" if more else "false", ",".join(rows))


def row(ident, at, version):
    return (
        f'{{"id":{ident:012d},"updated_at":"{stamp(at)}","version":{version},"name":"customer {ident % 977}",'
        f'"city":"city {ident % 31}","amount":{ident % 100000}.25,"note":"a note of some length about row {ident}"}}'
    ).replace(f'"id":{ident:012d}', f'"id":"{ident:012d}"')


def handler(api):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_GET(self):
            query = {name: values[0] for name, values in parse_qs(urlparse(self.path).query).items()}
            body = api.page(second(query["from"]), second(query["to"]), int(query.get("page", "1"))).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler


def write_project(folder, port, arguments):
    step = -(-arguments.rows // arguments.files)
    files = {
        "config.toml": f'version = 1\n[limits]\nmemory = "{arguments.memory}"\n',
        "sinks/lake.toml": 'version = 1\ntype = "parquet"\nurl = "lake"\n[parquet]\ncompression = "zstd(1)"\n',
        "sources/api.toml": f'version = 1\ntype = "http"\nbase_url = "http://127.0.0.1:{port}"\n[streams.rows]\npath = "/rows"\n'
        'records = "data"\nprimary_key = ["id"]\npaging = { type = "page", param = "page", more = "more" }\n'
        '[streams.rows.cursor]\nfield = "updated_at"\ntype = "timestamp"\n'
        'query = { from = "{{ from }}", to = "{{ to }}" }\n',
        "jobs/rows.toml": 'version = 1\nsource = "api"\nstream = "rows"\nsink = "lake"\nmode = "merge"\n'
        f'[window]\nstart = "{stamp(0)}"\nstep = "{step}s"\n',
    }
    for path, text in files.items():
        path = os.path.join(folder, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)


def run(arguments):
    """One run; the window ends where the clock of the API says."""
    began = time.time()
    child = subprocess.Popen([arguments.binary, "-C", arguments.folder, "run", "rows", "--json"], stdout=subprocess.PIPE)
    out = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        raise SystemExit(f"the run failed: {out[-2000:]!r}")
    return time.time() - began, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("folder")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--files", type=int, default=100)
    parser.add_argument("--updates", type=int, default=10_000)
    parser.add_argument("--memory", default="128MiB")
    arguments = parser.parse_args()
    os.makedirs(arguments.folder, exist_ok=True)
    api = Api(arguments.rows)
    clock = {"now": arguments.rows + 120}

    class Clocked(handler(api)):
        def date_time_string(self, timestamp=None):
            at = START + dt.timedelta(seconds=clock["now"])
            return at.strftime("%a, %d %b %Y %H:%M:%S GMT")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Clocked)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    write_project(arguments.folder, server.server_port, arguments)
    table = os.path.join(arguments.folder, "lake", "rows", "*.parquet")
    print(f"{arguments.rows:,} rows in {arguments.files} files, {arguments.updates:,} updates, limits.memory = {arguments.memory}", flush=True)
    print("| what | wall s | CPU s | peak RSS MiB | files written anew |\n|---|--:|--:|--:|--:|", flush=True)

    def report(what, before, figures):
        wall, rss, cpu = figures
        print(f"| {what} | {wall:.1f} | {cpu:.1f} | {rss:.0f} | {len(before - set(glob.glob(table)))} |", flush=True)

    before = set(glob.glob(table))
    report("load, or nothing to do", before, run(arguments))
    per_file = arguments.rows // arguments.files
    last = [arguments.rows - 1 - (at * 2 * per_file // arguments.updates) for at in range(arguments.updates)]
    spread = [at * (arguments.rows // arguments.updates) for at in range(arguments.updates)]
    for what, ids in (("merge into the last two files", last), ("merge into all files", spread)):
        begin = clock["now"] + 100
        api.batches.append((begin, ids))
        clock["now"] = begin + len(ids) + 120
        before = set(glob.glob(table))
        report(what, before, run(arguments))
    server.shutdown()
    rows, keys, updated = duckdb.sql(f"SELECT count(*), count(DISTINCT id), count(*) FILTER (version > 0) FROM read_parquet('{table}')").fetchone()
    expected = len(set(last) | set(spread))
    print(f"rows {rows:,}, keys {keys:,}, updated {updated:,} of {expected:,}")
    return 0 if rows == keys == arguments.rows and updated == expected else 1


if __name__ == "__main__":
    sys.exit(main())
