"""An hour of a daemon with 20 jobs, and what memory it takes meanwhile.

    hour.py BINARY FOLDER [--minutes 60] [--seed 1]

The source is in this process: each job has a feed of its own, to which records are added all the time. Twelve jobs append 100 records
a second each, every 10 s: four as they come, four by hour, four by a column of 50 values. Four merge 20 a second, every 30 s,
every second one a new version of the one before it. Four replace their table of 2,000 rows, every 30 s, and find it changed every minute. Every second the
daemon's resident memory is kept in FOLDER/hour.jsonl; at the end the daemon is stopped, and the tables are read with DuckDB: each
record that came before a table's last is there, once, in its last version. Needs the Python package `duckdb`. Ends with 1 where
something is lost, doubled or old, or a run failed.
"""

import argparse
import datetime as dt
import email.utils
import http.server
import json
import os
import random
import shutil
import signal
import socketserver
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.parse

import duckdb

import measure
from load import ready, write_project

PORT = 17078
KINDS = 50
REPLACED = 2000
# Job: how many, records a second, every, mode, partitions.
JOBS = [
    ("plain", 4, 100, "10s", "append", None),
    ("hour", 4, 100, "10s", "append", "hour(updated_at)"),
    ("kind", 4, 100, "10s", "append", "kind"),
    ("merge", 4, 20, "30s", "merge", None),
    ("replace", 4, 0, "30s", "replace", None),
]


def stamp(seconds):
    return dt.datetime.fromtimestamp(seconds, dt.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Feeds:
    """Record `n` of a feed of `rate` a second comes at `begin + n / rate`."""

    def __init__(self, begin, seed):
        chance = random.Random(seed)
        self.begin = begin
        self.texts = ["".join(chance.choice("abcdefghij klmnop") for _ in range(200)) for _ in range(997)]

    def record(self, mode, number, rate, now):
        if mode == "replace":
            who, version, at = number, int(now - self.begin) // 60, now
        else:
            # Of a merge every second record is a new version of the one before.
            who, version, at = number // 2 if mode == "merge" else number, number, self.begin + number / rate
        text = self.texts[(number * 31 + version) % len(self.texts)]
        return f'{{"id":{who},"version":{version},"kind":"kind-{who % KINDS}","updated_at":"{stamp(at)}","text":"{text}","amount":{number % 1000}.5}}'

    def page(self, mode, rate, since, until, page, per, now):
        if mode == "replace":
            low, high = 0, REPLACED
        else:
            # A thousandth is the finest that a time says.
            first = lambda at: max(0, -int(-(at - self.begin - 0.0005) * rate // 1))
            low, high = first(since), first(min(until, now))
        begin, end = min(low + (page - 1) * per, high), min(low + page * per, high)
        return max(0, high - low), ",".join(self.record(mode, number, rate, now) for number in range(begin, max(begin, end)))


def handler(feeds):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_):
            pass

        def do_GET(self):
            where = urllib.parse.urlsplit(self.path)
            options = {name: values[0] for name, values in urllib.parse.parse_qs(where.query).items()}
            _, mode, rate, _, _ = where.path.split("/")
            now = time.time()

            def instant(name, otherwise):
                return dt.datetime.fromisoformat(options[name]).timestamp() if options.get(name) else otherwise

            until = instant("updated_before", now)
            total, data = feeds.page(mode, int(rate), instant("updated_after", 0), until, int(options["page"]), int(options["per_page"]), now)
            body = f'{{"data":[{data}],"total":{total}}}'.encode()
            self.wfile.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: %s\r\nContent-Length: %d\r\n\r\n%s"
                % (email.utils.formatdate(now, usegmt=True).encode(), len(body), body)
            )

    return Handler


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128


def project(folder, url, begin):
    files = {
        "config.toml": f'version = 1\n[web]\nlisten = "127.0.0.1:{PORT}"\n',
        "sinks/lake.toml": 'version = 1\ntype = "parquet"\nurl = "lake"\n',
    }
    names = []
    for kind, count, rate, every, mode, partition in JOBS:
        source = f'version = 1\ntype = "http"\nbase_url = "{url}"\n[parameters]\nname = {{ required = true }}\n'
        source += f'[streams.items]\npath = "/{mode}/{rate}/{{{{ name }}}}/items"\nrecords = "data"\nprimary_key = ["id"]\n'
        source += 'paging = { type = "page", param = "page", size_param = "per_page", page_size = 1000, total = "total" }\n'
        if mode != "replace":
            source += '[streams.items.cursor]\nfield = "updated_at"\ntype = "timestamp"\n'
            source += 'query = { updated_after = "{{ from }}", updated_before = "{{ to }}" }\n'
        files[f"sources/{kind}.toml"] = source
        for number in range(count):
            name = f"{kind}{number}"
            names.append((name, mode))
            job = f'version = 1\nsource = "{kind}"\nstream = "items"\nsink = "lake"\ntable = "{name}"\nmode = "{mode}"\nschedule = "every {every}"\njitter = "0s"\n'
            job += f'parameters = {{ name = "{name}" }}\n'
            job += f'partition_by = ["{partition}"]\n' if partition else ""
            job += f'[window]\nstart = "{stamp(begin)}"\n' if mode != "replace" else ""
            files[f"jobs/{name}.toml"] = job
    write_project(folder, files)
    return names


def compare(folder, names):
    """Lines about what is wrong, and rows in all tables."""
    wrong, rows = [], 0
    for name, mode in names:
        table = f"read_parquet('{folder}/lake/{name}/**/*.parquet', union_by_name = true)"
        found, ids, top = duckdb.sql(f"select count(*), count(distinct id), max(id) from {table}").fetchone()
        rows += found
        if not found or found != ids or top + 1 != found:
            wrong.append(f"{name}: {found:,} rows, {ids:,} ids, the greatest {top}")
        if mode == "merge":
            old = duckdb.sql(f"select count(*) from {table} where version <> 2 * id + 1 and id <> {top}").fetchone()[0]
            if old:
                wrong.append(f"{name}: {old:,} rows in an old version")
    return wrong, rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("folder")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    folder, binary = os.path.abspath(arguments.folder), os.path.abspath(arguments.binary)
    shutil.rmtree(folder, ignore_errors=True)
    # A while before, so that the first runs find something that is old enough.
    begin = float(int(time.time()) - 120)
    server = Server(("127.0.0.1", 0), handler(Feeds(begin, arguments.seed)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    names = project(folder, f"http://127.0.0.1:{server.server_port}", begin)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    checked = subprocess.run([binary, "-C", folder, "check"], capture_output=True, text=True)
    # A daemon whose jobs are all broken stays small, too.
    if checked.returncode or " 0 parked" not in checked.stdout:
        raise SystemExit(f"the jobs are not ready: {checked.stdout[-500:]}{checked.stderr[-500:]}")
    samples = []
    with open(os.path.join(folder, "daemon.log"), "wb") as log:
        child = subprocess.Popen([binary, "-C", folder, "serve"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        while not ready(PORT):
            if child.poll() is not None:
                raise SystemExit(f"the daemon ended with {child.returncode}: {folder}/daemon.log")
            time.sleep(0.05)
        began = time.time()
        with open(os.path.join(folder, "hour.jsonl"), "w") as kept:
            while time.time() - began < arguments.minutes * 60:
                time.sleep(1)
                own, of_files = measure.resident_kinds(child.pid)
                sample = {"s": round(time.time() - began), "rss_mb": round((own + of_files) / 1e6, 1), "files_mb": round(of_files / 1e6, 1)}
                sample["cpu"] = measure.cpu_of(child.pid)
                samples.append(sample)
                kept.write(json.dumps(sample) + "\n")
                kept.flush()
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(120)
    with sqlite3.connect(os.path.join(folder, "state", "highwater.db")) as state:
        runs = dict(state.execute("select status, count(*) from runs group by 1").fetchall())
    wrong, rows = compare(folder, names)
    print("| minutes | resident MB, the least | of it pages of files | median | the most |\n|--:|--:|--:|--:|--:|")
    length = max(1, len(samples) // 12)
    for at in range(0, len(samples), length):
        part = sorted(samples[at : at + length], key=lambda sample: sample["rss_mb"])
        least, median, most = (part[which]["rss_mb"] for which in (0, len(part) // 2, -1))
        ends = f"{samples[at]['s'] / 60:.0f} to {samples[min(at + length, len(samples)) - 1]['s'] / 60:.0f}"
        print(f"| {ends} | {least:.0f} | {part[0]['files_mb']:.0f} | {median:.0f} | {most:.0f} |")
    print(f"{rows:,} rows in {len(names)} tables, runs {runs}, {samples[-1]['cpu'] / samples[-1]['s'] * 100:.0f} % of a core, ended with {child.returncode}")
    for line in wrong:
        print("wrong:", line)
    raise SystemExit(1 if wrong or child.returncode or runs.get("failed") else 0)


if __name__ == "__main__":
    main()
