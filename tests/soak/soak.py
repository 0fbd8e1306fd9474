"""An hour in the life of the daemon: many jobs against an API that misbehaves, killed again and again, then compared.

    soak.py BINARY FOLDER [--minutes 60] [--jobs 50] [--seeds 1..1] [--kill-every 20] [--short]

For each seed: writes a project into FOLDER/seed-N, serves an API on a loopback port, runs `BINARY serve` and kills it (mostly -9) at
times that the seed says. A debug build is also killed by its fault switch, at the step of the protocol that was met least so far.
Meanwhile the source inserts, updates, deletes, and lets rows come late, and answers with 429, 500, bodies that are cut and bodies
that are slow. In the end the source stands still, every job runs once more, and DuckDB compares every table with what the source has.
What is known is kept in the folder: the same call again goes on from there.

Exit code 0 if nothing was lost or doubled, and each step met 20 kills, over all seeds; with `--short` fewer will do.
"""

import argparse
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections import Counter

from lake import STEPS, Lake, compare, known, log_of, standing, step
from source import Job, Source, serve, text, write, write_jobs, write_source

# Of tables, each with a sink and a folder of its name.
KINDS = ["parquet", "delta"]
EVERY_S = 10
KILLS_LEAST = 20
# An aimed life that its fault did not end is ended like any other.
AIMED_S = 20
# Where the fault switch of a debug build meets each step: on which side of effects whose names hold this. Tables are called `s` and a number.
AIMS = {
    "read": ("before", "source.fetch"),
    "staging": ("after", "store.finish "),
    "decide": ("after", "state.note_batch"),
    "publish": ("before", "store.publish s"),
    "expose": ("before", "store.put_absent s"),
    "remove": ("before", "store.publish _highwater"),
    "index": ("before", "store.put _highwater"),
    "state": ("after", "store.put _highwater"),
    "after": ("before", "state.finish_run"),
}


def jobs_of(count):
    """One of five appends, one of four goes into a Delta table."""
    return [
        Job(f"s{number}", "append" if number % 5 == 0 else "merge", "delta" if number % 4 == 3 else "parquet", number % 2 == 1)
        for number in range(count)
    ]


def write_project(folder, port, jobs, start):
    write(folder, "config.toml", ["version = 1", "[limits]", 'memory = "128MiB"', "runs = 4"])
    for kind in KINDS:
        write(folder, f"sinks/{kind}.toml", ["version = 1", f'type = "{kind}"', f'url = "{kind}"'])
    write_source(folder, port, jobs)
    write_jobs(folder, jobs, start, [f'schedule = "every {EVERY_S}s"'], [])


def rss_mib(pid):
    try:
        with open(f"/proc/{pid}/status") as file:
            return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmRSS"))
    except (OSError, StopIteration):
        return 0.0


class Daemon:
    def __init__(self, binary, folder):
        self.binary, self.folder, self.process = binary, folder, None

    def start(self, fault=None):
        environment = {**os.environ, "HIGHWATER_FAULT": fault} if fault else None
        with open(os.path.join(self.folder, "serve.log"), "ab") as log:
            command = [self.binary, "-C", self.folder, "serve"]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment)

    def has_faults(self):
        """Whether this is a debug build: others know no faults."""
        told = subprocess.run([self.binary, "-C", self.folder, "doctor"], capture_output=True, text=True)
        return "a debug build" in told.stdout

    def stop(self, how):
        self.process.send_signal(how)
        self.process.wait(timeout=120)


def lakes_of(folder, jobs):
    return {job.name: Lake(os.path.abspath(os.path.join(folder, job.sink)), job.sink) for job in jobs}


class Steps:
    """At which steps the runs stood that a kill met."""

    def __init__(self, folder, jobs):
        self.lakes, self.state = lakes_of(folder, jobs), os.path.join(folder, "state", "highwater.db")

    def look(self):
        found = known(self.state, list(self.lakes))
        return {name: standing(lake, name, found[name]) for name, lake in self.lakes.items()}

    def met(self, before):
        """Of the runs under way: each table's step. `before` is of when the daemon was started."""
        now = self.look()
        at_work = [name for name in self.lakes if now[name].known.runs - before[name].known.runs]
        return Counter(step(self.lakes[name], name, before[name], now[name]) for name in at_work)


def moment(dice, kill_every):
    """When to kill next: at any time, or, as often, right after jobs are due, which is when something runs."""
    at = time.time() + dice.uniform(0.5, 1.5) * kill_every
    return at if dice.random() < 0.5 else at - at % EVERY_S + EVERY_S + dice.uniform(0, 1.5)


def aim(dice, book):
    """A fault at the step that was met least so far."""
    side, part = AIMS[min(AIMS, key=lambda name: (book["steps"][name], dice.random()))]
    return f"kill-{side}:{dice.randint(1, 4)}@{part}"


def live(source, daemon, steps, arguments, book):
    """Until the time is over: changes, kills, and a look at the memory."""
    dice = random.Random(source.seed * 1000 + book["kills"])
    has_faults = daemon.has_faults()
    daemon.start()
    next_kill, aimed = moment(dice, arguments.kill_every), 0
    next_look, before = 0.0, steps.look()
    while book["seconds"] < arguments.minutes * 60:
        source.change()
        time.sleep(max(0, min(1, next_kill - time.time())))
        book["seconds"] += 1
        if time.time() >= next_look:
            book["rss"].append((book["seconds"], round(rss_mib(daemon.process.pid), 1)))
            next_look = time.time() + 15
            save(daemon.folder, source, book)
        ended = daemon.process.poll()
        if ended is not None and not (aimed and ended == -signal.SIGKILL):
            raise SystemExit(f"the daemon ended by itself with {ended}: see {daemon.folder}/serve.log")
        if ended is None and time.time() < next_kill:
            continue
        how = signal.SIGKILL if ended is not None or dice.random() < 0.8 else signal.SIGTERM
        if ended is None:
            daemon.stop(how)
        if how == signal.SIGKILL:
            book["steps"].update(steps.met(before))
        book["kills"] += 1
        name = "fault switch" if ended is not None else how.name
        book["killed"][name] = book["killed"].get(name, 0) + 1
        before = steps.look()
        # After a life that a signal ended, some that the fault switch ends: the more the fewer kills a step has met.
        few = sum(book["steps"][name] < KILLS_LEAST for name in AIMS)
        aimed = aimed - 1 if aimed else dice.randint(2, 4 + few) if has_faults else 0
        daemon.start(aim(dice, book) if aimed else None)
        next_kill = time.time() + AIMED_S if aimed else moment(dice, arguments.kill_every)
    daemon.stop(signal.SIGTERM)


def save(folder, source, book):
    known = {"streams": source.streams, "versions": source.versions, "book": book}
    with open(os.path.join(folder, "known.tmp"), "wb") as file:
        with source.lock:
            pickle.dump(known, file)
    os.replace(os.path.join(folder, "known.tmp"), os.path.join(folder, "known.pickle"))


def soak(arguments, seed):
    """One seed: the steps that kills met, and whether all is right."""
    folder = os.path.join(arguments.folder, f"seed-{seed}")
    os.makedirs(folder, exist_ok=True)
    jobs = jobs_of(arguments.jobs)
    source = Source(jobs, seed)
    source.seed = seed
    book = {"seconds": 0, "kills": 0, "killed": {}, "steps": Counter(), "rss": [], "start": text(int((time.time() - 60) * 1_000_000))}
    kept_in = os.path.join(folder, "known.pickle")
    if os.path.exists(kept_in):
        with open(kept_in, "rb") as file:
            kept = pickle.load(file)
        source.streams, source.versions, book = kept["streams"], kept["versions"], kept["book"]
    server = serve(source, random.Random(seed + 7))
    write_project(folder, server.server_port, jobs, book["start"])
    print(f"seed {seed}: {arguments.jobs} jobs, {arguments.minutes} minutes, killed about every {arguments.kill_every} s", flush=True)
    daemon = Daemon(arguments.binary, folder)
    try:
        live(source, daemon, Steps(folder, jobs), arguments, book)
        save(folder, source, book)
        time.sleep(5)
        for _ in range(5):
            done = subprocess.run([arguments.binary, "-C", folder, "run"], capture_output=True, text=True)
            if done.returncode == 0:
                break
        else:
            print(done.stdout[-2000:], done.stderr[-2000:])
            raise SystemExit("the last runs do not succeed")
        verified = subprocess.run([arguments.binary, "-C", folder, "verify"], capture_output=True, text=True)
        lakes = lakes_of(folder, jobs)
        tables = [lake.rows(name) for name, lake in lakes.items()]
        commits = sum(len(lake.names(log_of(name))) for name, lake in lakes.items())
    finally:
        if daemon.process and daemon.process.poll() is None:
            daemon.process.kill()
        server.shutdown()
    bad = sum((compare(source, number, rows) for number, rows in enumerate(tables)), Counter())
    memory = [mib for (_, mib) in book["rss"] if mib]
    third = max(1, len(memory) // 3)
    print(f"kills       {book['kills']} {book['killed']}")
    print(f"runs met    {met(book['steps'])}")
    print(f"answers     {source.answers}, of which faulty {source.faults}; late rows {source.late}, deletes {source.deletes}")
    print(f"records     {sum(len(stream) for stream in source.streams)} in the source, {sum(map(len, tables))} rows in {arguments.jobs} tables")
    print(f"commits     {commits}")
    print(f"memory MiB  first third {sum(memory[:third]) / third:.0f}, last third {sum(memory[-third:]) / third:.0f}, peak {max(memory):.0f}")
    print(f"verify      {'ok' if verified.returncode == 0 else verified.stdout[-1500:] + verified.stderr[-500:]}")
    print(f"lost {bad['lost']}, doubled {bad['doubled']}, otherwise wrong {bad['wrong']}", flush=True)
    return book["steps"], not bad and verified.returncode == 0


def met(steps):
    return f"{sum(steps.values())} by kill -9: " + ", ".join(f"{name} {steps[name]}" for name in STEPS if steps[name])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("folder")
    parser.add_argument("--minutes", type=float, default=60, help="of each seed")
    parser.add_argument("--jobs", type=int, default=50)
    parser.add_argument("--seeds", default="1..1")
    parser.add_argument("--kill-every", type=float, default=20)
    parser.add_argument("--short", action="store_true", help=f"steps that met fewer than {KILLS_LEAST} kills are no failure")
    arguments = parser.parse_args()
    first, _, last = arguments.seeds.partition("..")
    steps, all_right = Counter(), True
    for seed in range(int(first), int(last or first) + 1):
        found, is_right = soak(arguments, seed)
        steps.update(found)
        all_right = all_right and is_right
    print(f"seeds {arguments.seeds}: runs met {met(steps)}")
    few = [name for name in AIMS if steps[name] < KILLS_LEAST]
    if few:
        meant = ", as is meant" if arguments.short else "; go on with more `--minutes` or seeds, or say `--short`"
        print(f"fewer than {KILLS_LEAST} kills at: {', '.join(few)}{meant}")
    return 0 if all_right and (arguments.short or not few) else 1


if __name__ == "__main__":
    sys.exit(main())
