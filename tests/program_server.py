"""Server of `tests.programs`: imports the libraries once, and forks itself for every program that a test starts.

`python -m tests.program_server FD`: FD is a socket on which every message is the file descriptor of one program's line.
Over the line come the program's streams and, as JSON, its words, folder and environment; back go its process id and,
at its end, its exit code. Between server and program is an attendant, a fork of the server: it waits for the end.
"""

from __future__ import annotations

import gc
import importlib
import io
import json
import os
import pkgutil
import runpy
import signal
import socket
import struct
import sys
import types
from pathlib import Path

import featureinterp

LIBRARIES = (
    "datasets",
    "matplotlib.pyplot",
    "pandas",
    "sae_lens",
    "sentence_transformers",
    "torch",
    "transformers.models.gpt2.modeling_gpt2",
)
NUMBER = struct.Struct("q")


def import_all() -> None:
    """Import what programs take seconds to import, and every module of the package."""
    for name in LIBRARIES:
        importlib.import_module(name)
    for module in pkgutil.walk_packages(featureinterp.__path__, "featureinterp."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    gc.freeze()  # a collection of garbage would copy the pages that all programs share


def serve(control: socket.socket) -> dict:
    """Fork for every line; return what the program is, in the program alone."""
    while True:
        message, fds, _, _ = socket.recv_fds(control, 1, 1)
        if not message:
            sys.exit()
        line = socket.socket(fileno=fds[0])
        if os.fork() == 0:
            control.close()
            return attend(line)
        line.close()
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def attend(line: socket.socket) -> dict:
    """Fork the program and tell its process id and exit code; return what it is, in the program alone."""
    _, streams, _, _ = socket.recv_fds(line, 1, 3)
    program = json.loads(line.makefile("rb").read())
    pid = os.fork()
    if pid == 0:
        line.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        return program
    for stream in streams:
        os.close(stream)
    line.sendall(NUMBER.pack(pid))
    _, status = os.waitpid(pid, 0)
    line.sendall(NUMBER.pack(os.waitstatus_to_exitcode(status)))
    os._exit(0)


def open_streams(unbuffered: bool) -> None:
    """Open the standard streams as Python does at its start: those of the server belong to other files."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        mode, of_server = "wb" if number else "rb", getattr(sys, name)
        file = open(number, mode, closefd=False)  # noqa: PTH123, SIM115 - a number, for as long as the program lasts
        stream = io.TextIOWrapper(
            file,
            of_server.encoding,
            of_server.errors,
            line_buffering=name == "stderr" or file.isatty(),
            write_through=unbuffered,
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def become(words: list[str], folder: str, environment: dict[str, str], new_session: bool) -> None:
    """Do what Python does with these words on its command line."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if new_session:
        os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    open_streams(unbuffered="PYTHONUNBUFFERED" in environment)
    in_path = list(filter(None, environment.get("PYTHONPATH", "").split(os.pathsep)))
    match words:
        case ["-m", name, *arguments]:
            sys.path[:1] = [folder, *in_path]
            sys.argv = ["-m", *arguments]
            runpy.run_module(name, run_name="__main__", alter_sys=True)
        case ["-c", code, *arguments]:
            sys.path[:1] = ["", *in_path]
            sys.argv = ["-c", *arguments]
            main = sys.modules["__main__"] = types.ModuleType("__main__")
            exec(compile(code, "<string>", "exec"), main.__dict__)  # noqa: S102 - the test's own program
        case [script, *arguments]:
            sys.path[:1] = [str(Path(script).resolve().parent), *in_path]
            sys.argv = [script, *arguments]
            runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests, and for programs
    import_all()
    become(**serve(socket.socket(fileno=int(sys.argv[1]))))
