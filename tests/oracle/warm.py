"""A Python that has imported whatever is slow to import, and becomes whoever is asked for: most of what a reader takes is its start.

    warm.py PORT

Listens on PORT of this machine. A request is one JSON document, {"program": [..], "input": ".."}, up to the end of what is sent:
`program` is the path of a script or `-c` and its text, and its arguments; `input` is what it reads from standard input. The answer
is what it prints, then its complaints unless it ends with 0, and then a line `exit N`.
"""

import io
import json
import os
import runpy
import signal
import socket
import sys
import tempfile
import traceback

import boto3  # noqa: F401
import deltalake  # noqa: F401
import duckdb  # noqa: F401
import pandas  # noqa: F401
import pyarrow.dataset  # noqa: F401
import pyarrow.fs  # noqa: F401
import pyarrow.parquet  # noqa: F401


def become(program, text):
    """Never returns."""
    sys.stdin = io.StringIO(text)
    status = 1
    try:
        if program[0] == "-c":
            sys.argv = ["-c", *program[2:]]
            exec(compile(program[1], "<text>", "exec"), {"__name__": "__main__"})
        else:
            sys.argv = list(program)
            sys.path[0] = os.path.dirname(program[0])
            runpy.run_path(program[0], run_name="__main__")
        status = 0
    except SystemExit as exit:
        if isinstance(exit.code, str):
            print(exit.code)
        status = exit.code if isinstance(exit.code, int) else int(exit.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def answer(connection):
    """In a process of its own, with another one for the program: somebody must be left to say how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with connection.makefile("rb") as asked:
        text = asked.read()
    if not text:
        return  # Somebody wanted to know whether anybody listens.
    request = json.loads(text)
    with tempfile.TemporaryFile() as complaints:
        child = os.fork()
        if child == 0:
            os.dup2(connection.fileno(), 1)
            os.dup2(complaints.fileno(), 2)
            become(request["program"], request["input"])
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code != 0:
            complaints.seek(0)
            connection.sendall(complaints.read())
    connection.sendall(f"\nexit {code}\n".encode())


def main():
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=64) as server:
        while True:
            connection, _ = server.accept()
            with connection:
                if os.fork() == 0:
                    server.close()
                    try:
                        answer(connection)
                    finally:
                        os._exit(0)


main()
