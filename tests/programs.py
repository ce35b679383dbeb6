"""Programs that tests start: processes that can be killed, interrupted and timed, forked from one that has all imports.

A program is what `python WORDS` would be, with its own process id, arguments, environment, folder and streams; only the
seconds that it would spend importing torch and SAELens are spent once for all. Tests of start-up itself, of the
interpreter's streams and of what is imported start a Python of their own.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from tests.program_server import NUMBER

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 600.0
"""Seconds after which a program that does not end is given up."""


@functools.cache
def _server() -> socket.socket:
    """Return the socket of this process's server, which ends with this process."""
    ours, its = socket.socketpair()
    command = [sys.executable, "-m", "tests.program_server", str(its.fileno())]
    environment = {
        name: value for name, value in os.environ.items() if name != "PYTHONPATH"
    }  # each program has its own
    none = subprocess.DEVNULL
    server = subprocess.Popen(command, cwd=ROOT, env=environment, pass_fds=[its.fileno()], stdin=none, stdout=none)
    its.close()

    def end() -> None:
        ours.close()
        server.wait()

    atexit.register(end)
    return ours


class Program:
    """A started `python WORDS`, with the interface of `subprocess.Popen`; it prints into files."""

    def __init__(
        self,
        *words: object,
        folder: Path = ROOT,
        environment: Mapping[str, str] | None = None,
        given: str = "",
        terminal: int | None = None,
        new_session: bool = False,
    ) -> None:
        """`environment`: in place of the tests' own; `given`: what it reads; `terminal`: where it reads and prints."""
        self.returncode: int | None = None
        self._printed = (TemporaryFile(), TemporaryFile())  # noqa: SIM115 - they last as long as the program
        about = {
            "words": [str(word) for word in words],
            "folder": str(folder),
            "environment": dict(os.environ if environment is None else environment),
            "new_session": new_session,
        }
        self._line, its = socket.socketpair()
        with its:
            socket.send_fds(_server(), [b"!"], [its.fileno()])
        with TemporaryFile() as read:
            read.write(given.encode())
            read.seek(0)
            streams = [each.fileno() for each in (read, *self._printed)]
            if terminal is not None:
                streams[:2] = terminal, terminal
            socket.send_fds(self._line, [b"!"], streams)
        self._line.sendall(json.dumps(about).encode())
        self._line.shutdown(socket.SHUT_WR)
        self.pid = self._number()

    def _number(self) -> int:
        sent = self._line.recv(NUMBER.size, socket.MSG_WAITALL)
        assert len(sent) == NUMBER.size, "the server of programs is gone"
        return NUMBER.unpack(sent)[0]

    def poll(self, seconds: float = 0.0) -> int | None:
        """Return the exit code if the program has ended, waiting for so long."""
        if self.returncode is None and select.select([self._line], [], [], seconds)[0]:
            self.returncode = self._number()
            self._line.close()
        return self.returncode

    def wait(self, timeout: float = PATIENCE) -> int:
        """Return the exit code; a program that does not end is killed."""
        code = self.poll(timeout)
        if code is None:
            self.kill()
            raise AssertionError(f"the program did not end: {self.printed()}")
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def printed(self) -> tuple[str, str]:
        """Return what it has printed so far, and its errors."""
        out, err = (_content(file) for file in self._printed)
        return out, err

    def communicate(self, timeout: float = PATIENCE) -> tuple[str, str]:
        """Wait for the end; return what was printed."""
        self.wait(timeout)
        return self.printed()


def _content(file: IO[bytes]) -> str:
    """Return what is in a file that a program writes, and leave its place where the program's is."""
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode()


def run_program(
    *words: object, folder: Path = ROOT, environment: Mapping[str, str] | None = None, given: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run `python WORDS` to its end."""
    program = Program(*words, folder=folder, environment=environment, given=given)
    out, err = program.communicate()
    return subprocess.CompletedProcess(words, program.wait(), out, err)
