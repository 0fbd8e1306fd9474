"""Mutants: the program without one guard of its data, and the test that must turn red with it.

    mutants.py [GUARD...]

The guards stand in src/fault/guards.rs, the test of each in tests/mutants/tests.txt. The tests are built once. First each test runs as it
is and must be green; then it runs once for each of its guards with HIGHWATER_MUTANT naming it, and must be red. One that is skipped here
or comes to no end proves nothing. Exit code 0 if every mutant was killed.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PATIENCE_S = 300
# What the tests end with that found something wrong.
RED = 101


def guards() -> dict[str, str]:
    """Each guard and what it says of itself."""
    with open(f"{ROOT}/src/fault/guards.rs", encoding="utf-8") as file:
        declared = file.read().split("\nguards! {\n")[1].split("\n}\n")[0]
    found = re.findall(r"((?: *///.*\n)+) *(\w+),", declared + "\n")
    return {name: " ".join(line.strip("/ ") for line in words.splitlines()) for words, name in found}


def wanted() -> dict[str, str]:
    with open(f"{HERE}/tests.txt", encoding="utf-8") as file:
        lines = [line.split() for line in file if line.strip() and not line.startswith("#")]
    return {guard: test for guard, test in lines}


def programs() -> dict[str, str]:
    """Builds the tests; each test's program."""
    command = ["cargo", "test", "--locked", "--no-run", "--lib", "--test", "it", "--message-format=json-render-diagnostics"]
    told = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    built = [message for message in map(json.loads, told.splitlines()) if message.get("profile", {}).get("test")]
    found = {}
    for path in [message["executable"] for message in built if message["executable"]]:
        listed = subprocess.run([path, "--list", "--format", "terse"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
        found.update({line.removesuffix(": test"): path for line in listed.splitlines()})
    return found


def run(program: str, test: str, guard: str | None) -> str:
    """`green`, `red`, or why it is neither."""
    environment = {name: value for name, value in os.environ.items() if name != "HIGHWATER_MUTANT"}
    # A snapshot that differs is a finding, not a proposal to be kept beside the sources.
    environment["INSTA_UPDATE"] = "no"
    with tempfile.NamedTemporaryFile() as skips:
        environment["HIGHWATER_TEST_SKIPS"] = skips.name
        if guard:
            environment["HIGHWATER_MUTANT"] = guard
        call = [program, "--exact", test]
        try:
            ended = subprocess.run(call, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            return f"no end in {PATIENCE_S} s"
        if os.path.getsize(skips.name):
            return "skipped here"
    if ended.returncode == RED and "1 failed" in ended.stdout:
        return "red"
    if ended.returncode == 0 and "1 passed" in ended.stdout:
        return "green"
    return f"ended with {ended.returncode}"


def main() -> int:
    known, tests = guards(), wanted()
    names = sys.argv[1:] or list(known)
    unknown = [name for name in names if name not in known or name not in tests]
    if unknown:
        print(f"no guard with a test: {', '.join(unknown)}", file=sys.stderr)
        return 2
    built = programs()
    lacking = sorted({tests[name] for name in names} - built.keys())
    if lacking:
        print(f"no such test: {', '.join(lacking)}", file=sys.stderr)
        return 2
    as_it_is = {test: run(built[test], test, None) for test in sorted({tests[name] for name in names})}
    killed = 0
    for name in names:
        test, began = tests[name], time.monotonic()
        outcome = as_it_is[test]
        if outcome == "green":
            outcome = {"red": "killed", "green": "SURVIVED"}.get(outcome := run(built[test], test, name), outcome)
        else:
            outcome = f"NOT TRIED, without it the test is: {outcome}"
        killed += outcome == "killed"
        print(f"{outcome}  {name}  {time.monotonic() - began:.1f} s  {test}\n    {known[name]}", flush=True)
    print(f"killed {killed} of {len(names)}")
    return 0 if killed == len(names) else 1


if __name__ == "__main__":
    sys.exit(main())
