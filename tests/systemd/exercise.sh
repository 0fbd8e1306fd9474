#!/bin/bash
# Runs inside the container: takes the unit from start to stop and says what it does. Its output is the transcript.
export SYSTEMD_PAGER=cat SYSTEMD_COLORS=0 NO_COLOR=1 COLUMNS=140 STATE_DIRECTORY=/var/lib/highwater
failures=0

say() { printf '```\n\n## %s\n\n```text\n' "$*"; }
run() {
    printf '$ %s\n' "$*"
    "$@" 2>&1
}
show() { run systemctl show highwater -p Type -p ActiveState -p SubState -p StatusText -p NRestarts -p Result; }
expect() {
    if eval "$2"; then printf 'ok: %s\n' "$1"; else printf 'FAILED: %s\n' "$1"; failures=$((failures + 1)); fi
}
until_true() {
    for _ in $(seq 300); do eval "$1" && return 0; sleep 0.1; done
    return 1
}
main_pid() { systemctl show highwater -p MainPID --value; }
property() { systemctl show highwater -p "$1" --value; }

# Warm up: nothing of the network inside but the loopback.
python3 /exercise/api.py &
api=$!
until_true '(exec 3<>/dev/tcp/127.0.0.1/8099) 2>/dev/null'

say "Start: systemctl returns once the daemon is able to work"
run systemctl start highwater
expect "started" '[ "$(property ActiveState)" = active ]'
show
expect "it is Type=notify and told its status" '[ -n "$(property StatusText)" ]'

say "The sandbox it works in"
pid=$(main_pid)
run grep -E '^(Uid|Gid|CapEff|NoNewPrivs|Seccomp|Threads):' "/proc/$pid/status"
expect "no privileges, no capabilities, system calls filtered" \
    'grep -q "^CapEff:.*0000000000000000$" /proc/$pid/status && grep -q "^NoNewPrivs:.*1" /proc/$pid/status && grep -q "^Seccomp:.*2" /proc/$pid/status && ! grep -q "^Uid:.*\b0\b" /proc/$pid/status'
run nsenter -t "$pid" -m ls /proc/meminfo /proc/cpuinfo
run ls -la /var/lib/private/highwater

say "The scheduled job has run: with the credential, through polars (a filter and a derived column), to Parquet"
expect "rows were committed" 'until_true "highwater -C /etc/highwater state show --json | grep -q \"\\\"seq\\\": [1-9]\""'
run highwater -C /etc/highwater status
run highwater -C /etc/highwater query 'SELECT COUNT(*) AS orders, MAX(doubled) AS largest FROM orders'
run highwater -C /etc/highwater verify
expect "the table is what its log says" '[ $? = 0 ]'
run ls -la /var/lib/highwater/state

say "Health, readiness and figures, on the loopback interface"
page() { python3 -c 'import sys, urllib.request as r; print(r.urlopen("http://127.0.0.1:7077" + sys.argv[1]).read().decode(), end="")' "$1"; }
expect "healthy and ready" '[ "$(page /healthz)" = ok ] && [ "$(page /readyz)" = ready ]'
page /metrics | grep -E '^highwater_(runs_total|rows_total|jobs_parked|config_current)' | grep -v ' 0$'

say "A run is handed over"
run highwater -C /etc/highwater run orders
expect "handed over and done" '[ $? = 0 ]'

run journalctl -u highwater JOB_ID=orders -o cat --no-pager -n 3
expect "the journal has fields" 'journalctl -u highwater JOB_ID=orders -o cat --no-pager | grep -q "orders: commit"'

say "Reload: a good file, then a broken one"
before=$(main_pid)
sed -i 's/every 5s/every 4s/' /etc/highwater/jobs/orders.toml
run systemctl reload highwater
expect "the same process goes on" 'until_true "journalctl -u highwater -o cat --no-pager | grep -q reloaded" && [ "$(main_pid)" = "$before" ]'
cp /etc/highwater/config.toml /tmp/config.toml
printf 'version = 1\n[limits]\nruns = 0\n' >/etc/highwater/config.toml
run systemctl reload highwater
until_true 'systemctl show highwater -p StatusText --value | grep -q "not taken up"'
show
expect "the old configuration goes on, and the status says why" 'property StatusText | grep -q "not taken up"'
cp /tmp/config.toml /etc/highwater/config.toml
run systemctl reload highwater
expect "the problem is over" 'until_true "! systemctl show highwater -p StatusText --value | grep -q \"not taken up\""'

say "Watchdog: a daemon that does not answer is killed and started anew"
before=$(main_pid)
restarts=$(property NRestarts)
run kill -STOP "$before"
expect "the watchdog fired" 'until_true "[ \"\$(systemctl show highwater -p NRestarts --value)\" -gt \"$restarts\" ]" && until_true "[ \"\$(systemctl show highwater -p ActiveState --value)\" = active ]" && [ "$(main_pid)" != "$before" ]'
run journalctl -u highwater -o cat --no-pager -t systemd -g 'Watchdog|Main process exited|Scheduled restart'
expect "the table is what its log says" 'highwater -C /etc/highwater verify >/dev/null'

say "Stop: the slices at work are finished"
run systemctl stop highwater
show
expect "it ended well" '[ "$(property Result)" = success ] && [ "$(property ExecMainStatus)" = 0 ]'
run journalctl -u highwater -o cat --no-pager -n 4
expect "nothing lost, nothing doubled" '[ "$(highwater -C /etc/highwater query "SELECT COUNT(*) - COUNT(DISTINCT id) AS doubled FROM orders" --json)" = "{\"doubled\":0}" ]'

say "A broken configuration is not started over and over"
printf 'version = 2\n' >/etc/highwater/config.toml
run systemctl start highwater
until_true '[ "$(systemctl show highwater -p ActiveState --value)" = failed ]'
show
expect "78 ends it" '[ "$(property ExecMainStatus)" = 78 ] && [ "$(property ActiveState)" = failed ]'

kill "$api"
printf '```\n\n%s failed.\n' "$failures"
