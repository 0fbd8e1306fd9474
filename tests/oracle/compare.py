"""Reads tables of a lake with DuckDB, pyarrow, deltalake and Sail and compares them with the ground truth, value by value.

Shares no code with the program. Reads a list of cases as JSON from standard input:

    [{"name": "...", "truth": "records.jsonl", "key": ["id"],
      "table": "/folder/of/the/table" | {"endpoint": "http://..", "bucket": "..", "prefix": "raw/items"}
        | {"azure": "host:port", "account": "..", "key": "..", "bucket": "..", "prefix": "raw/items"},
      "declared": {"properties.time": "epoch_ms"},       optional: dotted field -> declared type
      "flatten": {"columns": ["properties"], "separator": "_"}   optional: the job's flatten step
      "free": true                                       optional, default true: types were inferred over all of the truth
      "keys_only": false                                 optional: which rows are there, whatever their values
      "delta": false                                     optional: a Delta table, read by its log and not by a glob
      "commits": 3                                       optional, of a Delta table: the version that its log must be at
      "spark": false                                     optional, of a Delta table: also read by Spark's protocol
    }]

The truth is one record a line, the JSON text as the API sent it. Prints each difference and how many values were compared; exits
with 1 if anything differs.
"""

import datetime as dt
import decimal
import glob
import json
import os
import re
import sys
import tempfile
import uuid
from urllib.parse import unquote

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

TIMESTAMP = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)$")
DATE = re.compile(r"^\d{4}-\d\d-\d\d$")
NULL_FOLDER = "__HIVE_DEFAULT_PARTITION__"
DIFFERENCES_SHOWN = 20
# Columns that the program adds.
OWN = {"_hw_commit", "_hw_extracted_at", "_hw_key", "_hw_cursor", "_hw_hash", "_hw_deleted", "_hw_set"}


class Int(str):
    """A whole number by its digits."""


class Float(str):
    """A number with a fraction or an exponent, as it stood."""


def parse(text):
    return json.loads(text, parse_int=Int, parse_float=Float)


# What type a field must have, from all the values that it ever had.


def kind_of(value):
    if isinstance(value, dict):
        return "object"
    if isinstance(value, list):
        return "list"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, Int):
        return "int" if -(2**63) <= int(value) < 2**63 else "beyond"
    if isinstance(value, Float):
        return "float" if abs(float(value)) != float("inf") else "beyond"
    if TIMESTAMP.match(value):
        return "timestamp"
    return "date" if DATE.match(value) else "string"


def infer(values):
    """The type of a field that had these values: a word, {"struct": {name: type}} or {"list": type}."""
    present = [value for value in values if value is not None]
    kinds = {kind_of(value) for value in present}
    if not kinds:
        return "null"
    if kinds == {"object"}:
        names = {}
        for value in present:
            for name in value:
                names.setdefault(name, None)
        return {"struct": {name: infer([value.get(name) for value in present]) for name in names}}
    if kinds == {"list"}:
        return {"list": infer([item for value in present for item in value])}
    if kinds & {"object", "list"}:
        return "json"
    if kinds <= {"int", "float"}:
        if kinds == {"int"}:
            return "int"
        exact = all(int(float(value)) == int(value) for value in present if isinstance(value, Int))
        return "float" if exact else "text"
    if len(kinds) == 1 and kinds <= {"boolean", "timestamp", "date"}:
        return kinds.pop()
    return "text"


def declare(tree, path, declared):
    node = tree
    steps = path.split(".")
    for step in steps[:-1]:
        node = node["struct"][step]
    node["struct"][steps[-1]] = declared


# What value must stand in the table.


def instant(text):
    return dt.datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(dt.timezone.utc)


EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
EPOCH_UNITS = {"epoch_s": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1}


def expected(column_type, raw):
    if raw is None:
        return None
    if isinstance(column_type, dict) and "struct" in column_type:
        return {name: expected(inner, raw.get(name)) for name, inner in column_type["struct"].items()}
    if isinstance(column_type, dict):
        return [expected(column_type["list"], item) for item in raw]
    if column_type in EPOCH_UNITS:
        return EPOCH + dt.timedelta(microseconds=int(decimal.Decimal(raw) * EPOCH_UNITS[column_type]))
    if column_type == "int":
        return int(raw)
    if column_type == "float":
        return float(raw)
    if column_type == "timestamp":
        return instant(raw)
    if column_type == "date":
        return dt.date.fromisoformat(raw)
    if column_type == "text":
        return {True: "true", False: "false"}[raw] if isinstance(raw, bool) else str(raw)
    return raw


def differs(column_type, want, got):
    """Whether a value read differs from the one expected."""
    if want is None or got is None:
        return not (want is None and got is None) and not is_empty(column_type)
    if column_type == "json":
        return not isinstance(got, str) or parse(got) != want
    if isinstance(column_type, dict) and "struct" in column_type:
        fields = column_type["struct"]
        if not isinstance(got, dict) or set(got) - set(fields):
            return True
        return any(differs(inner, want[name], got.get(name)) for name, inner in fields.items())
    if isinstance(column_type, dict):
        item = column_type["list"]
        return not isinstance(got, list) or len(got) != len(want) or any(differs(item, a, b) for a, b in zip(want, got))
    return type(got) is not type(want) or got != want


def is_empty(column_type):
    """A type without any value: such a column waits and stands in no file."""
    if column_type == "null":
        return True
    if isinstance(column_type, dict) and "list" in column_type:
        return is_empty(column_type["list"])
    return isinstance(column_type, dict) and all(is_empty(inner) for inner in column_type["struct"].values())


ARROW = {
    "int": pa.types.is_signed_integer,
    "float": pa.types.is_float64,
    "boolean": pa.types.is_boolean,
    "date": pa.types.is_date32,
}


def is_text(arrow_type):
    return pa.types.is_string(arrow_type) or pa.types.is_large_string(arrow_type) or pa.types.is_string_view(arrow_type)


def wrong_type(column_type, arrow_type, path):
    """Where an Arrow type is not what it must be, as texts."""
    if is_empty(column_type):
        return []
    if isinstance(column_type, dict) and "struct" in column_type:
        if not pa.types.is_struct(arrow_type):
            return [f"{path}: {arrow_type} is no struct"]
        there = {field.name: field.type for field in arrow_type}
        found = [f"{path}.{name}: missing" for name, inner in column_type["struct"].items() if name not in there and not is_empty(inner)]
        for name, inner in column_type["struct"].items():
            if name in there:
                found += wrong_type(inner, there[name], f"{path}.{name}")
        return found
    if isinstance(column_type, dict):
        if not (pa.types.is_list(arrow_type) or pa.types.is_large_list(arrow_type)):
            return [f"{path}: {arrow_type} is no list"]
        return wrong_type(column_type["list"], arrow_type.value_type, f"{path}[]")
    if column_type in EPOCH_UNITS or column_type == "timestamp":
        fits = pa.types.is_timestamp(arrow_type) and arrow_type.tz is not None
    else:
        fits = ARROW.get(column_type, is_text)(arrow_type)
    return [] if fits else [f"{path}: {arrow_type} where {column_type} belongs"]


# The job's own flatten step.


def flatten(record, tree, step):
    """Struct columns of `step` become columns of their own, recursively."""
    fields, types = {}, {}

    def spread(name, value, column_type, is_chosen):
        if is_chosen and isinstance(column_type, dict) and "struct" in column_type:
            for inner, inner_type in column_type["struct"].items():
                spread(f"{name}{step['separator']}{inner}", None if value is None else value.get(inner), inner_type, True)
        else:
            fields[name], types[name] = value, column_type

    for name, column_type in tree["struct"].items():
        spread(name, record.get(name), column_type, name in step["columns"])
    return fields, types


# The readers.


def mirror(place, folder):
    """Copies what lies below a prefix of a bucket, with a client of its own."""
    if "azure" in place:
        from pyarrow import fs

        azure = fs.AzureFileSystem(
            place["account"],
            account_key=place["key"],
            blob_storage_authority=place["azure"],
            blob_storage_scheme="http",
            dfs_storage_authority=place["azure"],
            dfs_storage_scheme="http",
        )
        base = place["bucket"] + "/" + place["prefix"]
        for item in azure.get_file_info(fs.FileSelector(base, recursive=True)):
            if item.type == fs.FileType.File:
                target = os.path.join(folder, item.path[len(base) + 1 :])
                os.makedirs(os.path.dirname(target), exist_ok=True)
                with azure.open_input_stream(item.path) as blob, open(target, "wb") as file:
                    file.write(blob.read())
        return folder
    import boto3

    client = boto3.client(
        "s3", endpoint_url=place["endpoint"], region_name="us-east-1", aws_access_key_id="oracle", aws_secret_access_key="oracle"
    )
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=place["bucket"], Prefix=place["prefix"] + "/"):
        for item in page.get("Contents", []):
            target = os.path.join(folder, item["Key"][len(place["prefix"]) + 1 :])
            os.makedirs(os.path.dirname(target), exist_ok=True)
            client.download_file(place["bucket"], item["Key"], target)
    return folder


def by_duckdb(files):
    """Rows and types as DuckDB reads files, or a glob, with the folders' keys as columns."""
    connection = duckdb.connect()
    connection.execute("SET threads = 2")
    listed = ", ".join("'" + path.replace("'", "''") + "'" for path in files)
    query = f"SELECT * FROM read_parquet([{listed}], hive_partitioning = true, hive_types_autocast = false, union_by_name = true)"
    table = connection.sql(query).to_arrow_table()
    return table.to_pylist(), table.schema


def by_pyarrow(folder, files):
    """Rows file by file, and the schema that all files have together."""
    rows, schemas = [], []
    for path in files:
        table = pq.ParquetFile(path).read()
        keys = folder_keys(folder, path)
        rows += [{**row, **keys} for row in table.to_pylist()]
        schemas.append(table.schema.remove_metadata())
    return rows, pa.unify_schemas(schemas, promote_options="permissive")


def delta_table(place):
    """The table as deltalake sees it, where it lies: of a bucket nothing is copied."""
    from deltalake import DeltaTable

    if isinstance(place, str):
        return DeltaTable(place)
    if "azure" in place:
        options = {
            "AZURE_STORAGE_ACCOUNT_NAME": place["account"],
            "AZURE_STORAGE_ACCOUNT_KEY": place["key"],
            "AZURE_ENDPOINT": f"http://{place['azure']}/{place['account']}",
            "AZURE_ALLOW_HTTP": "true",
        }
        return DeltaTable(f"az://{place['bucket']}/{place['prefix']}", storage_options=options)
    options = {
        "AWS_ENDPOINT_URL": place["endpoint"],
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "oracle",
        "AWS_SECRET_ACCESS_KEY": "oracle",
        "AWS_ALLOW_HTTP": "true",
    }
    return DeltaTable(f"s3://{place['bucket']}/{place['prefix']}", storage_options=options)


def by_sql(table):
    """Rows and types as deltalake's own SQL gives them."""
    from deltalake import QueryBuilder

    found = pa.table(QueryBuilder().register("t", table).execute("SELECT * FROM t").read_all())
    return found.to_pylist(), found.schema


def by_delta_scan(folder):
    """Rows and types as DuckDB's own extension for Delta gives them; `None` where there is no build of it."""
    try:
        import duckdb_extension_delta
    except ImportError:
        return None
    builds = os.path.join(os.path.dirname(duckdb_extension_delta.__file__), "extensions", "*", "delta.duckdb_extension")
    connection = duckdb.connect(config={"autoinstall_known_extensions": False})
    # DuckDB loads it only with DuckDB's own signature.
    connection.execute(f"LOAD '{glob.glob(builds)[0]}'")
    found = connection.execute("SELECT * FROM delta_scan(?)", [folder]).to_arrow_table()
    return found.to_pylist(), found.schema


SPARK = []


def spark():
    """A session of Spark's client; behind it is Sail, which speaks Spark's protocol and shares no code with Apache Spark."""
    if not SPARK:
        from pysail.spark import SparkConnectServer
        from pyspark.sql import SparkSession

        server = SparkConnectServer("127.0.0.1", 0)
        server.start(background=True)
        _, port = server.listening_address
        SPARK.extend([SparkSession.builder.remote(f"sc://127.0.0.1:{port}").getOrCreate(), server])
    return SPARK[0]


def by_spark(folder):
    """Rows and types as Spark's client gives them."""
    found = spark().read.format("delta").load(folder).toArrow()
    return found.to_pylist(), found.schema


def counting(table, folder):
    """The files that the log says count, in `folder`."""
    from urllib.parse import urlparse

    root = table.table_uri.rstrip("/") + "/"
    below = [path[len(root) :] if path.startswith(root) else os.path.relpath(urlparse(path).path, folder) for path in table.file_uris()]
    return sorted(os.path.join(folder, path) for path in below)


def folder_keys(folder, path):
    steps = os.path.relpath(path, folder).split(os.sep)[:-1]
    pairs = [step.split("=", 1) for step in steps]
    return {unquote(key): None if value == NULL_FOLDER else unquote(value) for key, value in pairs}


UNITS = {"year": "%Y", "month": "%Y-%m", "day": "%Y-%m-%d"}


def check_folders(row, keys, report):
    """The folder that a row lies in must be the one that its own value names."""
    for key, value in keys.items():
        column, _, unit = key.rpartition("_")
        if unit in UNITS and column in row:
            want = None if row[column] is None else row[column].strftime(UNITS[unit])
            if want != value:
                report(f"a row of {column} {row[column]} lies in {key}={value}")


class Case:
    def __init__(self, case):
        self.name = case["name"]
        self.differences = []
        self.values = 0
        self.run(case)

    def report(self, text):
        self.differences.append(text)

    def run(self, case):
        with open(case["truth"], encoding="utf-8") as lines:
            records = [parse(line) for line in lines if line.strip()]
        with tempfile.TemporaryDirectory() as scratch:
            folder = case["table"] if isinstance(case["table"], str) else mirror(case["table"], scratch)
            files = sorted(glob.glob(os.path.join(glob.escape(folder), "**", "*.parquet"), recursive=True))
            everything = [os.path.join(at, name) for at, _, names in os.walk(folder) for name in names]
            if case.get("delta", False):
                everything = [path for path in everything if not path.startswith(os.path.join(folder, "_delta_log", ""))]
                files = [path for path in files if not path.startswith(os.path.join(folder, "_delta_log", ""))]
            for stray in sorted(set(everything) - set(files)):
                self.report(f"{os.path.relpath(stray, folder)} lies among the table's files")
            if case.get("delta", False):
                files = self.check_delta(case, folder, records, files)
            if not records or not files:
                if records or files:
                    self.report(f"{len(records)} records, {len(files)} files")
                return
            for path in files:
                self.check_file(folder, path)
            self.compare(case, records, "DuckDB", *by_duckdb(files), folder, files)
            self.compare(case, records, "pyarrow", *by_pyarrow(folder, files), folder, files)

    def check_delta(self, case, folder, records, there):
        """Compares what deltalake reads, in two ways, and what the log says of each file; the files that count."""
        table = delta_table(case["table"])
        files = counting(table, folder)
        for path in sorted(set(files) - set(there)):
            self.report(f"{os.path.relpath(path, folder)} counts in the Delta log and is not there")
        if "commits" in case and table.version() != case["commits"]:
            self.report(f"the Delta log is at version {table.version()}, not {case['commits']}")
        if not files:
            return files
        read = table.to_pyarrow_table()
        self.compare(case, records, "deltalake", read.to_pylist(), read.schema, folder, files)
        self.compare(case, records, "deltalake's SQL", *by_sql(table), folder, files)
        scanned = by_delta_scan(folder)
        if scanned is not None:
            self.compare(case, records, "delta_scan", *scanned, folder, files)
        if case.get("spark", False):
            self.compare(case, records, "Spark's client", *by_spark(folder), folder, files)
        for row in read.to_pylist():
            check_folders(row, {name: row[name] for name in row if name in table.metadata().partition_columns}, self.report)
        actions = pa.table(table.get_add_actions(flatten=True)).to_pylist()
        if sum(action["num_records"] for action in actions) != read.num_rows:
            self.report("the numbers of rows in the Delta log do not add up")
        for action in actions:
            self.check_bounds(os.path.join(folder, unquote(action["path"])), action)
        return files

    def check_bounds(self, path, action):
        """What the log says of a file's values must hold, or readers pass over rows that they ask for."""
        table = pq.ParquetFile(path).read()
        if action["size_bytes"] != os.path.getsize(path) or action["num_records"] != table.num_rows:
            self.report(f"{action['path']} is of another size than the Delta log says")
        for name in table.schema.names:
            values = [value for value in table.column(name).to_pylist() if value is not None]
            nulls, least, most = (action.get(f"{what}.{name}") for what in ("null_count", "min", "max"))
            if nulls is not None and nulls != table.num_rows - len(values):
                self.report(f"{action['path']}: the Delta log tells {nulls} nulls of {name}")
            for bound, outside in ((least, lambda value: value < least), (most, lambda value: value > most)):
                if bound is not None and any(map(outside, values)):
                    self.report(f"{action['path']}: values of {name} lie beyond {bound!r}")
            self.values += 0 if least is None else len(values)

    def check_file(self, folder, path):
        keys = folder_keys(folder, path)
        for row in pq.ParquetFile(path).read().to_pylist():
            check_folders(row, keys, self.report)

    def compare(self, case, records, reader, rows, schema, folder, files):
        def say(text):
            self.report(f"{reader}: {text}")

        tree = infer(records)
        for path, declared in case.get("declared", {}).items():
            declare(tree, path, declared)
        step = case.get("flatten", {"columns": [], "separator": "_"})
        _, types = flatten(records[0], tree, step)
        keys = set(folder_keys(folder, files[0]))
        there = {field.name: field.type for field in schema}
        keys_only = case.get("keys_only", False)
        for name, column_type in ([] if keys_only else types.items()):
            if name in keys:
                continue
            if name not in there:
                if not is_empty(column_type):
                    say(f"column {name} is missing")
                continue
            for text in wrong_type(column_type, there[name], name):
                say(text)
        for name in (set() if keys_only else set(there) - set(types) - keys - OWN):
            say(f"column {name} is not in the source")
        key = case["key"]
        want = {}

        def key_of(record, path):
            declared = case.get("declared", {}).get(path)
            value = dig(record, path)
            return str(expected(declared, value) if declared in EPOCH_UNITS else value)

        for record in records:
            fields, _ = flatten(record, tree, step)
            want.setdefault(tuple(key_of(record, path) for path in key), []).append(fields)
        got = {}
        for row in rows:
            got.setdefault(tuple(str(self.key_of(row, path, step)) for path in key), []).append(row)
        for name in sorted(set(want) - set(got)):
            say(f"row {name} is lost")
        for name in sorted(set(got) - set(want)):
            say(f"row {name} is not in the source")
        for name in sorted(set(want) & set(got)):
            if len(want[name]) != len(got[name]):
                say(f"row {name} is there {len(got[name])} times, not {len(want[name])}")
            for fields, row in ([] if keys_only else zip(want[name], got[name])):
                self.compare_row(say, name, fields, types, row, keys)

    @staticmethod
    def key_of(row, path, step):
        if path in row:
            return row[path]
        flat = path.replace(".", step["separator"])
        return row[flat] if flat in row else dig(row, path)

    def compare_row(self, say, name, fields, types, row, keys):
        try:
            uuid.UUID(row["_hw_commit"])
            fits = row["_hw_extracted_at"].tzinfo is not None
        except (KeyError, TypeError, ValueError, AttributeError):
            fits = False
        if not fits:
            say(f"row {name} does not say when and by which batch it came")
        for column, column_type in types.items():
            self.values += 1
            value = expected(column_type, fields.get(column))
            read = row.get(column)
            if column in keys:
                value = None if value is None else str(value)
                column_type = "text"
            if differs(column_type, value, read):
                say(f"row {name}: {column} is {read!r}, not {value!r}")


def dig(record, path):
    value = record
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def main():
    bad = 0
    for case in json.load(sys.stdin):
        result = Case(case)
        print(f"{result.name}: {result.values} values compared, {len(result.differences)} differences")
        for text in result.differences[:DIFFERENCES_SHOWN]:
            print(f"  {text}")
        bad += bool(result.differences)
    sys.stdout.flush()
    # deltalake leaves threads behind that may abort the interpreter at its end.
    os._exit(1 if bad else 0)


if __name__ == "__main__":
    main()
