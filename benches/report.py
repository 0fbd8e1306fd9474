"""The tables of docs/performance.md, from what load.py measured: medians, and those of the ratios of each turn to DuckDB with two threads."""

import json
import os
import statistics
import subprocess

BEGIN, END = "<!-- figures: written by `just bench` -->", "<!-- end of figures -->"
DISTURBED = 0.25
NAMES = {
    "ours": "**highwater**",
    "duckdb1": "DuckDB 1.5.5 httpfs, 1 thread",
    "duckdb2": "DuckDB 1.5.5 httpfs, 2 threads",
    "dlt": "dlt 1.31.0, tuned",
    "airbyte": "airbyte-cdk 7.39.1 (JSON lines)",
    "curl1": "curl, download only",
    "curl4": "curl, 4 side by side, download only",
}
TITLES = {
    "pages-1000": "{rows:,} records, pages of 1,000",
    "pages-100": "{rows:,} records, pages of 100",
    "month": "{rows:,} records, pages of 1,000, partitioned by `month(created_at)`",
    "partitions": "{rows:,} records, pages of 1,000, in 1,440 partitions, rows of all of them in turn",
    "small": "{rows:,} records, pages of 1,000, start-up included",
    "latency": "{rows:,} records, pages of 1,000, each answer 50 ms late",
    "latency-long": "{rows:,} records, pages of 1,000, each answer 50 ms late",
    "large": "{rows:,} records, pages of 1,000",
    "large-month": "{rows:,} records, pages of 1,000, partitioned by `month(created_at)`",
}


def read(path):
    if not os.path.exists(path):
        return []
    with open(path) as file:
        return [json.loads(line) for line in file]


def undisturbed(entries):
    """Without the runs beside which something else took more than a quarter of a core, unless all are so."""
    return [entry for entry in entries if entry.get("others", 0) <= DISTURBED] or entries


def middle(entries, key):
    return statistics.median(entry[key] for entry in entries)


def ratio(ones, others, key):
    """The median of what each of `ones` took by what the one of `others` did that was measured next to it: a machine's speed swings, and
    less so within a turn."""
    if not others:
        return None
    pairs = [(one, min(others, key=lambda other: abs(other["at"] - one["at"]))) for one in ones]
    turns = [one[key] / other[key] for one, other in pairs if other[key]]
    return statistics.median(turns) if turns else None


def loads(entries):
    lines = []
    for case, title in TITLES.items():
        tools = {tool: [entry for entry in entries if (entry["case"], entry["tool"]) == (case, tool)] for tool in NAMES}
        tools = {tool: found for tool, found in tools.items() if found}
        if not tools:
            continue
        lines += ["", f"### {title.format(rows=next(iter(tools.values()))[0]['rows'])}", ""]
        lines += ["| tool | runs | wall s | CPU us a row | peak RSS MB | wall / DuckDB's | DuckDB's CPU / its | others' CPU, cores |", "|---|--:|--:|--:|--:|--:|--:|--:|"]
        base = undisturbed([entry for entry in tools.get("duckdb2", []) if entry["ok"]])
        for tool, found in tools.items():
            good = undisturbed([entry for entry in found if entry["ok"]])
            if not good:
                lines.append(f"| {NAMES[tool]} | 0 of {len(found)} | failed | | | | | |")
                continue
            wall, cpu = middle(good, "wall"), middle(good, "cpu")
            ratios = " | ".join("" if found is None else f"{found:.2f}" for found in (ratio(good, base, "wall"), ratio(base, good, "cpu")))
            runs = str(len(good)) if len(good) == len(found) else f"{len(good)} of {len(found)}"
            lines.append(
                f"| {NAMES[tool]} | {runs} | {wall:.2f} | {cpu / good[0]['rows'] * 1e6:.2f} | {middle(good, 'rss_mb'):.0f} | {ratios} | {middle(good, 'others'):.2f} |"
            )
    return lines


def others(entries):
    def of(case, table=None):
        return undisturbed([entry for entry in entries if entry["case"] == case and entry["ok"] and entry.get("table") == table])

    tables = sorted({entry["table"] for entry in entries if "table" in entry})
    changes = ["", "### On a table that is there", "", "| what | runs | wall ms | over the request ms | CPU ms | peak RSS MB |", "|---|--:|--:|--:|--:|--:|"]
    for mode, table in [(mode, table) for mode in ("append", "merge") for table in tables]:
        if found := of(f"noop-{mode}", table):
            over = statistics.median(entry["wall"] - entry["request"] for entry in found)
            changes.append(
                f"| nothing to do, {mode}, {table:,} rows | {len(found)} | {middle(found, 'wall') * 1e3:.0f} | {over * 1e3:.0f} "
                f"| {middle(found, 'cpu') * 1e3:.0f} | {middle(found, 'rss_mb'):.0f} |"
            )
    for mode, table in [(mode, table) for mode in ("append", "merge") for table in tables]:
        if found := of(f"delta-{mode}", table):
            changes.append(
                f"| {found[0]['rows']:,} records more, {mode}, {table:,} rows | {len(found)} | {middle(found, 'wall') * 1e3:.0f} | "
                f"| {middle(found, 'cpu') * 1e3:.0f} | {middle(found, 'rss_mb'):.0f} |"
            )
    many = ["", "### Many jobs", "", "| what | runs | wall s | CPU | peak RSS MB |", "|---|--:|--:|--:|--:|"]
    if found := of("jobs"):
        count = found[0]["rows"]
        many.append(f"| `run` of 100 jobs, {count:,} records in all | {len(found)} | {middle(found, 'wall'):.2f} | {middle(found, 'cpu') / count * 1e6:.2f} us a row | {middle(found, 'rss_mb'):.0f} |")
    for case in ("idle-5", "idle-10000"):
        if found := of(case):
            many.append(
                f"| idle daemon of {found[0]['jobs']:,} jobs: start to ready, share of a core when idle | {len(found)} | {middle(found, 'wall'):.2f} "
                f"| {middle(found, 'idle_share') * 100:.2f} % | {middle(found, 'rss_mb'):.0f} (when idle) |"
            )
    return (changes if len(changes) > 5 else []) + (many if len(many) > 5 else [])


def aims(entries):
    """What is aimed at, and what was measured."""

    def good(case, tool):
        return undisturbed([entry for entry in entries if (entry["case"], entry["tool"]) == (case, tool) and entry["ok"]])

    def of(case, tool, key):
        found = good(case, tool)
        return middle(found, key) if found else None

    def by(case, above, below, key):
        return ratio(good(case, above), good(case, below), key)

    over = [(entry["wall"] - entry["request"]) * 1e3 for entry in entries if entry["case"].startswith("noop") and entry["ok"]]
    share = of("idle-10000", "ours", "idle_share")
    rows = [
        ("DuckDB's CPU / ours, pages of 1,000", ">=", 1.5, by("pages-1000", "duckdb2", "ours", "cpu")),
        ("DuckDB's CPU / ours, pages of 100", ">=", 1.5, by("pages-100", "duckdb2", "ours", "cpu")),
        ("dlt's CPU / ours, a tenth of the records", ">=", 15, by("small", "dlt", "ours", "cpu")),
        ("airbyte-cdk's CPU / ours, a tenth of the records", ">=", 13, by("small", "airbyte", "ours", "cpu")),
        ("our wall / DuckDB's, pages of 1,000", "<=", 0.667, by("pages-1000", "ours", "duckdb2", "wall")),
        ("our wall / DuckDB's, pages of 100", "<=", 0.667, by("pages-100", "ours", "duckdb2", "wall")),
        ("our wall / that of four curls, 50 ms late, a tenth of the records", "<=", 1.1, by("latency", "ours", "curl4", "wall")),
        ("our wall / that of four curls, 50 ms late", "<=", 1.1, by("latency-long", "ours", "curl4", "wall")),
        ("peak RSS MB, plain", "<=", 120, of("pages-1000", "ours", "rss_mb")),
        ("peak RSS MB, partitioned by month", "<=", 120, of("month", "ours", "rss_mb")),
        ("peak RSS MB, 1,440 open partitions", "<=", 120, of("partitions", "ours", "rss_mb")),
        ("peak RSS MB, ten times the rows", "<=", 120, of("large", "ours", "rss_mb")),
        ("peak RSS MB, ten times the rows, by month", "<=", 120, of("large-month", "ours", "rss_mb")),
        ("nothing to do: ms over the request, the slowest", "<=", 50, max(over, default=None)),
        ("5 idle jobs: RSS MB", "<=", 40, of("idle-5", "ours", "rss_mb")),
        ("10,000 idle jobs: RSS MB", "<=", 150, of("idle-10000", "ours", "rss_mb")),
        ("10,000 idle jobs: start, s", "<=", 1, of("idle-10000", "ours", "wall")),
        ("10,000 idle jobs: % of a core", "<=", 1, None if share is None else share * 100),
    ]
    lines = ["", "### Aims", "", "| what | aim | measured | |", "|---|--:|--:|---|"]
    for what, side, aim, found in rows:
        if found is not None:
            met = found >= aim if side == ">=" else found <= aim
            lines.append(f"| {what} | {side} {aim} | {found:.3g} | {'met' if met else '**missed**'} |")
    return lines if len(lines) > 5 else []


def machine(binary):
    with open("/proc/cpuinfo") as file:
        model = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), "unknown CPU")
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    version = subprocess.run([binary, "--version"], capture_output=True, text=True).stdout.strip()
    return ["", f"{version}; {model}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux {os.uname().release}."]


def write(page, entries, binary):
    text = f"# Performance\n\n{BEGIN}\n{END}\n"
    if os.path.exists(page):
        with open(page) as file:
            text = file.read()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    body = "\n".join(machine(binary) + aims(entries) + loads(entries) + others(entries))
    with open(page, "w") as file:
        file.write(f"{before}{BEGIN}\n{body}\n\n{END}{after}")
