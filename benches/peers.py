"""What users would pick instead, each run by the Python of its own environment: peers.py duckdb|dlt|airbyte|rows.

From the environment: BASE (the items' address), ROWS, PER (records a page), OUT (an empty folder), and for DuckDB THREADS and PART.
Nothing is left out in their favour or against them: DuckDB is told page addresses and column types, dlt is tuned (workers, no nested
tables), airbyte-cdk writes its messages as JSON lines, for it writes no Parquet.
"""

import glob
import json
import os
import sys

COLUMNS = {
    "id": "BIGINT", "number": "BIGINT", "state": "VARCHAR", "title": "VARCHAR", "body": "VARCHAR", "created_at": "TIMESTAMP", "updated_at": "TIMESTAMP",
    "closed_at": "TIMESTAMP", "user": "STRUCT(id BIGINT, login VARCHAR, type VARCHAR, site_admin BOOLEAN)", "labels": "VARCHAR[]", "comments": "BIGINT",
    "locked": "BOOLEAN", "amount": "DOUBLE", "currency": "VARCHAR", "score": "DOUBLE", "assignee_id": "BIGINT",
}  # fmt: skip


def duckdb(base, rows, per, out):
    import duckdb
    import duckdb_extension_httpfs

    extension = glob.glob(os.path.dirname(duckdb_extension_httpfs.__file__) + "/**/httpfs.duckdb_extension", recursive=True)[0]
    connection = duckdb.connect()
    connection.execute(f"LOAD '{extension}'; SET threads = {os.environ['THREADS']}; SET preserve_insertion_order = false; SET TimeZone = 'UTC'")
    pages = [f"{base}?page={page}&per_page={per}" for page in range(1, -(-rows // per) + 1)]
    kind = ", ".join(f'"{name}" {kind}' for name, kind in COLUMNS.items())
    items = f"SELECT unnest(data, max_depth := 2) FROM read_json({pages}, columns = {{data: 'STRUCT({kind})[]'}}, format = 'unstructured', maximum_object_size = 33554432)"
    options = "FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1"
    if os.environ.get("PART"):
        connection.execute(f"COPY (SELECT *, strftime(created_at, '%Y-%m') AS month FROM ({items})) TO '{out}/items' ({options}, PARTITION_BY (month))")
    else:
        connection.execute(f"COPY ({items}) TO '{out}/items.parquet' ({options})")


def dlt(base, rows, per, out):
    os.environ.update(
        RUNTIME__DLTHUB_TELEMETRY="false", RUNTIME__LOG_LEVEL="CRITICAL", EXTRACT__WORKERS="8", NORMALIZE__WORKERS="2", LOAD__WORKERS="2",
        DATA_WRITER__BUFFER_MAX_ITEMS="100000", DATA_WRITER__FILE_MAX_ITEMS="100000", DATA_WRITER__DISABLE_COMPRESSION="true", SCHEMA__NAMING="direct",
    )  # fmt: skip
    import dlt
    from dlt.sources.rest_api import rest_api_source

    endpoint = {"path": "items", "params": {"per_page": per}, "data_selector": "data", "paginator": {"type": "json_link", "next_url_path": "next"}}
    items = {"name": "items", "endpoint": endpoint, "max_table_nesting": 0, "parallelized": True}
    source = rest_api_source({"client": {"base_url": base.removesuffix("items")}, "resources": [items]})
    source.max_table_nesting = 0
    lake = dlt.destinations.filesystem("file://" + out)
    dlt.pipeline("bench", destination=lake, dataset_name="raw", pipelines_dir=out + "/_pipelines").run(source, loader_file_format="parquet")


def airbyte(base, rows, per, out):
    def maybe(kind, **more):
        return {"type": ["null", kind], **more}

    kinds = {"BIGINT": "integer", "VARCHAR": "string", "DOUBLE": "number", "BOOLEAN": "boolean"}
    fields = {name: maybe("string", format="date-time") if kind == "TIMESTAMP" else maybe(kinds.get(kind, "object")) for name, kind in COLUMNS.items()}
    fields["user"] = maybe("object", properties={"id": maybe("integer"), "login": maybe("string"), "type": maybe("string"), "site_admin": maybe("boolean")})
    fields["labels"] = maybe("array", items={"type": "string"})
    schema = {"$schema": "http://json-schema.org/schema#", "type": "object", "properties": fields}
    paginator = {
        "type": "DefaultPaginator", "page_token_option": {"type": "RequestPath"},
        "pagination_strategy": {"type": "CursorPagination", "cursor_value": "{{ response['next'] }}", "stop_condition": "{{ not response['next'] }}"},
    }  # fmt: skip
    root, path = base.rsplit("/", 1)
    requester = {"type": "HttpRequester", "url_base": root + "/", "path": path, "http_method": "GET", "request_parameters": {"per_page": str(per)}}
    selector = {"type": "RecordSelector", "extractor": {"type": "DpathExtractor", "field_path": ["data"]}}
    retriever = {"type": "SimpleRetriever", "requester": requester, "record_selector": selector, "paginator": paginator}
    stream = {"type": "DeclarativeStream", "name": "items", "primary_key": ["id"], "retriever": retriever, "schema_loader": {"type": "InlineSchemaLoader", "schema": schema}}
    manifest = {
        "version": "6.0.0", "type": "DeclarativeSource", "check": {"type": "CheckStream", "stream_names": ["items"]}, "streams": [stream],
        "spec": {"type": "Spec", "connection_specification": {"type": "object", "properties": {}}},
    }  # fmt: skip
    chosen = {"stream": {"name": "items", "json_schema": schema, "supported_sync_modes": ["full_refresh"]}, "sync_mode": "full_refresh", "destination_sync_mode": "append"}
    for name, value in (("config", {"__injected_declarative_manifest": manifest}), ("catalog", {"streams": [chosen]})):
        with open(f"{out}/{name}.json", "w") as file:
            json.dump(value, file)
    tool = os.path.join(os.path.dirname(sys.executable), "source-declarative-manifest")
    with open(f"{out}/items.jsonl", "wb") as file:
        os.dup2(file.fileno(), 1)
    os.execv(tool, [tool, "read", "--config", f"{out}/config.json", "--catalog", f"{out}/catalog.json"])


def rows(base, rows, per, out):
    """Prints the rows of all Parquet files below OUT, or of the JSON lines."""
    import pyarrow.parquet

    beside = ("/_pipelines/", "/_highwater/", "/_dlt")
    files = [path for path in glob.glob(out + "/**/*.parquet", recursive=True) if not any(part in path for part in beside)]
    count = sum(pyarrow.parquet.read_metadata(path).num_rows for path in files)
    for path in glob.glob(out + "/items.jsonl"):
        with open(path, "rb") as file:
            count += sum(1 for line in file if line.startswith(b'{"type":"RECORD"') or b'"type": "RECORD"' in line)
    print(count)


if __name__ == "__main__":
    tools = {"duckdb": duckdb, "dlt": dlt, "airbyte": airbyte, "rows": rows}
    given = os.environ
    # Its own folder must not stand in for the packages' names.
    sys.path.pop(0)
    tools[sys.argv[1]](given.get("BASE", ""), int(given.get("ROWS", "0")), int(given.get("PER", "0")), given["OUT"])
