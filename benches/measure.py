"""What a command takes: wall, CPU of its whole process tree, peak of the tree's resident memory, and what else ran meanwhile."""

import os
import resource
import signal
import subprocess
import threading
import time

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def busy():
    """CPU seconds of the whole machine since it started."""
    with open("/proc/stat") as file:
        fields = [int(field) for field in file.readline().split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICKS


def tree(pid):
    found, open_ends = [], [pid]
    while open_ends:
        pid = open_ends.pop()
        found.append(pid)
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/children") as file:
                    open_ends += map(int, file.read().split())
        except OSError:
            pass
    return found


def resident(pid):
    """Bytes in memory of the whole tree."""
    return sum(resident_kinds(pid))


def resident_kinds(pid):
    """The same in two parts: its own, and pages of files, such as the program itself, which the system drops as it likes."""
    own, of_files = 0, 0
    for member in tree(pid):
        try:
            with open(f"/proc/{member}/statm") as file:
                _, all_of_it, shared = [int(field) * PAGE for field in file.read().split()[:3]]
        except (OSError, ValueError):
            continue
        own, of_files = own + all_of_it - shared, of_files + shared
    return own, of_files


def cpu_of(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(command, log, server_cpu, environment=None, patience=900):
    """Runs the command once, its output into `log`; the figures, `ok` among them. What ran before has the disk no more."""
    os.sync()
    peak = [0]
    ended = threading.Event()

    def watch(pid):
        # More often at first, or what ends at once is never seen.
        while not ended.wait(0.002 if time.perf_counter() - began < 0.2 else 0.02):
            peak[0] = max(peak[0], resident(pid))

    others, server, own, before = busy(), server_cpu(), time.process_time(), children()
    began = time.perf_counter()
    with open(log, "ab") as file:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True, env={**os.environ, **(environment or {})})
        watcher = threading.Thread(target=watch, args=(child.pid,), daemon=True)
        watcher.start()
        # A wait with a limit looks every 50 ms whether the child has ended; one without is told.
        limit = threading.Timer(patience, os.killpg, (child.pid, signal.SIGKILL))
        limit.start()
        try:
            status = child.wait()
        except BaseException:
            os.killpg(child.pid, signal.SIGKILL)
            raise
        finally:
            limit.cancel()
        wall = time.perf_counter() - began
    ended.set()
    watcher.join()
    cpu = children() - before
    server = server_cpu() - server
    others = busy() - others - cpu - server - (time.process_time() - own)
    return {
        "ok": status == 0,
        "wall": round(wall, 4),
        "cpu": round(cpu, 4),
        "rss_mb": round(peak[0] / 1e6, 1),
        "server_cpu": round(server, 3),
        "others": round(max(0.0, others) / wall, 3),
    }
