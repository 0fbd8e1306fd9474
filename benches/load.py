"""Loads tables from an API on a loopback port: highwater beside what users would pick instead, in one run on one machine.

    load.py BINARY FOLDER [--only CASE,...] [--peers duckdb,dlt,airbyte,curl] [-r 3] [--rows 1000000] [--table 1000000]

    pages-1000, pages-100     --rows records, so many a page, into zstd(1) Parquet
    month                     the same in pages of 1,000, partitioned by month(created_at)
    small                     a tenth of the records, start-up included; here dlt and airbyte-cdk too
    latency                   the same, each answer 50 ms late
    latency-long              --rows records so, beside four curls
    noop-append, noop-merge   a start with nothing to do, on a table of --table rows
    delta-append, delta-merge a hundredth more, on such a table
    jobs                      100 jobs of 10,000 records each, in one run
    idle-5, idle-10000        a daemon whose jobs are not due: its start, and a minute (--idle) of it
    large, large-month        ten times --rows, plain and by month; only where they are named
    partitions                --rows, partitioned into 1,440 by comments, currency and state, rows of all of them in turn; likewise

Ours is run as a user runs it: types not declared, all defaults but zstd(1), paging with `total`. What was measured stands in
FOLDER/figures.jsonl and is not measured again, unless something else took more than a quarter of a core beside it; peers are
installed into FOLDER/peers, and one that cannot be is skipped with a line.
The table goes between the markers of docs/performance.md, or of --page FILE.
"""

import argparse
import http.client
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
import urllib.parse

import measure
import report
from api import START, Api, stamp

HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGES = {
    "duckdb": ["duckdb==1.5.5", "duckdb-extension-httpfs", "pyarrow"],
    "dlt": ["dlt[filesystem,parquet]==1.31.0"],
    "airbyte": ["airbyte-cdk==7.39.1"],
}
ALL = ["ours", "duckdb1", "duckdb2", "dlt", "airbyte", "curl1", "curl4"]
MONTH = ["month(created_at)"]
FAST = ["ours", "duckdb1", "duckdb2", "curl1", "curl4"]


def loads(rows):
    """Name: records, records a page, milliseconds, partitions, tools."""
    return {
        "pages-1000": (rows, 1000, 0, [], FAST),
        "pages-100": (rows, 100, 0, [], FAST),
        "month": (rows, 1000, 0, MONTH, ["ours", "duckdb2"]),
        "partitions": (rows, 1000, 0, ["comments", "currency", "state"], ["ours"]),
        "small": (rows // 10, 1000, 0, [], ALL),
        "latency": (rows // 10, 1000, 50, [], ALL),
        "latency-long": (rows, 1000, 50, [], ["ours", "curl4"]),
        "large": (rows * 10, 1000, 0, [], ["ours", "duckdb2"]),
        "large-month": (rows * 10, 1000, 0, MONTH, ["ours", "duckdb2"]),
    }


CASES = ["pages-1000", "pages-100", "month", "small", "latency", "latency-long", "noop-append", "noop-merge", "delta-append", "delta-merge", "jobs", "idle-5", "idle-10000"]
LARGE = {"large", "large-month", "partitions"}


def downloads(root, per, ranges):
    """What has curls side by side download a range of pages each."""
    curls = [f'curl -sf -o /dev/null "{root}/items?per_page={per}&page=[{first}-{last}]" &' for first, last in ranges]
    return ["sh", "-c", " ".join(curls) + " wait"]


def write_project(folder, files):
    for path, text in files.items():
        path = os.path.join(folder, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)


def project(folder, root, per, path="/items", jobs=1, mode="append", cursor=False, partitions=(), schedule=None, web=None, each=1):
    """Where there are several jobs, each reads `each` records of its own."""
    files = {
        "config.toml": "version = 1\n" + (f'[web]\nlisten = "127.0.0.1:{web}"\n' if web else ""),
        "sinks/lake.toml": 'version = 1\ntype = "parquet"\nurl = "lake"\n[parquet]\ncompression = "zstd(1)"\n',
    }
    source = f'version = 1\ntype = "http"\nbase_url = "{root}"\n'
    source += "[parameters]\nfirst = { required = true }\n" if jobs > 1 else ""
    source += f'[streams.items]\npath = "{path}"\nrecords = "data"\nprimary_key = ["id"]\n'
    source += f'paging = {{ type = "page", param = "page", size_param = "per_page", page_size = {per}, total = "total" }}\n'
    if cursor:
        source += '[streams.items.cursor]\nfield = "updated_at"\ntype = "timestamp"\nquery = { updated_after = "{{ from }}" }\n'
    for number in range(jobs):
        name = f"items{number}" if jobs > 1 else "items"
        job = f'version = 1\nsource = "api"\nstream = "items"\nsink = "lake"\ntable = "{name}"\nmode = "{mode}"\n'
        job += f"parameters = {{ first = {number * each} }}\n" if jobs > 1 else ""
        job += f'schedule = "{schedule}"\n' if schedule else ""
        job += f"partition_by = {json.dumps(partitions)}\n" if partitions else ""
        job += f'[window]\nstart = "{stamp(START)}"\n' if cursor else ""
        files[f"jobs/{name}.toml"] = job
    files["sources/api.toml"] = source
    write_project(folder, files)


class Bench:
    def __init__(self, arguments):
        self.arguments = arguments
        self.folder = os.path.abspath(arguments.folder)
        self.binary = os.path.abspath(arguments.binary)
        self.figures = os.path.join(self.folder, "figures.jsonl")
        self.log = os.path.join(self.folder, "log.txt")
        self.apis = {}
        self.peers = {}
        os.makedirs(self.folder, exist_ok=True)
        for name in PACKAGES:
            if name in arguments.peers.split(","):
                self.install(name)
        self.reader = self.peers.get("duckdb", sys.executable)

    def install(self, name):
        venv = os.path.join(self.folder, "peers", name)
        python = os.path.join(venv, "bin", "python")
        done = os.path.join(venv, "installed")
        if not os.path.exists(done):
            pip = [python, "-m", "pip", "install", "-q", *PACKAGES[name]]
            for step in ([sys.executable, "-m", "venv", venv], pip):
                if subprocess.run(step, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE).returncode:
                    print(f"skipped: {name}, which could not be installed into {venv}", flush=True)
                    return
            open(done, "w").close()
        self.peers[name] = python

    def api(self, rows):
        if rows not in self.apis:
            self.apis[rows] = Api(os.path.join(self.folder, f"records-{rows}"), rows)
        return self.apis[rows]

    def done(self, case, tool):
        table = self.arguments.table if case.startswith(("noop", "delta")) else None
        mine = [entry for entry in report.read(self.figures) if (entry["case"], entry["tool"], entry.get("table")) == (case, tool, table)]
        return sum(1 for entry in mine if entry.get("others", 0) <= report.DISTURBED)

    def keep(self, case, tool, figures):
        entry = {"case": case, "tool": tool, "at": round(time.time()), **figures}
        with open(self.figures, "a") as file:
            file.write(json.dumps(entry) + "\n")
        print("  ".join(f"{key} {value}" for key, value in entry.items()), flush=True)

    def scratch(self):
        out = os.path.join(self.folder, "out")
        shutil.rmtree(out, ignore_errors=True)
        os.makedirs(out)
        return out

    def rows_in(self, out):
        counted = subprocess.run([self.reader, f"{HERE}/peers.py", "rows"], env={**os.environ, "OUT": out}, capture_output=True, text=True, check=True)
        return int(counted.stdout)

    def ours(self, folder, *command):
        return [self.binary, "-C", folder, *(command or ("run",))]

    def each(self, case, tools):
        """The tools in turn, as often as asked."""
        for turn in range(self.arguments.repeat):
            for tool in tools:
                if self.done(case, tool) <= turn:
                    yield tool

    def load(self, case):
        rows, per, delay, partitions, tools = loads(self.arguments.rows)[case]
        api = self.api(rows if case in LARGE else self.arguments.rows)
        root = f"{api.url}/n{rows}" + (f"/d{delay}" if delay else "")
        wanted = set(self.arguments.peers.split(","))
        can = [tool for tool in tools if tool == "ours" or tool.rstrip("0123456789") in (wanted & set(self.peers) | (wanted & {"curl"}))]
        warm = False
        for tool in self.each(case, can):
            if not warm:
                # An answer is rendered when it is first asked for, in each of the API's processes: no tool is to wait for that.
                warm = subprocess.run(downloads(root, per, [(1, -(-rows // per))] * 4)).returncode == 0
            out = self.scratch()
            environment = {"BASE": f"{root}/items", "ROWS": str(rows), "PER": str(per), "OUT": out, "PART": "1" if partitions else ""}
            kind = tool.rstrip("0123456789")
            if kind == "ours":
                project(out, root, per, partitions=partitions)
                command = self.ours(out)
            elif kind == "curl":
                pages, side = -(-rows // per), int(tool[-1])
                share = -(-pages // side)
                ranges = [(first, min(first + share - 1, pages)) for first in range(1, pages + 1, share)]
                command = downloads(root, per, ranges)
            else:
                command = [self.peers[kind], f"{HERE}/peers.py", kind]
                environment["THREADS"] = tool[-1]
            figures = measure.measure(command, self.log, api.cpu, environment)
            figures.update(rows=rows, per=per, delay=delay)
            if kind != "curl":
                figures["found"] = self.rows_in(out)
                figures["ok"] = figures["ok"] and figures["found"] == rows
            self.keep(case, tool, figures)

    def table(self, mode):
        """A loaded table to work on, kept for the next time; its project."""
        rows = self.arguments.table
        api = self.api(rows)
        folder = os.path.join(self.folder, f"table-{mode}-{rows}")
        api.tell(later=False)
        # The source's address is part of what a job means, and the port is another each time.
        known = os.path.join(folder, "url")
        if not os.path.exists(known) or open(known).read() != api.url:
            shutil.rmtree(folder, ignore_errors=True)
            project(folder, api.url, 1000, mode=mode, cursor=True)
            figures = measure.measure(self.ours(folder), self.log, api.cpu)
            if not figures["ok"] or self.rows_in(folder) != rows:
                raise SystemExit(f"the table of {rows:,} rows could not be loaded: {self.log}")
            with open(known, "w") as file:
                file.write(api.url)
            # Of a table that was removed, and of what was kept of pages, a disk is told what is free for a while longer.
            os.sync()
            time.sleep(5)
        return folder, api, rows

    def request(self, api):
        """Seconds that the request itself takes that finds nothing new."""
        where = urllib.parse.urlsplit(api.url)
        took = []
        for _ in range(9):
            began = time.perf_counter()
            connection = http.client.HTTPConnection(where.hostname, where.port)
            connection.request("GET", "/items?updated_after=2024-12-31T01:00:00.000Z&page=1&per_page=1000")
            connection.getresponse().read()
            connection.close()
            took.append(time.perf_counter() - began)
        return statistics.median(took)

    def noop(self, case):
        for tool in self.each(case, ["ours"]):
            folder, api, rows = self.table(case.split("-")[1])
            figures = measure.measure(self.ours(folder), self.log, api.cpu)
            self.keep(case, tool, {**figures, "rows": rows, "table": rows, "request": round(self.request(api), 4)})

    def delta(self, case):
        mode = case.split("-")[1]
        for tool in self.each(case, ["ours"]):
            folder, api, rows = self.table(mode)
            out = self.scratch()
            shutil.copytree(folder, out, dirs_exist_ok=True)
            api.tell(later=True)
            figures = measure.measure(self.ours(out), self.log, api.cpu)
            api.tell(later=False)
            found, more = self.rows_in(out), rows // 100
            figures["ok"] = figures["ok"] and found == rows + (more if mode == "append" else more - more // 2)
            self.keep(case, tool, {**figures, "rows": more, "table": rows, "found": found})

    def jobs(self, case):
        count, each = 100, 10_000
        if self.arguments.rows < count * each:
            each = self.arguments.rows // count
        api = self.api(self.arguments.rows)
        for tool in self.each(case, ["ours"]):
            out = self.scratch()
            project(out, api.url, 1000, f"/s{{{{ first }}}}/n{each}/items", count, each=each)
            figures = measure.measure(self.ours(out), self.log, api.cpu)
            found = self.rows_in(out)
            figures["ok"] = figures["ok"] and found == count * each
            self.keep(case, tool, {**figures, "rows": count * each, "per": 1000, "found": found})

    def idle(self, case):
        count = int(case.split("-")[1])
        api = self.api(min(self.arguments.rows, 100_000))
        for tool in self.each(case, ["ours"]):
            out, port = self.scratch(), 17077
            project(out, api.url, 1000, path="/s{{ first }}/n1/items", jobs=count, schedule="0 0 1 1 *", web=port)
            # A daemon whose jobs are all broken is idle too.
            checked = subprocess.run(self.ours(out, "check"), capture_output=True, text=True)
            if checked.returncode or "jobs ready, 0 parked" not in checked.stdout:
                raise SystemExit(f"the {count} jobs are not ready: {checked.stdout[-500:]}{checked.stderr[-500:]}")
            began = time.perf_counter()
            with open(self.log, "ab") as log:
                child = subprocess.Popen(self.ours(out, "serve"), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            try:
                while not ready(port):
                    if child.poll() is not None or time.perf_counter() - began > 120:
                        raise SystemExit(f"the daemon of {count} jobs did not become ready: {self.log}")
                    time.sleep(0.005)
                start = time.perf_counter() - began
                start_cpu = measure.cpu_of(child.pid)
                time.sleep(5)
                before, at = measure.cpu_of(child.pid), time.perf_counter()
                time.sleep(self.arguments.idle)
                share = (measure.cpu_of(child.pid) - before) / (time.perf_counter() - at)
                rss = measure.resident(child.pid) / 1e6
            finally:
                child.send_signal(signal.SIGTERM)
                child.wait(60)
            figures = {"ok": child.returncode == 0, "wall": round(start, 3), "cpu": start_cpu, "rss_mb": round(rss, 1), "idle_share": round(share, 5)}
            self.keep(case, tool, {**figures, "jobs": count})

    def run(self, case):
        kinds = {"noop": self.noop, "delta": self.delta, "jobs": self.jobs, "idle": self.idle}
        kinds.get(case.split("-")[0], self.load)(case)


def ready(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("folder")
    parser.add_argument("--only", default=",".join(CASES))
    parser.add_argument("--peers", default="duckdb,dlt,airbyte,curl")
    parser.add_argument("-r", "--repeat", type=int, default=3)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--table", type=int, default=1_000_000)
    parser.add_argument("--idle", type=int, default=60)
    parser.add_argument("--page", default=os.path.join(HERE, "..", "docs", "performance.md"))
    arguments = parser.parse_args()
    wanted = arguments.only.split(",")
    unknown = set(wanted) - set(CASES) - LARGE
    if unknown:
        raise SystemExit(f"no such case: {', '.join(sorted(unknown))}; there are {', '.join([*CASES, *sorted(LARGE)])}")
    # As an interrupt: what was started is ended too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    bench = Bench(arguments)
    try:
        for case in wanted:
            bench.run(case)
    finally:
        for api in bench.apis.values():
            api.end()
    entries = report.read(bench.figures)
    report.write(arguments.page, entries, bench.binary)
    failed = sorted({f"{entry['case']} {entry['tool']}" for entry in entries if not entry["ok"]})
    if failed:
        raise SystemExit(f"failed, or wrong rows: {', '.join(failed)}; see {bench.log}")


if __name__ == "__main__":
    main()
