"""The source of the long trials: an API of our own on a loopback port, whose records are inserted, change, are deleted and come late.

It remembers every version that there ever was: the truth that a table is compared with.
"""

import json
import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

PAGE = 40
LATE_MAX_S = 40
# Of a job: longer than a row may be late, and longer than the clock's header is coarse.
LOOKBACK, SETTLE = "60s", "2s"


def text(at: int) -> str:
    """Microseconds since 1970 as the API writes them."""
    seconds, micros = divmod(at, 1_000_000)
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S") + f".{micros:06}Z"


@dataclass(frozen=True)
class Job:
    """A stream, its table and what becomes of its rows there; all three have one name."""

    name: str
    mode: str
    sink: str = "lake"
    deletes_hard: bool = False


class Source:
    """Streams of records by id, each with its newest version, and every version there ever was."""

    def __init__(self, jobs: list[Job], seed: int, now: Callable[[], float] = time.time):
        self.jobs = jobs
        self.random = random.Random(seed)
        self.now = now
        self.lock = threading.Lock()
        self.streams: list[dict[int, dict]] = [{} for _ in jobs]
        self.versions: list[dict[int, set]] = [{} for _ in jobs]
        self.answers = self.faults = self.late = self.deletes = 0

    def change(self) -> None:
        """About one change a stream."""
        with self.lock:
            for number in range(len(self.streams)):
                for _ in range(self.random.choice([0, 0, 1, 1, 3])):
                    self.change_one(number)

    def change_one(self, number: int) -> None:
        stream, mode = self.streams[number], self.jobs[number].mode
        at = int(self.now() * 1_000_000)
        if self.random.random() < 0.1:
            at -= int(self.random.uniform(1, LATE_MAX_S) * 1_000_000)
            self.late += 1
        ident = len(stream) if not stream or self.random.random() < 0.5 else self.random.randrange(len(stream))
        old = stream.get(ident)
        if old and at <= old["at"]:
            return
        deleted = bool(old) and mode != "append" and self.random.random() < 0.1
        self.deletes += deleted
        record = {"at": at, "name": "n%d" % self.random.randrange(10**9), "kind": self.random.choice("abc"), "deleted": deleted}
        stream[ident] = record
        self.versions[number].setdefault(ident, set()).add((at, record["name"]))

    def found(self, number: int, low: str, high: str) -> list[tuple[int, int, dict]]:
        """What a request is about, in an order of its own, with a record's place in it."""
        whole = self.jobs[number].mode == "replace"
        found = []
        for ident, record in self.streams[number].items():
            if whole and record["deleted"]:
                continue
            if whole or (low <= text(record["at"]) and (not high or text(record["at"]) <= high)):
                found.append(((ident * 7919) % 10007 * 1_000_000 + ident, ident, record))
        return sorted(found, key=lambda one: one[0])

    def page(self, number: int, query: dict[str, str]) -> dict:
        """Behind a token: whatever comes, goes or moves between two pages, no other record is hidden by it, as page numbers would."""
        with self.lock:
            self.answers += 1
            found = self.found(number, query.get("from", ""), query.get("to", ""))
        behind = [one for one in found if one[0] > int(query.get("token", "-1"))]
        part, more = behind[:PAGE], len(behind) > PAGE
        records = []
        for _, ident, record in part:
            shown = {"id": ident, "updated_at": text(record["at"]), "gone": record["deleted"]}
            if not record["deleted"]:
                shown.update(name=record["name"], kind=record["kind"])
            records.append(shown)
        return {"data": records, "next": str(part[-1][0]) if more else None}


class Handler(BaseHTTPRequestHandler):
    """Answers from `source`; of a hundred answers, eight misbehave where `faults` are asked for."""

    protocol_version = "HTTP/1.1"
    source: Source
    faults: random.Random | None
    before: Callable[[int], None]

    def log_message(self, *_):
        pass

    def date_time_string(self, timestamp=None):
        return formatdate(self.source.now() if timestamp is None else timestamp, usegmt=True)

    def do_GET(self):
        address = urlparse(self.path)
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        number = int(address.path.strip("/").split("/")[-1])
        self.before(number)
        throw = self.faults.random() if self.faults else 1.0
        if throw < 0.02:
            return self.fail(429, {"Retry-After": "1"})
        if throw < 0.04:
            return self.fail(500, {})
        body = json.dumps(self.source.page(number, query)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if throw < 0.06:
            self.source.faults += 1
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
        elif throw < 0.08:
            self.source.faults += 1
            for at in range(0, len(body), max(1, len(body) // 5)):
                self.wfile.write(body[at : at + max(1, len(body) // 5)])
                self.wfile.flush()
                time.sleep(0.2)
        else:
            self.wfile.write(body)

    def fail(self, status, headers):
        self.source.faults += 1
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
            pass  # Whoever asked was killed while it read.


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


def serve(source: Source, faults: random.Random | None, before: Callable[[int], None] = lambda number: None) -> Server:
    """Answers until it is shut down; `before` hears of each request before it is answered."""
    kind = type("Answering", (Handler,), {"source": source, "faults": faults, "before": staticmethod(before)})
    server = Server(("127.0.0.1", 0), kind)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def write(folder: str, path: str, lines: list[str]) -> None:
    path = os.path.join(folder, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write("\n".join(lines) + "\n")


def write_source(folder: str, port: int, jobs: list[Job]) -> None:
    """The file of the source, as a user would write it."""
    lines = ["version = 1", 'type = "http"', f'base_url = "http://127.0.0.1:{port}"', 'timeout = "20s"', "[limits]", "concurrency = 8"]
    for number, job in enumerate(jobs):
        lines += [f"[streams.{job.name}]", f'path = "/s/{number}"', 'records = "data"', 'primary_key = ["id"]']
        lines.append('paging = { type = "page_token", token = "next", param = "token" }')
        if job.mode == "replace":
            continue
        lines += [
            'deleted = "gone"',
            f"[streams.{job.name}.cursor]",
            'field = "updated_at"',
            'type = "timestamp"',
            'query = { from = "{{ from }}", to = "{{ to }}" }',
        ]
    write(folder, "sources/api.toml", lines)


def write_jobs(folder: str, jobs: list[Job], start: str, more: list[str], window: list[str]) -> None:
    """A file for each job; `more` goes into each, `window` into the windows of those that have one."""
    for job in jobs:
        lines = ["version = 1", 'source = "api"', f'stream = "{job.name}"', f'sink = "{job.sink}"', f'mode = "{job.mode}"', *more]
        if job.mode == "merge":
            lines.append(f'on_delete = "{"hard" if job.deletes_hard else "soft"}"')
        if job.mode != "append":
            lines.append('partition_by = ["kind"]')
        lines += ["[columns]", 'kind = "text"', 'name = "text"', 'updated_at = "timestamp"']
        if job.mode != "replace":
            lines += ["[window]", f'start = "{start}"', f'settle = "{SETTLE}"', f'lookback = "{LOOKBACK}"', *window]
        write(folder, f"jobs/{job.name}.toml", lines)
