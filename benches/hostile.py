"""What bodies that are made to hurt cost: seconds and peak resident memory of whole runs.

    hostile.py BINARY FOLDER

Each body is loaded into a project in FOLDER; what became of it is the exit code and the first line of the error.
"""

import argparse
import os
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MIB = 1 << 20


BODIES = {
    "a record": lambda: [b'[{"id":1}]'],
    "lists in lists, a million deep": lambda: [b"[" * 1_000_000, b"]" * 1_000_000],
    "objects in objects, a million deep": lambda: [b'[{"a":' + b'{"a":' * 1_000_000, b"1" + b"}" * 1_000_000 + b"}]"],
    "a text of 60 MiB": lambda: [b'[{"id":1,"a":"', b"x" * (60 * MIB), b'"}]'],
    "a text of 1 GiB": lambda: (b'[{"id":1,"a":"' if part == 0 else b"x" * MIB for part in range(1025)),
    "a record of 3,000,000 keys": lambda: [b'[{"id":1%s}]' % keys(3_000_000)],
    "a map of 3,000,000 keys in a record": lambda: [b'[{"id":1,"a":{"k":1%s}}]' % keys(3_000_000)],
    "one key 5,000,000 times": lambda: [b'[{"id":1%s}]' % (b',"a":1' * 5_000_000)],
    "a number of 10,000,000 digits": lambda: [b'[{"id":1,"a":', b"9" * 10_000_000, b"}]"],
}


def keys(count):
    return b"".join(b',"k%d":1' % key for key in range(count))


def serve(body):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            try:
                for part in body():
                    self.wfile.write(part)
            except OSError:
                pass

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def project(folder, port):
    files = {
        "config.toml": "version = 1\n",
        "sinks/lake.toml": 'version = 1\ntype = "parquet"\nurl = "lake"\n',
        "sources/api.toml": f'version = 1\ntype = "http"\nbase_url = "http://127.0.0.1:{port}"\nretry = {{ attempts = 1 }}\n[streams.rows]\npath = "/rows"\n',
        "jobs/rows.toml": 'version = 1\nsource = "api"\nstream = "rows"\nsink = "lake"\n',
    }
    for path, text in files.items():
        path = os.path.join(folder, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)


def measure(binary, folder, body):
    server = serve(body)
    project(folder, server.server_address[1])
    begun = time.time()
    with open(os.path.join(folder, "said"), "w+") as said:
        process = subprocess.Popen([binary, "-C", folder, "run", "rows"], stdout=subprocess.DEVNULL, stderr=said)
        peak = 0.0
        while process.poll() is None:
            # What `wait4` tells holds this program's own memory, too.
            peak = max(peak, high_water(process.pid))
            time.sleep(0.02)
        said.seek(0)
        errors = [line.strip() for line in said if line.startswith("error: ")]
    server.shutdown()
    return process.returncode, time.time() - begun, peak, errors[0] if errors else ""


def high_water(pid):
    """The peak of a process's resident memory so far, in MiB."""
    with open(f"/proc/{pid}/status") as file:
        return next((int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM")), 0.0)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("binary")
    arguments.add_argument("folder")
    options = arguments.parse_args()
    print("| body | exit code | s | peak RSS MiB | |\n|---|--:|--:|--:|---|")
    for number, (name, body) in enumerate(BODIES.items()):
        folder = os.path.join(options.folder, f"{os.getpid()}-{number}")
        code, seconds, peak, error = measure(os.path.abspath(options.binary), folder, body)
        print(f"| {name} | {code} | {seconds:.1f} | {peak:.0f} | {error[:200]} |", flush=True)


if __name__ == "__main__":
    main()
