"""An hour in the life of the daemon: many jobs against an API that misbehaves, killed every few minutes, then compared.

    soak.py BINARY FOLDER [--minutes 60] [--jobs 50] [--seed 1] [--kill-every 180]

Writes a project into FOLDER, serves an API on a loopback port, runs `BINARY serve` and kills it (mostly -9) at times that the seed
says. Meanwhile the source inserts, updates, deletes, and lets rows come late, and answers with 429, 500, bodies that are cut and
bodies that are slow. In the end the source stands still, every job runs once more, and DuckDB compares every table with what the
source has. What is known is kept in FOLDER: the same call again goes on from there. Exit code 0 if nothing was lost or doubled.
"""

import argparse
import datetime as dt
import glob
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

import duckdb

PAGE = 40
LATE_MAX_S = 40


def text(at):
    return dt.datetime.fromtimestamp(at, dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Source:
    """What the API knows: streams of records by id, each with its newest version, and every version there ever was."""

    def __init__(self, jobs, seed):
        self.random = random.Random(seed)
        self.lock = threading.Lock()
        self.streams = [{} for _ in range(jobs)]
        self.versions = [{} for _ in range(jobs)]
        self.answers = self.faults = self.late = self.deletes = 0

    def change(self):
        """About one change a stream and second."""
        with self.lock:
            now = time.time()
            for number, stream in enumerate(self.streams):
                for _ in range(self.random.choice([0, 0, 1, 1, 3])):
                    self.change_one(number, stream, now)

    def change_one(self, number, stream, now):
        at = now
        if self.random.random() < 0.1:
            at = now - self.random.uniform(1, LATE_MAX_S)
            self.late += 1
        ident = len(stream) if not stream or self.random.random() < 0.5 else self.random.randrange(len(stream))
        old = stream.get(ident)
        at = round(at, 6)
        if old and at <= old["at"]:
            return
        deleted = bool(old) and not is_append(number) and self.random.random() < 0.1
        self.deletes += deleted
        record = {"at": at, "name": "n%d" % self.random.randrange(10**9), "kind": self.random.choice("abc"), "deleted": deleted}
        stream[ident] = record
        self.versions[number].setdefault(ident, set()).add((text(at), record["name"]))

    def page(self, number, low, high, page):
        with self.lock:
            self.answers += 1
            found = [(ident, r) for ident, r in self.streams[number].items() if low <= text(r["at"]) and (not high or text(r["at"]) <= high)]
        # An order of its own, which changes while it is paged through.
        found.sort(key=lambda one: (one[0] * 7919) % 10007)
        part = found[(page - 1) * PAGE : page * PAGE]
        records = []
        for ident, r in part:
            record = {"id": ident, "updated_at": text(r["at"]), "gone": r["deleted"]}
            if not r["deleted"]:
                record.update(name=r["name"], kind=r["kind"])
            records.append(record)
        return {"data": records, "more": len(found) > page * PAGE}


def is_append(number):
    return number % 5 == 0


def deletes_hard(number):
    return number % 2 == 1


def handler(source, faults):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_GET(self):
            address = urlparse(self.path)
            query = {name: values[0] for name, values in parse_qs(address.query).items()}
            number = int(address.path.strip("/").split("/")[-1])
            throw = faults.random()
            if throw < 0.02:
                return self.fail(429, {"Retry-After": "1"})
            if throw < 0.04:
                return self.fail(500, {})
            body = json.dumps(source.page(number, query.get("from", ""), query.get("to", ""), int(query.get("page", "1")))).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if throw < 0.06:
                source.faults += 1
                self.wfile.write(body[: len(body) // 2])
                self.close_connection = True
                return
            if throw < 0.08:
                source.faults += 1
                for at in range(0, len(body), max(1, len(body) // 5)):
                    self.wfile.write(body[at : at + max(1, len(body) // 5)])
                    self.wfile.flush()
                    time.sleep(0.2)
                return
            self.wfile.write(body)

        def fail(self, status, headers):
            source.faults += 1
            body = b'{"error":"no"}'
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def handle(self):
            try:
                super().handle()
            except (ConnectionResetError, BrokenPipeError):
                pass  # The daemon was killed while it read.

    return Handler


def write_project(folder, port, jobs, start):
    def write(path, lines):
        path = os.path.join(folder, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write("\n".join(lines) + "\n")

    write("config.toml", ["version = 1", "[limits]", 'memory = "128MiB"', "runs = 4"])
    write("sinks/lake.toml", ["version = 1", 'type = "parquet"', 'url = "lake"'])
    source = ["version = 1", 'type = "http"', f'base_url = "http://127.0.0.1:{port}"', 'timeout = "20s"', "[limits]", "concurrency = 8"]
    for number in range(jobs):
        source += [
            f"[streams.s{number}]",
            f'path = "/s/{number}"',
            'records = "data"',
            'primary_key = ["id"]',
            'deleted = "gone"',
            'paging = { type = "page", param = "page", more = "more" }',
            f"[streams.s{number}.cursor]",
            'field = "updated_at"',
            'type = "timestamp"',
            'query = { from = "{{ from }}", to = "{{ to }}" }',
        ]
        job = [
            "version = 1",
            'source = "api"',
            f'stream = "s{number}"',
            'sink = "lake"',
            'schedule = "every 20s"',
            f'mode = "{"append" if is_append(number) else "merge"}"',
        ]
        if not is_append(number):
            job += [f'on_delete = "{"hard" if deletes_hard(number) else "soft"}"', 'partition_by = ["kind"]']
        job += ["[columns]", 'kind = "text"', 'name = "text"', "[window]", f'start = "{start}"', 'settle = "2s"', 'lookback = "60s"']
        write(f"jobs/j{number}.toml", job)
    write("sources/api.toml", source)


def rss_mib(pid):
    try:
        with open(f"/proc/{pid}/status") as file:
            return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmRSS"))
    except (OSError, StopIteration):
        return 0.0


class Daemon:
    def __init__(self, binary, folder):
        self.binary, self.folder, self.process = binary, folder, None

    def start(self):
        log = open(os.path.join(self.folder, "serve.log"), "ab")
        self.process = subprocess.Popen([self.binary, "-C", self.folder, "serve"], stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def stop(self, how):
        self.process.send_signal(how)
        self.process.wait(timeout=120)


def live(source, daemon, arguments, book):
    """Until the time is over: changes, kills, and a look at the memory."""
    dice = random.Random(arguments.seed * 1000 + book["kills"])
    daemon.start()
    next_kill = time.time() + dice.uniform(0.5, 1.5) * arguments.kill_every
    next_look = 0.0
    while book["seconds"] < arguments.minutes * 60:
        source.change()
        time.sleep(1)
        book["seconds"] += 1
        if time.time() >= next_look:
            book["rss"].append((book["seconds"], round(rss_mib(daemon.process.pid), 1)))
            next_look = time.time() + 15
            save(arguments.folder, source, book)
        if daemon.process.poll() is not None:
            raise SystemExit(f"the daemon ended by itself with {daemon.process.returncode}: see {arguments.folder}/serve.log")
        if time.time() >= next_kill:
            how = signal.SIGKILL if dice.random() < 0.8 else signal.SIGTERM
            daemon.stop(how)
            book["kills"] += 1
            book["killed"][how.name] = book["killed"].get(how.name, 0) + 1
            daemon.start()
            next_kill = time.time() + dice.uniform(0.5, 1.5) * arguments.kill_every
    daemon.stop(signal.SIGTERM)


def save(folder, source, book):
    known = {"streams": source.streams, "versions": source.versions, "book": book}
    with open(os.path.join(folder, "known.tmp"), "wb") as file:
        with source.lock:
            pickle.dump(known, file)
    os.replace(os.path.join(folder, "known.tmp"), os.path.join(folder, "known.pickle"))


def compare(source, folder):
    lost = doubled = wrong = rows = 0
    for number, stream in enumerate(source.streams):
        files = glob.glob(os.path.join(folder, "lake", f"s{number}", "**", "*.parquet"), recursive=True)
        found = {}
        if files:
            read = f"read_parquet({files!r}, hive_partitioning = true, union_by_name = true)"
            columns = [name for (name, *_) in duckdb.sql(f"DESCRIBE SELECT * FROM {read}").fetchall()]
            deleted = '"_hw_deleted"' if "_hw_deleted" in columns else "false"
            for ident, at, name, gone in duckdb.sql(f"SELECT id, epoch_us(updated_at), name, {deleted} FROM {read}").fetchall():
                found.setdefault(ident, []).append((at, name, bool(gone)))
        rows += sum(len(some) for some in found.values())
        for ident, record in stream.items():
            some = found.pop(ident, [])
            at = round(record["at"] * 1e6)
            newest = [one for one in some if abs(one[0] - at) <= 1 and (record["deleted"] or one[1] == record["name"])]
            if is_append(number):
                lost += not newest
                doubled += len(some) - len(set(some))
                continue
            doubled += max(0, len(some) - 1)
            if record["deleted"]:
                wrong += any(not gone for (_, _, gone) in some)
            elif not newest or newest[0][2]:
                lost += 1
        wrong += len(found)
    return rows, lost, doubled, wrong


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("folder")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--jobs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kill-every", type=float, default=180)
    arguments = parser.parse_args()
    os.makedirs(arguments.folder, exist_ok=True)
    source = Source(arguments.jobs, arguments.seed)
    book = {"seconds": 0, "kills": 0, "killed": {}, "rss": [], "start": text(time.time() - 60)}
    known = os.path.join(arguments.folder, "known.pickle")
    if os.path.exists(known):
        with open(known, "rb") as file:
            kept = pickle.load(file)
        source.streams, source.versions, book = kept["streams"], kept["versions"], kept["book"]
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(source, random.Random(arguments.seed + 7)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    write_project(arguments.folder, server.server_port, arguments.jobs, book["start"])
    print(f"seed {arguments.seed}: {arguments.jobs} jobs, {arguments.minutes} minutes, killed about every {arguments.kill_every} s", flush=True)
    daemon = Daemon(arguments.binary, arguments.folder)
    try:
        live(source, daemon, arguments, book)
        save(arguments.folder, source, book)
        time.sleep(5)
        for _ in range(5):
            done = subprocess.run([arguments.binary, "-C", arguments.folder, "run"], capture_output=True, text=True)
            if done.returncode == 0:
                break
        else:
            print(done.stdout[-2000:], done.stderr[-2000:])
            raise SystemExit("the last runs do not succeed")
        verified = subprocess.run([arguments.binary, "-C", arguments.folder, "verify"], capture_output=True, text=True)
        rows, lost, doubled, wrong = compare(source, arguments.folder)
    finally:
        if daemon.process and daemon.process.poll() is None:
            daemon.process.kill()
        server.shutdown()
    memory = [mib for (_, mib) in book["rss"] if mib]
    third = max(1, len(memory) // 3)
    print(f"kills       {book['kills']} {book['killed']}")
    print(f"answers     {source.answers}, of which faulty {source.faults}; late rows {source.late}, deletes {source.deletes}")
    print(f"records     {sum(len(stream) for stream in source.streams)} in the source, {rows} rows in {arguments.jobs} tables")
    print(f"memory MiB  first third {sum(memory[:third]) / third:.0f}, last third {sum(memory[-third:]) / third:.0f}, peak {max(memory):.0f}")
    print(f"verify      {'ok' if verified.returncode == 0 else verified.stdout[-1500:] + verified.stderr[-500:]}")
    print(f"lost {lost}, doubled {doubled}, otherwise wrong {wrong}")
    return 1 if lost or doubled or wrong or verified.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
