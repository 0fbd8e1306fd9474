"""How well a quota is used and kept, judged by the API's own log.

    quota.py BINARY FOLDER [--seconds 60] [--only NAME,...] [--latency 0.05]

Runs jobs that share one credential against an API on a loopback port that counts every arrival within sliding windows, and refuses
what is too much. Prints a line for each case and exits with 1 if one of them misses its aim:

    declared   100/s declared: at least 95 a second, no refusal, Jain's fairness over 8 jobs at least 0.9
    told       the same limit told by RateLimit headers (IETF draft 11) alone
    x_headers  the same limit told by X-RateLimit-Limit, -Remaining and -Reset alone
    hidden     the same limit, of which only refusals tell: after the first stretch, at most 1 % refusals
    two        100/s and 1500/min at once: at least 95 % of what both allow, no refusal
    bucket     a bucket of 40 that leaks 2 a second and tells its level: no refusal, at least 95 %
    restart    600/min, and the process is killed and started again three times: no minute holds more
    herd       1,000 jobs that were all told to wait leave spread
    forecast   `plan --probe` says how many requests a run takes, and within 10 % how long
    shared     100/s for 8 processes with one state in a Postgres of their own: never more than 100 in a second, at least 95 % used
"""

import argparse
import asyncio
import collections
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

JOBS = 8


class Api:
    """Counts arrivals. `windows` are (limit, seconds); `tell(api, now, left, reset)` gives headers."""

    def __init__(self, windows=(), tell=None, bucket=None, latency=0.05, patience=None, closed_until=0.0):
        self.windows, self.tell, self.bucket = list(windows), tell, bucket
        self.latency, self.patience, self.closed_until = latency, patience, closed_until
        self.inside = [collections.deque() for _ in self.windows]
        self.level, self.level_at = 0.0, 0.0
        self.pages = 1
        self.log = []  # (moment, job, taken)

    def arrive(self, job, now):
        taken, left, reset = True, 0, 0.0
        for (limit, per), inside in zip(self.windows, self.inside):
            while inside and now - inside[0] > per:
                inside.popleft()
            taken = taken and len(inside) < limit
        if self.bucket:
            size, leak = self.bucket
            self.level = max(0.0, self.level - leak * (now - self.level_at))
            self.level_at = now
            taken = self.level + 1 <= size
            self.level += 1 if taken else 0
        if now < self.closed_until:
            taken = False
        if taken:
            for inside in self.inside:
                inside.append(now)
        if self.windows:
            (limit, per), inside = self.windows[0], self.inside[0]
            left = limit - len(inside)
            reset = (inside[0] + per - now) if inside else 0.0
        self.log.append((now, job, taken))
        headers = self.tell(self, now, left, reset) if self.tell else {}
        if not taken and self.patience is not None:
            headers["Retry-After"] = str(self.patience)
        return taken, headers

    async def serve(self, reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ", 2)[1].decode()
                job, _, query = path.lstrip("/").partition("?")
                taken, headers = self.arrive(job, time.monotonic())
                await asyncio.sleep(self.latency)
                page = int(dict(part.split("=") for part in query.split("&") if part).get("page", 1))
                more = not job.startswith("once")
                rows = ",".join(f'{{"id":{page * 10 + row},"text":"row {row} of page {page}"}}' for row in range(10))
                body = f'{{"more":{json.dumps(more)},"pages":{self.pages},"data":[{rows}]}}' if taken else '{"error":"too many"}'
                head = [f"HTTP/1.1 {'200 OK' if taken else '429 Too Many Requests'}", "Content-Type: application/json"]
                head += [f"{name}: {value}" for name, value in headers.items()]
                head += [f"Content-Length: {len(body)}", "", body]
                writer.write("\r\n".join(head).encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def ietf(api, now, left, reset):
    limit, per = api.windows[0]
    return {
        "RateLimit-Policy": f'"default";q={limit};w={int(per)}',
        "RateLimit": f'"default";r={max(left, 0)};t={max(1, -int(-reset // 1))}',
    }


def x_headers(api, now, left, reset):
    limit, _ = api.windows[0]
    return {"X-RateLimit-Limit": limit, "X-RateLimit-Remaining": max(left, 0), "X-RateLimit-Reset": max(1, -int(-reset // 1))}


def shopify(api, now, left, reset):
    return {"X-Shopify-Shop-Api-Call-Limit": f"{int(-(-api.level // 1))}/{api.bucket[0]}"}


def write_project(folder, port, requests, jobs, runs, end='more = "more"'):
    shutil.rmtree(folder, ignore_errors=True)
    limits = f"[limits]\nrequests = {json.dumps(requests)}\n" if requests else ""
    names = [f"job{number}" for number in range(JOBS)] if jobs is None else jobs
    streams = "".join(
        f'[streams.{name}]\npath = "/{name}"\nrecords = "data"\nprimary_key = ["id"]\n'
        f'paging = {{ type = "page", param = "page", {end}, pages_max = 1000000 }}\n'
        for name in names
    )
    files = {
        "config.toml": f"version = 1\n[limits]\nruns = {runs}\n",
        "sinks/lake.toml": 'version = 1\ntype = "parquet"\nurl = "lake"\n',
        "sources/api.toml": f'version = 1\ntype = "http"\nbase_url = "http://127.0.0.1:{port}"\n{limits}{streams}',
    }
    for name in names:
        files[f"jobs/{name}.toml"] = f'version = 1\nsource = "api"\nstream = "{name}"\nsink = "lake"\nmode = "replace"\n'
    for path, text in files.items():
        path = os.path.join(folder, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)


def start(arguments, folder, command=("run",), **environment):
    with open(os.path.join(folder, "log.txt"), "a") as log:
        call = [arguments.binary, "-C", folder, *command]
        return subprocess.Popen(call, stdout=log, stderr=log, env={**os.environ, **environment})


def end(child):
    for _ in range(2):
        child.send_signal(signal.SIGTERM)
        time.sleep(0.3)
    try:
        child.wait(20)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


class Postgres:
    """A server in a folder of its own, which the account `postgres` runs where we are root."""

    def __init__(self):
        found = glob.glob("/usr/lib/postgresql/*/bin") + glob.glob("/usr/pgsql-*/bin")
        self.tools = max(found, key=lambda path: [int(part) for part in re.findall(r"[0-9]+", path)])
        self.data = tempfile.mkdtemp(prefix="highwater-postgres-")
        if os.getuid() == 0:
            shutil.chown(self.data, "postgres", "postgres")
        self.call("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8")
        options = f"-c listen_addresses= -c unix_socket_directories={self.data}"
        self.call("pg_ctl", "-D", self.data, "-w", "-l", os.path.join(self.data, "log"), "-o", options, "start")
        self.url = f"postgres://postgres@localhost/postgres?host={self.data}"

    def call(self, tool, *arguments):
        user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
        tool = os.path.join(self.tools, tool)
        subprocess.run([tool, *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **user)

    def end(self):
        self.call("pg_ctl", "-D", self.data, "-m", "immediate", "stop")
        shutil.rmtree(self.data, ignore_errors=True)


async def case(arguments, name, api, requests=None, jobs=None, runs=JOBS, seconds=None, kills=0):
    folder = os.path.join(arguments.folder, name)
    server = await asyncio.start_server(api.serve, "127.0.0.1", 0, backlog=2048)
    write_project(folder, server.sockets[0].getsockname()[1], requests, jobs, runs)
    seconds = seconds or arguments.seconds
    child = start(arguments, folder)
    for _ in range(kills):
        await asyncio.sleep(seconds / (kills + 1))
        child.kill()
        await asyncio.to_thread(child.wait)
        child = start(arguments, folder)
    deadline = time.monotonic() + seconds / (kills + 1)
    while time.monotonic() < deadline and child.poll() is None:
        await asyncio.sleep(0.1)
    if child.poll() is None:
        await asyncio.to_thread(end, child)
    server.close()


def figures(api, since=0.0, until=float("inf")):
    log = [entry for entry in api.log if since <= entry[0] <= until]
    taken = [entry for entry in log if entry[2]]
    counts = collections.Counter(job for _, job, _ in taken)
    shares = list(counts.values()) or [0]
    fairness = sum(shares) ** 2 / (len(shares) * sum(share**2 for share in shares) or 1)
    length = (log[-1][0] - log[0][0]) if len(log) > 1 else 1.0
    return len(taken), len(log) - len(taken), length, fairness


def most_within(api, per):
    inside, most = collections.deque(), 0
    for moment, _, _ in api.log:
        inside.append(moment)
        while moment - inside[0] > per:
            inside.popleft()
        most = max(most, len(inside))
    return most


def report(name, aim, ok, **values):
    shown = "  ".join(f"{key} {value:.3f}" if isinstance(value, float) else f"{key} {value}" for key, value in values.items())
    print(f"{'ok  ' if ok else 'MISS'} {name:10} {shown}   (aim: {aim})", flush=True)
    return ok


def hundred(tell=None, **more):
    return Api([(100, 1.0)], tell, **more)


async def declared(arguments, name="declared", tell=None, requests=("100/s",)):
    api = hundred(tell, latency=arguments.latency)
    await case(arguments, name, api, list(requests))
    first = api.log[0][0]
    taken, refused, length, fairness = figures(api, first, first + arguments.seconds)
    ok = taken / length >= 95 and refused == 0 and fairness >= 0.9
    return report(name, ">= 95/s, 0 refused, fairness >= 0.9", ok, a_second=taken / length, refused=refused, fairness=fairness)


async def hidden(arguments):
    api = hundred(latency=arguments.latency)
    await case(arguments, "hidden", api, seconds=arguments.seconds * 2)
    middle = api.log[0][0] + arguments.seconds
    taken, refused, length, _ = figures(api, middle)
    found = figures(api, 0.0, middle)
    share = refused / max(1, refused + taken)
    ok = share <= 0.01 and taken / length >= 70
    return report("hidden", "<= 1 % refused once found", ok, a_second=taken / length, refused_share=share, refused_before=found[1])


async def two(arguments):
    api = Api([(100, 1.0), (1500, 60.0)], latency=arguments.latency)
    seconds = max(arguments.seconds, 60) * 2
    await case(arguments, "two", api, ["100/s", "1500/min"], seconds=seconds)
    taken, refused, _, fairness = figures(api)
    share = taken / (1500 * seconds / 60)
    return report("two", ">= 95 %, 0 refused", share >= 0.95 and refused == 0, share=share, refused=refused, fairness=fairness)


async def bucket(arguments):
    api = Api((), shopify, bucket=(40, 2.0), latency=arguments.latency)
    await case(arguments, "bucket", api)
    taken, refused, length, fairness = figures(api)
    share = taken / (40 + 2 * length)
    return report("bucket", ">= 95 %, 0 refused", share >= 0.95 and refused == 0, share=share, refused=refused, fairness=fairness)


async def restart(arguments):
    api = Api([(600, 60.0)], latency=arguments.latency)
    await case(arguments, "restart", api, ["600/min"], seconds=max(arguments.seconds, 60) * 2, kills=3)
    taken, refused, length, _ = figures(api)
    most = most_within(api, 60.0)
    return report("restart", "<= 600 in any minute", most <= 600 and refused == 0, most=most, refused=refused, share=taken / (10 * length))


async def herd(arguments):
    api = Api((), latency=arguments.latency, patience=4, closed_until=time.monotonic() + 6)
    jobs = [f"once{number}" for number in range(1000)]
    await case(arguments, "herd", api, jobs=jobs, runs=1000, seconds=90)
    taken = [moment for moment, _, ok in api.log if ok]
    first = taken[0]
    tenth = max(sum(1 for moment in taken if begin <= moment < begin + 0.1) for begin in taken)
    return report("herd", "no tenth of a second holds a fifth", tenth <= 200 and len(taken) >= 1000, taken=len(taken), most_in_100_ms=tenth,
                  spread_s=taken[-1] - first)


async def forecast(arguments):
    results = []
    for requests, pages in ((["20/s"], 600), (["300/min"], 450), (["1000/s"], 400)):
        api = Api((), latency=arguments.latency)
        api.pages = pages
        folder = os.path.join(arguments.folder, "forecast")
        server = await asyncio.start_server(api.serve, "127.0.0.1", 0)
        write_project(folder, server.sockets[0].getsockname()[1], requests, ["total"], 1, 'total_pages = "pages"')
        call = [arguments.binary, "-C", folder, "--json"]
        plan = await asyncio.to_thread(subprocess.run, [*call, "plan", "total", "--probe"], capture_output=True, check=True)
        said = json.loads(plan.stdout)[0]["forecast"]
        await asyncio.sleep(1.5)
        asked, began = len(api.log), time.monotonic()
        await asyncio.to_thread(subprocess.run, [*call, "run", "total"], capture_output=True, check=True)
        took = api.log[-1][0] + arguments.latency - api.log[asked][0]
        ok = said["requests"] == len(api.log) - asked and abs(said["seconds"] / took - 1) <= 0.1
        results.append(report("forecast", "exact, within 10 %", ok, limit=requests[0], requests=said["requests"],
                              sent=len(api.log) - asked, said_s=said["seconds"], took_s=took, with_start_s=time.monotonic() - began))
        server.close()
    return all(results)


async def sharing(arguments, name, api, requests, seconds):
    """8 processes with one state, each with work of its own."""
    server = await asyncio.start_server(api.serve, "127.0.0.1", 0, backlog=2048)
    postgres = await asyncio.to_thread(Postgres)

    async def one(number):
        folder = os.path.join(arguments.folder, name, str(number))
        jobs = [f"job{number}of{job}" for job in range(4)]
        write_project(folder, server.sockets[0].getsockname()[1], requests, jobs, len(jobs))
        with open(os.path.join(folder, "config.toml"), "a") as file:
            file.write('[state]\nurl = { env = "STATE_URL" }\n')
        child = start(arguments, folder, STATE_URL=postgres.url)
        await asyncio.sleep(seconds)
        working = child.poll() is None
        await asyncio.to_thread(end, child)
        return working

    try:
        working = await asyncio.gather(*[one(number) for number in range(8)])
        assert all(working), "a process ended by itself, see its log.txt"
    finally:
        await asyncio.to_thread(postgres.end)
    server.close()


def used(api, since, until, rate):
    return sum(1 for moment, _, taken in api.log if taken and since <= moment < until) / (rate * (until - since))


async def shared(arguments):
    rate = arguments.rate
    api = Api([(rate, 1.0)], latency=arguments.latency)
    await sharing(arguments, "shared", api, [f"{rate}/s"], arguments.seconds + 12)
    began = api.log[0][0] + 8
    share, most, refused = used(api, began, began + arguments.seconds, rate), most_within(api, 1.0), figures(api)[1]
    names = collections.Counter(job.split("of")[0] for moment, job, _ in api.log if moment >= began)
    ok = share >= 0.95 and most <= rate and refused == 0
    return report("shared", ">= 95 %, never above", ok, share=share, most=most, refused=refused, least=min(names.values()),
                  largest=max(names.values()), processes=len(names))


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("folder")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--latency", type=float, default=0.05)
    parser.add_argument("--rate", type=int, default=100, help="requests a second of `shared`")
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    cases = {
        "declared": declared,
        "told": lambda it: declared(it, "told", ietf, ()),
        "x_headers": lambda it: declared(it, "x_headers", x_headers, ()),
        "hidden": hidden,
        "two": two,
        "bucket": bucket,
        "restart": restart,
        "herd": herd,
        "forecast": forecast,
        "shared": shared,
    }
    wanted = [name for name in arguments.only.split(",") if name] or list(cases)
    results = [await cases[name](arguments) for name in wanted]
    sys.exit(0 if all(results) else 1)


asyncio.run(main())
