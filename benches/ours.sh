#!/bin/bash
# Loads the items of a mock REST API into a table, as a user would: types not declared, first run, all defaults but zstd(1).
# From the environment: BASE (address of the items), PER (records a page), OUT (an empty folder), HIGHWATER (the binary).
set -eu
: "${BASE:?the address of the items}" "${PER:?records a page}" "${OUT:?a folder}"
binary=${HIGHWATER:-target/release/highwater}
project=$OUT/project
mkdir -p "$project"/{sources,sinks,jobs}
cat > "$project/config.toml" <<TOML
version = 1
TOML
cat > "$project/sources/mock.toml" <<TOML
version = 1
type = "http"
base_url = "${BASE%/items}"

[streams.items]
path = "/items"
records = "data"
primary_key = ["id"]
paging = { type = "page", param = "page", size_param = "per_page", page_size = $PER, more = "has_more" }
TOML
cat > "$project/sinks/lake.toml" <<TOML
version = 1
type = "parquet"
url = "$OUT/lake"

[parquet]
compression = "zstd(1)"
TOML
cat > "$project/jobs/items.toml" <<TOML
version = 1
source = "mock"
stream = "items"
sink = "lake"
mode = "append"
${PARTITION_BY:+partition_by = ["$PARTITION_BY"]}
TOML
exec "$binary" -C "$project" run items
