"""Ten gigabytes in one slice through a process whose control group has half a gigabyte.

    stream.py BINARY FOLDER [--gigabytes 10] [--memory 128MiB] [--limit 512] [--partitions PARTITION[,PARTITION]]

An API on the same machine serves a million records (`api.py`) over and over, with `limits.memory` of MEMORY, until so many bytes were
loaded. The process and what the system caches for it may take LIMIT MiB (cgroup; where none can be made, only what the process takes is
looked at). Its output is read with DuckDB: each record as often as it was served. Needs room for the bytes beside the lake, and the Python
package `duckdb`. Prints the peak of resident memory, the seconds, and what the group took; ends with 1 where a record is missing or
doubled, the run failed, or the process was killed.
"""

import argparse
import os
import shutil
import subprocess
import time

import duckdb

import load
from api import Api

RECORDS = 1_000_000
PAGE = 1000


class Endless(Api):
    """Its records again and again, `times` in all."""

    def __init__(self, path, times):
        self.times_over = times
        super().__init__(path, RECORDS)

    def answer(self, method, target, now):
        path, _, query = target.partition(b"?")
        options = dict(part.split(b"=", 1) for part in query.split(b"&"))
        page, pages = int(options[b"page"]), RECORDS // PAGE
        target = path + b"?per_page=%d&page=%d" % (PAGE, (page - 1) % pages + 1)
        _, (head, data, _) = super().answer(method, target, now)
        tail = b'],"page":%d,"total":%d}' % (page, RECORDS * self.times_over)
        head = head[head.index(b'{"data"') :]
        size = len(head) + len(data) + len(tail)
        status = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % size
        return 0, [status + head, data, tail]


class Group:
    """A control group whose processes, and the cache of their files, get so many bytes."""

    def __init__(self, limit):
        self.folder = None
        is_first = os.path.exists("/sys/fs/cgroup/memory/memory.limit_in_bytes")
        self.names = ("memory.limit_in_bytes", "memory.max_usage_in_bytes") if is_first else ("memory.max", "memory.peak")
        root = "/sys/fs/cgroup/memory" if is_first else "/sys/fs/cgroup"
        folder = os.path.join(root, f"highwater-stream-{os.getpid()}")
        try:
            if not is_first:
                self.write(os.path.join(root, "cgroup.subtree_control"), "+memory")
            os.mkdir(folder)
            self.write(os.path.join(folder, self.names[0]), limit)
            self.folder = folder
        except OSError as error:
            print(f"no control group: {error}", flush=True)

    @staticmethod
    def write(path, text):
        with open(path, "w") as file:
            file.write(str(text))

    def enter(self):
        if self.folder:
            self.write(os.path.join(self.folder, "cgroup.procs"), os.getpid())

    def end(self):
        """The most that it took, MB."""
        if not self.folder:
            return None
        with open(os.path.join(self.folder, self.names[1])) as file:
            most = int(file.read()) / 1e6
        os.rmdir(self.folder)
        return most


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("folder")
    parser.add_argument("--gigabytes", type=float, default=10)
    parser.add_argument("--memory", default="128MiB")
    parser.add_argument("--limit", type=int, default=512)
    parser.add_argument("--partitions", default="")
    arguments = parser.parse_args()
    folder = os.path.abspath(arguments.folder)
    os.makedirs(folder, exist_ok=True)
    records = os.path.join(folder, f"records-{RECORDS}")
    out = os.path.join(folder, "out")
    shutil.rmtree(out, ignore_errors=True)
    api = Endless(records, 1)
    bytes_each = api.offsets[RECORDS]
    api.end()
    times = -(-int(arguments.gigabytes * 1e9) // bytes_each)
    api = Endless(records, times)
    load.project(out, api.url, PAGE, partitions=[part for part in arguments.partitions.split(",") if part])
    with open(os.path.join(out, "config.toml"), "a") as file:
        file.write(f'[limits]\nmemory = "{arguments.memory}"\n')
    group = Group(arguments.limit << 20)
    began = time.time()
    with open(os.path.join(folder, "log.txt"), "wb") as log:
        command = [os.path.abspath(arguments.binary), "-C", out, "run"]
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=group.enter)
        _, status, usage = os.wait4(child.pid, 0)
    seconds, grouped = time.time() - began, group.end()
    api.end()
    table = f"read_parquet('{out}/lake/items/**/*.parquet')"
    duckdb.sql("set memory_limit = '4GB'")
    found = duckdb.sql(f"select count(*), min(n), max(n), sum(n) from (select count(*) as n from {table} group by number)").fetchone()
    expected = (RECORDS, times, times, RECORDS * times)
    print(
        f"{times * bytes_each / 1e9:.1f} GB, {RECORDS * times:,} records, memory = {arguments.memory}: {seconds:.0f} s,"
        f" peak RSS {usage.ru_maxrss * 1024 / 1e6:.0f} MB"
        + (f", with its cache {grouped:.0f} of {(arguments.limit << 20) / 1e6:.0f} MB" if grouped else ""),
        flush=True,
    )
    if status or found != expected:
        print(f"wrong: ended with {os.waitstatus_to_exitcode(status)}; (records, least, most, rows) are {found}, not {expected}")
        raise SystemExit(1)
    shutil.rmtree(out)


if __name__ == "__main__":
    main()
