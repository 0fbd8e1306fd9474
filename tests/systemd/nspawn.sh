#!/usr/bin/env bash
# Boots systemd in a container and runs the daemon under the unit that ships: notify, watchdog, credential, sandbox, reload, stop.
#
#   bash tests/systemd/nspawn.sh [PROGRAM]     needs root and systemd-container; prints the transcript, 1 if a step failed
#
# The container's root is empty and gone afterwards; /usr is this machine's, read-only. No network but the loopback.
set -euo pipefail
cd "$(dirname "$0")/../.."

program="$(realpath "${1:-target/debug/highwater}")"
command -v systemd-nspawn >/dev/null || { echo "nspawn.sh: systemd-nspawn is not installed (Debian: systemd-container)"; exit 75; }
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$scratch"/{bin,units/highwater.service.d,units/multi-user.target.wants,project/{sources,sinks,jobs,secrets},out}
cp "$program" "$scratch/bin/highwater"
cp systemd/highwater.service "$scratch/units/"

# What an operator would put into a drop-in. The watchdog is shorter than in the unit, for nobody wants to wait.
cat >"$scratch/units/highwater.service.d/site.conf" <<'UNIT'
[Service]
LoadCredential=api_token:/etc/highwater/secrets/api_token
WatchdogSec=4s
RestartSec=1s
UNIT
cat >"$scratch/units/exercise.service" <<'UNIT'
[Service]
Type=oneshot
ExecStart=/bin/sh -c '/bin/bash /exercise/exercise.sh >/out/transcript 2>&1'
ExecStopPost=/bin/systemctl --no-block poweroff
TimeoutStartSec=300s
UNIT
ln -s /etc/systemd/system/exercise.service "$scratch/units/multi-user.target.wants/exercise.service"

printf 'correct-horse\n' >"$scratch/project/secrets/api_token"
chmod 600 "$scratch/project/secrets/api_token"
printf 'version = 1\n\n[web]\nlisten = "127.0.0.1:7077"\n' >"$scratch/project/config.toml"
printf 'version = 1\ntype = "parquet"\nurl = "lake"\n' >"$scratch/project/sinks/lake.toml"
cat >"$scratch/project/sources/shop.toml" <<'TOML'
version = 1
type = "http"
base_url = "http://127.0.0.1:8099"
auth = { type = "bearer", token = { credential = "api_token" } }

[streams.orders]
path = "/orders"
records = "data"
primary_key = ["id"]
paging = { type = "page", param = "page", more = "has_more" }

[streams.orders.cursor]
field = "updated_at"
type = "timestamp"
query = { since = "{{ from }}", until = "{{ to }}" }
TOML
cat >"$scratch/project/jobs/orders.toml" <<'TOML'
version = 1
source = "shop"
stream = "orders"
sink = "lake"
mode = "append"
schedule = "every 5s"

[window]
settle = "1s"

[[steps]]
flatten = { columns = ["customer"] }
[[steps]]
filter = "amount >= 0"
[[steps]]
sql = "SELECT *, amount * 2 AS doubled FROM batch"
TOML

timeout --kill-after=10 420 systemd-nspawn --quiet --register=no --keep-unit --private-network --volatile=yes -D / -b \
    --bind-ro="$scratch/bin:/usr/local/bin" \
    --bind-ro="$scratch/units:/etc/systemd/system" \
    --bind="$scratch/project:/etc/highwater" \
    --bind-ro="$PWD/tests/systemd:/exercise" \
    --bind="$scratch/out:/out" \
    --console=pipe >"$scratch/console" 2>&1 </dev/null || { tail -n 30 "$scratch/console" "$scratch/out/transcript"; exit 1; }

cat <<'MARKDOWN'
# The daemon under its unit

What `bash tests/systemd/nspawn.sh` prints: systemd boots in a container, the unit of [systemd/](../systemd/README.md) is started, reloaded, starved, stopped and given a broken file. The job reads a small API inside the container
([tests/systemd](../tests/systemd/exercise.sh)) behind a token that is a credential. Times, ids and processes are left out.

MARKDOWN
systemctl --version | sed -n '1s/^\(systemd [0-9]*\).*/With \1. Before the first step:/p'
printf '\n```text\n'
# What depends on this machine and moment says nothing about the daemon.
sed -E \
    -e 's/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/[id]/g' \
    -e 's/\(pid [0-9]+\)/(pid [pid])/g; s#(/proc/|-t |STOP )[0-9]+#\1[pid]#g' \
    -e 's/[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}Z?/[time]/g; s/[A-Z][a-z]{2} +[0-9]+ [0-9]{2}:[0-9]{2}/[time]/g' \
    -e 's/\b6[0-9]{4}\b/[user]/g' \
    -e "s/$(hostname)/host/g" "$scratch/out/transcript"
grep -q '^0 failed\.$' "$scratch/out/transcript"
