"""What independent readers find in a lake, what is wrong with it, and at which step of the protocol a killed run stood.

Tables are read by DuckDB, pyarrow and deltalake. Nothing here is the program's code: records of the log are read as the JSON that
ARCHITECTURE.md describes, and the state as the SQLite file that it is.
"""

import glob
import json
import os
import re
import shutil
import sqlite3
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property

import deltalake
import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs as pafs

from source import Source

# In the order in which a run comes to them. `read` is what is none of the others, `after` what follows the last that the
# state was told of: the end of the run and control tables.
STEPS = ["read", "staging", "decide", "publish", "expose", "remove", "index", "state", "after"]
COLUMNS = ["id", "updated_at", "name", "_hw_deleted"]


@dataclass(frozen=True)
class Lake:
    """The root of a sink: a folder, or a bucket of an S3 server."""

    root: str
    kind: str = "parquet"
    endpoint: str = ""

    @cached_property
    def files(self) -> pafs.FileSystem:
        if not self.endpoint:
            return pafs.LocalFileSystem()
        return pafs.S3FileSystem(
            access_key="test", secret_key="test", region="us-east-1", scheme="http", endpoint_override=self.endpoint.removeprefix("http://")
        )

    def names(self, folder: str) -> dict[str, int]:
        """Files below a folder, by their path below the root, with their sizes."""
        selector = pafs.FileSelector(f"{self.root}/{folder}", recursive=True, allow_not_found=True)
        found = [info for info in self.files.get_file_info(selector) if info.type == pafs.FileType.File]
        return {info.path.removeprefix(f"{self.root}/"): info.size for info in found}

    def has(self, path: str) -> bool:
        return self.files.get_file_info(f"{self.root}/{path}").type == pafs.FileType.File

    def read(self, path: str) -> bytes:
        with self.files.open_input_stream(f"{self.root}/{path}") as stream:
            return stream.readall()

    def rows(self, table: str) -> list[tuple[int, int, str | None, bool]]:
        """Each row: id, time in microseconds, name, whether it is marked as deleted."""
        if self.kind == "delta":
            return self.delta_rows(table)
        if self.endpoint:
            if not any(name.endswith(".parquet") for name in self.names(table)):
                return []
            return taken(ds.dataset(f"{self.root}/{table}", format="parquet", partitioning="hive", filesystem=self.files))
        files = glob.glob(os.path.join(self.root, table, "**", "*.parquet"), recursive=True)
        if not files:
            return []
        read = f"read_parquet({files!r}, hive_partitioning = true, union_by_name = true)"
        with duckdb.connect() as connection:
            columns = [name for (name, *_) in connection.sql(f"DESCRIBE SELECT * FROM {read}").fetchall()]
            deleted = 'coalesce("_hw_deleted", false)' if "_hw_deleted" in columns else "false"
            return connection.sql(f"SELECT id, epoch_us(updated_at), name, {deleted} FROM {read}").fetchall()

    def delta_rows(self, table: str) -> list[tuple[int, int, str | None, bool]]:
        if not any("/_delta_log/" in name for name in self.names(f"{table}/_delta_log")):
            return []
        if not self.endpoint:
            return taken(deltalake.DeltaTable(os.path.join(self.root, table)).to_pyarrow_dataset())
        options = {"endpoint_url": self.endpoint, "access_key_id": "test", "secret_access_key": "test", "allow_http": "true"}
        options["region"] = "us-east-1"
        return taken(deltalake.DeltaTable(f"s3://{self.root}/{table}", storage_options=options).to_pyarrow_dataset())


def taken(dataset: ds.Dataset) -> list[tuple[int, int, str | None, bool]]:
    table = dataset.to_table(columns=[name for name in COLUMNS if name in dataset.schema.names])
    at = pc.cast(pc.cast(table["updated_at"], pa.timestamp("us")), pa.int64()).to_pylist()
    gone = table["_hw_deleted"].to_pylist() if "_hw_deleted" in table.column_names else [False] * len(table)
    return list(zip(table["id"].to_pylist(), at, table["name"].to_pylist(), map(bool, gone)))


def compare(source: Source, number: int, rows: list[tuple[int, int, str | None, bool]]) -> Counter:
    """What is wrong with a table once the source stands still and a run ended well: lost, doubled and otherwise wrong rows."""
    mode, wrong, found = source.jobs[number].mode, Counter(), {}
    for ident, at, name, gone in rows:
        found.setdefault(ident, []).append((at, name, gone))
    for ident, record in source.streams[number].items():
        some = found.pop(ident, [])
        newest = [one for one in some if one[0] == record["at"] and (record["deleted"] or one[1] == record["name"])]
        if mode == "append":
            wrong["lost"] += not newest
            wrong["doubled"] += len(some) - len(set(some))
            wrong["wrong"] += sum((at, name) not in source.versions[number][ident] for at, name, _ in some)
            continue
        wrong["doubled"] += max(0, len(some) - 1)
        if record["deleted"]:
            wrong["wrong"] += any(not gone for (_, _, gone) in some)
        elif not newest or newest[0][2]:
            wrong["lost"] += 1
    wrong["wrong"] += sum(len(some) for some in found.values())
    return +wrong


@dataclass
class Known:
    """What a state file knows of one dataset."""

    seq: int = 0
    batches: set[str] = field(default_factory=set)
    runs: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)


def known(state: str, names: list[str]) -> dict[str, Known]:
    """Read from a copy: whoever closes the file itself writes its journal back, and the next run would find less to recover."""
    found = {name: Known() for name in names}
    with tempfile.TemporaryDirectory() as folder:
        for path in glob.glob(f"{state}*"):
            shutil.copy(path, folder)
        connection = sqlite3.connect(os.path.join(folder, os.path.basename(state)))
        try:
            for name, seq in connection.execute("SELECT name, seq FROM dataset"):
                found.setdefault(name, Known()).seq = seq
            for name, batch in connection.execute("SELECT dataset, batch FROM batch WHERE status = 'prepared'"):
                found.setdefault(name, Known()).batches.add(batch)
            for job, run, at in connection.execute("SELECT job, run, finished_at FROM runs"):
                one = found.setdefault(job, Known())
                (one.ended if at else one.runs).add(run)
        except sqlite3.OperationalError:
            pass  # Killed before the tables of a new state were made.
        finally:
            connection.close()
    return found


@dataclass
class Standing:
    """How far a dataset is, in the lake and in the state."""

    seq: int
    staged: set[str]
    known: Known


def log_of(table: str) -> str:
    return f"_highwater/{table}/log"


def standing(lake: Lake, table: str, known: Known) -> Standing:
    names = lake.names(f"_highwater/{table}")
    seqs = [int(match[1]) for name in names if (match := re.search(r"/log/(\d{20})\.json$", name))]
    return Standing(max(seqs, default=0), {name for name in names if "/staging/" in name}, known)


def record_of(lake: Lake, table: str, seq: int) -> dict:
    return json.loads(lake.read(f"{log_of(table)}/{seq:020}.json"))


def step(lake: Lake, table: str, before: Standing, now: Standing) -> str:
    """The first step that a killed process had not done, by what it left."""
    if now.seq <= now.known.seq:
        if now.known.batches - before.known.batches:
            return "decide"
        if now.staged - before.staged:
            return "staging"
        if now.known.ended - before.known.ended - before.known.runs:
            return "after"
        # Ids say when they were given: of a run that goes on, the batch that the state knows is its own if it is the younger.
        at_work = now.known.runs - before.known.runs
        return "after" if now.seq and any(run < record_of(lake, table, now.seq)["batch"] for run in at_work) else "read"
    record = record_of(lake, table, now.seq)
    names = lake.names(table) | lake.names(f"_highwater/{table}")
    if not all(one["path"] in names for one in record["add"]):
        return "publish"
    moves = record["remove"] or any(one["role"] == "data" for one in record["add"])
    if lake.kind == "delta" and moves and not is_exposed(lake, table, now.seq):
        return "expose"
    if any(one["staged"] in names for one in record["add"]) or (lake.kind == "parquet" and any(path in names for path in record["remove"])):
        return "remove"
    index = f"_highwater/{table}/current.json"
    return "index" if index not in names or json.loads(lake.read(index))["seq"] < now.seq else "state"


def has_died_at_work(before: Standing, now: Standing) -> bool:
    """Whether a run had begun when it was killed."""
    return bool((now.known.runs | now.known.ended) - before.known.runs - before.known.ended)


def is_exposed(lake: Lake, table: str, seq: int) -> bool:
    commits = sorted(name for name in lake.names(f"{table}/_delta_log") if re.search(r"/\d{20}\.json$", name))
    for line in (line for name in commits[-3:] for line in lake.read(name).splitlines()):
        transaction = json.loads(line).get("txn")
        if transaction and transaction["appId"] == table and transaction["version"] >= seq:
            return True
    return False
