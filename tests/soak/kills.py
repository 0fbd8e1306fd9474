"""Real processes, killed at real moments: `kill -9` at every step of a run, of what tends tables, and in races of two processes.

    kills.py BINARY FOLDER [--seeds 1..28] [--cycles 40] [--races 4] [--tended 4] [--keep] [--mutant GUARD]

Every seed is a world of its own below FOLDER: an API, twelve tables (append, merge and replace; Parquet and Delta; in a folder and on
an S3 server, which is started here), two projects with states of their own on that one lake. In a cycle the source changes, before
and during a run of one job; the process is killed, by a signal at a random time or by the fault switch of a debug build at an effect
of the step that the seed chose; where it died is told from what it left in lake and state. Then the source stands still, the job runs
to its end, and DuckDB, pyarrow or deltalake read the table for a comparison with the source, row by row.

In cycles of other kinds `compact`, `gc` or `state rollback` is killed instead of a run. In a race two processes work on one table: of one
project, where the second is told to come later, or of two projects, one of which is stopped for a while, or killed.

What a seed came to is kept in FOLDER/seed-N.json and not done again by the same call. A world that went wrong stays in FOLDER/seed-N,
its bucket in it. With `--mutant` a debug build works without one of its guards, to see that this is noticed. Exit code 0 if nothing was
lost or doubled and nothing else was wrong. A seed says what the source holds and what is aimed at; where a signal meets a process, the
machine says too.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, field

import pyarrow.fs as pafs

from lake import STEPS, Known, Lake, Standing, compare, has_died_at_work, known, log_of, standing, step
from source import LATE_MAX_S, Job, Source, serve, text, write, write_jobs, write_source

# The source's clock begins here in every world, so that a seed says all of what it holds.
BEGIN = 1_772_323_200
TRIES = 12
PATIENCE_S = 120
# Whether the fault switch knows the effects of a work.
SWITCHED = {"run": True, "rollback": True, "compact": False, "gc": False}
# The effects of each step, by the names that a debug build gives them.
MARKS = {
    "read": r"source\.|state\.(lease|dataset|open_batches)",
    "staging": r"store\.\w+ .*/staging/.*",
    "decide": r"state\.note_batch|store\.put_absent .*/log/",
    "publish": r"store\.publish",
    "expose": r"store\.put_absent .*/_delta_log/",
    "remove": r"store\.delete",
    "index": r"store\.put .*/current\.json",
    "state": r"state\.advance",
    "after": r"state\.(finish_run|release)|store\.put_absent .*/runs/",
}


class Clock:
    """The source's own: it goes on where it is told to."""

    def __init__(self):
        self.at = float(BEGIN)

    def now(self) -> float:
        return self.at

    def advance(self, seconds: float) -> None:
        self.at += seconds


class S3:
    """A moto server of this process."""

    def __init__(self, folder: str):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{port}"
        server = os.path.join(os.path.dirname(sys.executable), "moto_server")
        with open(os.path.join(folder, "moto.log"), "ab") as log:
            self.process = subprocess.Popen([sys.executable, server, "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log)
        deadline = time.time() + 60
        while True:
            try:
                return socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                if time.time() > deadline or self.process.poll() is not None:
                    raise SystemExit(f"the S3 server does not start: see {folder}")
                time.sleep(0.1)

    def make(self, bucket: str) -> None:
        urllib.request.urlopen(urllib.request.Request(f"{self.endpoint}/{bucket}", method="PUT")).close()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@dataclass
class Told:
    """What a seed, or all of them, came to."""

    kills: Counter = field(default_factory=Counter)
    early: int = 0
    races: Counter = field(default_factory=Counter)
    wrong: Counter = field(default_factory=Counter)
    sums: Counter = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict:
        return {"kills": self.kills, "early": self.early, "races": self.races, "wrong": self.wrong, "sums": self.sums, "notes": self.notes}

    def add(self, one: dict) -> None:
        for name in ("kills", "races", "wrong", "sums"):
            getattr(self, name).update(one[name])
        self.early += one["early"]
        self.notes += one["notes"]


@dataclass
class Project:
    """A folder of files and a state; what runs in it."""

    binary: str
    folder: str
    mutant: str

    def start(self, arguments: list[str], fault: str = "") -> subprocess.Popen:
        environment = dict(os.environ, KILLS_S3_KEY="test", KILLS_S3_SECRET="test", HIGHWATER_LOG="highwater=info")
        for name in ("HIGHWATER_FAULT", "HIGHWATER_FAULT_LOG", "HIGHWATER_MUTANT"):
            environment.pop(name, None)
        if self.mutant:
            environment["HIGHWATER_MUTANT"] = self.mutant
        if fault:
            environment.update(HIGHWATER_FAULT=fault, HIGHWATER_FAULT_LOG=os.path.join(self.folder, "effects.txt"))
        with open(os.path.join(self.folder, "run.log"), "ab") as log:
            log.write(f"\n--- {time.time():.3f} {arguments} {fault}\n".encode())
            log.flush()
            command = [self.binary, "-C", self.folder, *arguments]
            return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment)

    def call(self, arguments: list[str], fault: str = "") -> int:
        return ended(self.start(arguments, fault))

    def effects(self) -> list[str]:
        """Of the last call that counted them."""
        try:
            with open(os.path.join(self.folder, "effects.txt")) as file:
                return file.read().splitlines()
        except FileNotFoundError:
            return []

    def state(self) -> str:
        return os.path.join(self.folder, "state", "highwater.db")


def ended(process: subprocess.Popen) -> int:
    try:
        return process.wait(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise SystemExit(f"a process hangs: {process.args}")


def wait_for_stop(process: subprocess.Popen, deadline: float) -> bool:
    """Until the process stands stopped; not, if it ended before."""
    while time.time() < deadline and process.poll() is None:
        with open(f"/proc/{process.pid}/stat") as file:
            if file.read().rsplit(")", 1)[1].split()[0] == "T":
                return True
        time.sleep(0.005)
    return False


def let_go(process: subprocess.Popen) -> int:
    """To its end, also where it stops itself only now."""
    while wait_for_stop(process, time.time() + PATIENCE_S):
        process.send_signal(signal.SIGCONT)
        time.sleep(0.01)
    return ended(process)


class World:
    """All of one seed."""

    def __init__(self, binary: str, mutant: str, folder: str, seed: int, s3: S3):
        self.folder, self.seed, self.s3 = folder, seed, s3
        self.dice, self.clock, self.told = random.Random(seed), Clock(), Told()
        bucket = f"seed-{seed}-{os.getpid()}"
        s3.make(bucket)
        self.sinks = {}
        for kind in ("parquet", "delta"):
            self.sinks[f"{kind}_local"] = Lake(os.path.join(folder, kind), kind)
            self.sinks[f"{kind}_s3"] = Lake(f"{bucket}/{kind}", kind, s3.endpoint)
        names = [(mode, sink) for mode in ("append", "merge", "replace") for sink in self.sinks]
        self.jobs = [Job(f"{mode}_{sink}", mode, sink, self.dice.random() < 0.5) for mode, sink in names]
        self.source = Source(self.jobs, seed + 1, self.clock.now)
        self.moving = False
        self.server = serve(self.source, None, self.before_request)
        self.projects = [Project(binary, os.path.join(folder, name), mutant) for name in ("first", "second")]
        self.effects: dict[tuple[str, str], list[str]] = {}
        self.lengths: dict[tuple[str, str], float] = {}
        for project in self.projects:
            self.write_project(project.folder)

    def before_request(self, number: int) -> None:
        """Time goes by while a run reads, and the source changes."""
        if self.moving:
            self.clock.advance(0.4)
            with self.source.lock:
                self.source.change_one(number)

    def write_project(self, folder: str) -> None:
        write(folder, "config.toml", ["version = 1", "[limits]", 'memory = "64MiB"'])
        for name, lake in self.sinks.items():
            lines = ["version = 1", f'type = "{lake.kind}"', f'url = "{"s3://" if lake.endpoint else ""}{lake.root}"', 'gc_min_age = "1h"']
            if lake.endpoint:
                lines += ["[storage]", 'region = "us-east-1"', f'endpoint = "{lake.endpoint}"', "allow_http = true"]
                lines += ['access_key_id = { env = "KILLS_S3_KEY" }', 'secret_access_key = { env = "KILLS_S3_SECRET" }']
            write(folder, f"sinks/{name}.toml", lines)
        write_source(folder, self.server.server_port, self.jobs)
        write_jobs(folder, self.jobs, text((BEGIN - 60) * 1_000_000), [], ['step = "90s"'])

    # What happens to the source.

    def move(self, number: int) -> None:
        """The source of this table grows and changes over some time."""
        for _ in range(self.dice.randrange(4, 16)):
            self.clock.advance(self.dice.uniform(0.2, 3))
            with self.source.lock:
                self.source.change_one(number)

    def rest(self) -> None:
        """Nothing changes any more, and all of it is old enough to be read."""
        self.moving = False
        self.clock.advance(LATE_MAX_S / 8)

    # What is known of a table.

    def look(self, project: Project, job: Job) -> Standing:
        return standing(self.sinks[job.sink], job.name, known(project.state(), [job.name]).get(job.name, Known()))

    def settle(self, project: Project, job: Job) -> None:
        """The job's next run must end well, whatever was left; what it did is known afterwards."""
        begin, code = time.time(), -1
        for _ in range(3):
            code = project.call(["run", job.name], "count")
            if code != 75:
                break
            time.sleep(0.2)
        if code != 0:
            self.wrong("failed", job, f"the run after ended with {code}")
        self.learn(project, "run", job)
        self.lengths[("run", job.sink)] = time.time() - begin

    def learn(self, project: Project, work: str, job: Job) -> None:
        """The effects of a process that ended; of one that decided something, if there was one."""
        effects = project.effects()
        if any(re.match(MARKS["state"], effect) for effect in effects) or (work, job.name) not in self.effects:
            self.effects[(work, job.name)] = self.effects[(work, job.sink)] = effects

    def compare(self, job: Job, after: str) -> None:
        number = self.jobs.index(job)
        rows = self.sinks[job.sink].rows(job.name)
        self.told.sums["compared"] += 1
        self.told.sums["rows_compared"] += len(rows)
        for what, count in compare(self.source, number, rows).items():
            self.wrong(what, job, f"{count} rows after {after}", count)

    def wrong(self, what: str, job: Job, text: str, count: int = 1) -> None:
        self.told.wrong[what] += count
        note = f"seed {self.seed}, {job.name}: {what}: {text}"
        self.told.notes.append(note)
        print(note, flush=True)

    # Cycles.

    def place(self, work: str, job: Job) -> int:
        """The number of an effect, of every step as likely: as it was in the last process of that kind."""
        log = self.effects.get((work, job.name)) or self.effects.get((work, job.sink), [])
        places = [[at for at, effect in enumerate(log, 1) if re.match(mark, effect)] for mark in MARKS.values()]
        steps = [found for found in places if found]
        return self.dice.choice(self.dice.choice(steps)) if steps else self.dice.randrange(1, 60)

    def killed(self, project: Project, arguments: list[str], work: str, job: Job, seq: int) -> tuple[bool, str]:
        """Starts a process and kills it, and says how; not, if it ended before."""
        lake, throw = self.sinks[job.sink], self.dice.random()
        if SWITCHED[work] and (throw < 0.5 or (lake.endpoint and throw < 0.7)):
            side = "before" if self.dice.random() < 0.7 else "after"
            code = project.call(arguments, f"kill-{side}:{self.place(work, job)}")
            if code == 0:
                self.learn(project, work, job)
            return code == -signal.SIGKILL, "switch"
        begin = time.time()
        process = project.start(arguments)
        if work == "gc" or throw < (0.65 if SWITCHED[work] else 0.3):
            time.sleep(self.dice.uniform(0, self.lengths.get((work, job.sink), 0.3)))
        else:
            self.watch(process, lake, f"{log_of(job.name)}/{seq + 1:020}.json")
        if process.poll() is not None:
            self.lengths[(work, job.sink)] = time.time() - begin
        process.send_signal(signal.SIGKILL)
        return ended(process) == -signal.SIGKILL, "signal"

    def watch(self, process: subprocess.Popen, lake: Lake, record: str) -> None:
        """Until a moment after the record is there."""
        deadline = time.time() + PATIENCE_S
        while not lake.has(record) and process.poll() is None and time.time() < deadline:
            time.sleep(0.0002)
        time.sleep(self.dice.uniform(0, 0.2 if lake.endpoint else 0.03))

    def cycle(self, work: str) -> None:
        """One kill of a process at work, and what follows; tried until a process died at work."""
        project = self.projects[0]
        for _ in range(TRIES):
            job = self.dice.choice(self.jobs)
            while work == "rollback" and self.sinks[job.sink].kind == "delta":
                job = self.dice.choice(self.jobs)
            number = self.jobs.index(job)
            if work == "compact":
                # Something to do for it: files that are small, as the last commit's are.
                self.move(number)
                self.rest()
                self.settle(project, job)
            if work == "gc":
                self.age_orphans(job)
            before = self.look(project, job)
            arguments = [work, job.name]
            if work == "rollback":
                arguments = ["state", "rollback", job.name, "--to", str(max(1, before.seq - self.dice.randrange(1, 4))), "--yes"]
            self.move(number)
            self.moving = True
            died, how = self.killed(project, arguments, work, job, before.seq)
            now = self.look(project, job)
            at = step(self.sinks[job.sink], job.name, before, now)
            # `compact` and `gc` are no runs; what `gc` takes away shows in no step.
            at_work = died and (work == "gc" or (at != "read" if work == "compact" else has_died_at_work(before, now)))
            if at_work:
                self.told.kills[f"{work} {how} {at}"] += 1
            else:
                self.told.early += 1
            if at_work and self.dice.random() < 0.2:
                self.recovery_killed(project, job, now)
            self.rest()
            self.settle(project, job)
            self.compare(job, f"a kill of {work} by {how}")
            if at_work:
                return

    def recovery_killed(self, project: Project, job: Job, before: Standing) -> None:
        """A second kill, of the run that settles what the first one left."""
        died, how = self.killed(project, ["run", job.name], "run", job, before.seq)
        now = self.look(project, job)
        if died and has_died_at_work(before, now):
            self.told.kills[f"recovery {how} {step(self.sinks[job.sink], job.name, before, now)}"] += 1

    def age_orphans(self, job: Job) -> None:
        """What kills left in a folder's staging, two hours older: `gc` takes nothing that is young."""
        for folder, _, names in os.walk(os.path.join(self.sinks[job.sink].root, "_highwater", job.name, "staging")):
            for name in names:
                os.utime(os.path.join(folder, name), (time.time() - 7200,) * 2)

    # Races.

    def race(self, own_states: bool) -> None:
        """Two processes at one table; the first is stopped somewhere, and goes on or is killed when the second is over or at work."""
        job = self.dice.choice(self.jobs)
        first, second = self.projects if self.dice.random() < 0.5 else self.projects[::-1]
        if not own_states:
            second = first
        self.move(self.jobs.index(job))
        self.moving = True
        by_switch = self.dice.random() < 0.7
        one = first.start(["run", job.name], self.stop(job) if by_switch else "")
        if not by_switch:
            time.sleep(self.dice.uniform(0, self.lengths.get(("run", job.sink), 0.5)))
            one.send_signal(signal.SIGSTOP)
        stopped = wait_for_stop(one, time.time() + PATIENCE_S / 4)
        other = second.start(["run", job.name])
        length = self.lengths.get(("run", job.sink), 0.5)
        ending = self.dice.choice(["goes on after", "goes on meanwhile", "killed"])
        if ending == "goes on after":
            ended(other)
        else:
            time.sleep(self.dice.uniform(0, length))
        if ending == "killed":
            one.send_signal(signal.SIGKILL)
        if self.dice.random() < 0.2 and other.poll() is None:
            other.send_signal(signal.SIGKILL)
        codes = (let_go(one), ended(other))
        place = "s3" if self.sinks[job.sink].endpoint else "local"
        kind = "own states" if own_states else "one state"
        self.told.races[f"{kind} {place}"] += 1
        self.told.races["stopped at work" if stopped else "ended before the stop"] += 1
        self.told.sums[f"{kind}: first {codes[0]}, second {codes[1]}"] += 1
        if any(code not in (0, 75, -signal.SIGKILL) and not (own_states and code == 1) for code in codes):
            self.wrong("failed", job, f"a race of {kind} ended with {codes}")
        self.rest()
        for project in {id(one): one for one in (first, second, self.projects[0])}.values():
            self.settle(project, job)
        self.compare(job, f"a race of {kind}, {ending}")

    def stop(self, job: Job) -> str:
        return f"stop-{self.dice.choice(['before', 'after'])}:{self.place('run', job)}"

    # All of it.

    def live(self, cycles: int, races: int, tended: int) -> None:
        for job in self.jobs:
            self.move(self.jobs.index(job))
        self.rest()
        for job in self.jobs:
            self.settle(self.projects[0], job)
        if self.told.wrong:
            raise SystemExit(f"the first loads fail: see {self.projects[0].folder}/run.log")
        works = ["run"] * cycles + ["compact"] * tended + ["gc", "rollback"] * (tended // 2)
        works += ["race one", "race own"] * (races // 2)
        self.dice.shuffle(works)
        for work in works:
            if work.startswith("race"):
                self.race(work == "race own")
            else:
                self.cycle(work)
        self.finish()

    def finish(self) -> None:
        """Every table once more, whole; a run of all that changes nothing; `verify`."""
        self.rest()
        for job in self.jobs:
            self.settle(self.projects[0], job)
        seqs = [self.look(self.projects[0], job).seq for job in self.jobs]
        for job in self.jobs:
            self.settle(self.projects[0], job)
            self.compare(job, "the last run")
        for job, seq in zip(self.jobs, seqs):
            if self.look(self.projects[0], job).seq != seq:
                self.wrong("changed", job, "a run with nothing to do decided something")
        if self.projects[0].call(["verify"]) != 0:
            self.wrong("verify", self.jobs[0], f"see {self.projects[0].folder}/run.log")
        self.told.sums["commits"] += sum(seqs)
        self.told.sums["records"] += sum(len(stream) for stream in self.source.streams)
        self.told.sums["late"] += self.source.late
        self.told.sums["deletes"] += self.source.deletes

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def keep_bucket(self) -> None:
        for name in ("parquet_s3", "delta_s3"):
            lake = self.sinks[name]
            target = os.path.join(self.folder, f"bucket-{lake.kind}")
            pafs.copy_files(lake.root, target, source_filesystem=lake.files, destination_filesystem=pafs.LocalFileSystem())


def live(arguments: argparse.Namespace, seed: int, s3: S3) -> dict:
    kept = os.path.join(arguments.folder, f"seed-{seed}.json")
    if os.path.exists(kept):
        with open(kept) as file:
            return json.load(file)
    folder = os.path.join(arguments.folder, f"seed-{seed}")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    begin = time.time()
    world = World(arguments.binary, arguments.mutant, folder, seed, s3)
    try:
        world.live(arguments.cycles, arguments.races, arguments.tended)
    finally:
        world.close()
    if world.told.wrong:
        world.keep_bucket()
    elif not arguments.keep:
        shutil.rmtree(folder)
    told = world.told.to_json()
    with open(f"{kept}.tmp", "w") as file:
        json.dump(told, file, indent=1)
    os.replace(f"{kept}.tmp", kept)
    found = dict(world.told.wrong) or "nothing wrong"
    kills, races = sum(world.told.kills.values()), arguments.races // 2 * 2
    print(f"seed {seed}: {kills} kills, {races} races, {found}, {time.time() - begin:.0f} s", flush=True)
    return told


def show(told: Told, seeds: str) -> None:
    works = sorted({" ".join(name.split()[:2]) for name in told.kills})
    print(f"\n{'kills of, by':22}" + "".join(f"{name:>9}" for name in [*STEPS, "all"]))
    rows = [(work, [told.kills[f"{work} {name}"] for name in STEPS]) for work in works]
    for work, counts in [*rows, ("all", [sum(column) for column in zip(*(counts for _, counts in rows))])]:
        print(f"{work:22}" + "".join(f"{count:9}" for count in [*counts, sum(counts)]))
    print(f"(and {told.early} processes that ended before their kill, or were killed before they were at work)")
    races = {name: count for name, count in sorted(told.races.items())}
    print(f"\nraces      {sum(count for name, count in races.items() if ' state' in name)}: {races}")
    print("           " + "; ".join(f"{name}: {count}" for name, count in sorted(told.sums.items()) if "first" in name))
    sums = told.sums
    print(f"source     {sums['records']} records, {sums['late']} versions late, {sums['deletes']} deletions; {sums['commits']} commits")
    print(f"compared   {sums['compared']} times, {sums['rows_compared']} rows")
    lost, doubled = told.wrong["lost"], told.wrong["doubled"]
    print(f"seeds {seeds}: lost {lost}, doubled {doubled}, otherwise wrong {sum(told.wrong.values()) - lost - doubled}")
    for note in told.notes:
        print(f"  {note}")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("folder")
    parser.add_argument("--seeds", default="1..28")
    parser.add_argument("--cycles", type=int, default=40, help="kills of a run in each seed")
    parser.add_argument("--races", type=int, default=4, help="races in each seed")
    parser.add_argument("--tended", type=int, default=4, help="kills of `compact` in each seed, half as many of `gc` and of rollbacks")
    parser.add_argument("--keep", action="store_true", help="keep the folders of seeds that went well")
    parser.add_argument("--mutant", default="", help="a guard that the program, a debug build, goes without")
    arguments = parser.parse_args()
    arguments.folder = os.path.abspath(arguments.folder)
    arguments.binary = os.path.abspath(arguments.binary)
    os.makedirs(arguments.folder, exist_ok=True)
    first, _, last = arguments.seeds.partition("..")
    print(f"seeds {arguments.seeds}: {arguments.cycles} kills of runs and {arguments.races} races each", flush=True)
    told, s3 = Told(), S3(arguments.folder)
    try:
        for seed in range(int(first), int(last or first) + 1):
            told.add(live(arguments, seed, s3))
    finally:
        s3.stop()
    show(told, arguments.seeds)
    return 1 if told.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
