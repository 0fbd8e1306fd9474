"""What reading a real server takes: to start it, to ask it, to run the program, and to compare."""

import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).parent
ORACLE = HERE.parent / "oracle" / "compare.py"


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Server:
    """A server on a port of its own, with its output in a file. Killed with the process group, by tests/real/run."""

    def __init__(self, command, log, port, **options):
        self.log = pathlib.Path(log)
        self.process = subprocess.Popen([str(part) for part in command], stdout=open(log, "wb"), stderr=subprocess.STDOUT, **options)
        for _ in range(600):
            if self.process.poll() is not None:
                break
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.1)
        raise SystemExit(f"{command[0]} did not start, see {log}")

    def requests(self, pattern):
        """How many lines of the log fit so far."""
        return len(re.findall(pattern, self.log.read_text(errors="replace")))


def call(address, method="GET", body=None, headers=None, opener=urllib.request.build_opener()):
    """The answer's headers and its JSON. A body goes out as JSON."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json", **(headers or {})}, method=method)
    try:
        with opener.open(request, timeout=60) as answer:
            return answer.headers, json.load(answer)
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{method} {address}: {error.code} {error.read()[:500]!r}") from None


class Project:
    """A project of the program: what stands beside the server's `read.py`, with the address filled in."""

    def __init__(self, folder, name, address, secrets=None):
        self.name = name
        self.folder = pathlib.Path(folder) / name / "project"
        self.environment = {**os.environ, **(secrets or {})}
        for part in ("sources", "jobs"):
            shutil.copytree(HERE / name / part, self.folder / part)
        for source in (self.folder / "sources").glob("*.toml"):
            source.write_text(source.read_text().replace("http://ADDRESS", address))
        (self.folder / "sinks").mkdir()
        (self.folder / "sinks" / "lake.toml").write_text('version = 1\ntype = "parquet"\nurl = "lake"\n')
        (self.folder / "config.toml").write_text("version = 1\n")

    def highwater(self, *arguments):
        command = [os.environ["HIGHWATER"], "-C", str(self.folder), *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=900)
        with open(self.folder.parent / "highwater.log", "a") as log:
            log.write(f"$ highwater {' '.join(arguments)}\n{done.stdout}{done.stderr}\n")
        if done.returncode != 0:
            raise SystemExit(f"{self.name}: highwater {' '.join(arguments)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def look(self, jobs):
        """What somebody does before the first run."""
        self.highwater("check")
        for job in jobs:
            self.highwater("preview", job)

    def compare(self, truths):
        """How many records were compared, over tables: (table, key columns, records as the server gives them)."""
        cases = []
        for table, key, records in truths:
            truth = self.folder.parent / f"{table}.jsonl"
            truth.write_text("".join(json.dumps(record) + "\n" for record in records))
            cases.append({"name": table, "truth": str(truth), "table": str(self.folder / "lake" / table), "key": key})
        done = subprocess.run([sys.executable, ORACLE], input=json.dumps(cases), text=True, capture_output=True)
        if done.returncode != 0:
            raise SystemExit(f"{self.name}: the tables differ from the server\n{done.stdout}{done.stderr}")
        return sum(len(records) for _, _, records in truths)
