# What is done often, by name. `just` lists it.

target := env("CARGO_TARGET_DIR", "target")

default:
    @just --list

# Quick: form and lints, the house's rules.
check:
    cargo fmt --check
    cargo clippy --locked --all-targets -- -D warnings
    cargo test --locked --test it house::

# All tests, or those whose name contains NAME.
test *NAME:
    bash tests/run {{NAME}}

# What a change must pass, exactly as README says it.
ci:
    bash .ci/run

# Writes docs/catalogue.md anew from the tests.
catalogue:
    cargo test --locked --test it catalogue::

# The demo: the main job on real data, without internet.
demo:
    cargo run --release -- demo

# The daemon under its unit, in a container with systemd; needs root and systemd-container.
systemd:
    cargo build --locked
    bash tests/systemd/nspawn.sh {{target}}/debug/highwater

# An hour of the daemon against a source that misbehaves, killed again and again; the same FOLDER again goes on from there.
soak FOLDER *OPTIONS:
    cargo build --locked
    {{target}}/test-tools/venv/bin/python tests/soak/soak.py {{target}}/debug/highwater {{FOLDER}} {{OPTIONS}}

# Speed and memory beside DuckDB, dlt, airbyte-cdk and curl, into docs/performance.md; `--only small,idle-5` for some of it. The same FOLDER again goes on.
bench FOLDER *OPTIONS:
    cargo build --locked --release
    {{target}}/test-tools/venv/bin/python benches/load.py {{target}}/release/highwater {{FOLDER}} {{OPTIONS}}

# Instructions from a page's bytes to the Parquet file, against benches/guard.json; 1 above 2 % more. Needs valgrind; `--write` for a new figure.
bench-guard *OPTIONS:
    cargo build --locked --release
    {{target}}/test-tools/venv/bin/python benches/guard.py {{target}}/release/highwater {{OPTIONS}}

# Decoding alone, beside plain arrow-json on the same pages, which are made in FOLDER; 1 below 0.85 of its pace.
bench-decode FOLDER:
    python3 benches/pages.py {{FOLDER}}/pages
    cargo bench --locked --bench decode -- "$(realpath {{FOLDER}}/pages)"

# A thousand processes killed with -9 at every step, and races of two; each seed's result is kept in FOLDER and not done again.
kills FOLDER *OPTIONS:
    cargo build --locked
    {{target}}/test-tools/venv/bin/python tests/soak/kills.py {{target}}/debug/highwater {{FOLDER}} {{OPTIONS}}

# Each guard of the data switched off in turn, which must turn its test red; `just mutants GUARD` for one. One needs strace.
mutants *GUARDS:
    python3 tests/mutants/mutants.py {{GUARDS}}

# Random histories of the commit over simulated ports, 100,000 of them; the same FOLDER again goes on from there. FROM is the first seed of a new one.
sim FOLDER COUNT="100000" FROM="1":
    HIGHWATER_TEST_SIMULATION="$(realpath -m {{FOLDER}})" HIGHWATER_TEST_HISTORIES={{COUNT}} HIGHWATER_TEST_SEED={{FROM}} \
        cargo test --locked --release --config 'profile.release.package.highwater.debug-assertions=true' \
        --config 'profile.release.package.highwater.opt-level=2' --test it simulation::random -- --nocapture

# A merge into a large table: time, memory, files written anew.
bench-merge FOLDER *OPTIONS:
    cargo build --locked --release
    {{target}}/test-tools/venv/bin/python benches/merge.py {{target}}/release/highwater {{FOLDER}} {{OPTIONS}}

# Ten gigabytes in one slice through a control group of half a gigabyte, with `limits.memory` of 128 MiB.
stream FOLDER *OPTIONS:
    cargo build --locked --release
    {{target}}/test-tools/venv/bin/python benches/stream.py {{target}}/release/highwater {{FOLDER}} {{OPTIONS}}

# How well a quota is used and kept, judged by a server's own log; `--only declared,told` for some of it.
bench-quota FOLDER *OPTIONS:
    cargo build --locked --release
    {{target}}/test-tools/venv/bin/python benches/quota.py {{target}}/release/highwater {{FOLDER}} {{OPTIONS}}

# Servers that nobody here wrote (json-server, oidc-provider, WordPress) are installed into FOLDER, read, and compared; `just real FOLDER wordpress` for one.
real FOLDER *SERVERS:
    bash tests/real/run {{FOLDER}} {{SERVERS}}
