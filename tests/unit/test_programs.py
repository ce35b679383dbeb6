"""The programs that tests start are what Python would be: words, folder, environment, streams, end."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.programs import Program, run_program

SHOW = """
import json, os, sys
print(json.dumps([__name__, sys.argv, os.getcwd(), os.environ["OWN"], sys.path, sys.stdin.read(), sys.stdout.isatty()]))
print("an error", file=sys.stderr)
"""


@pytest.mark.parametrize("words", [("-c", SHOW), ("-m", "shown"), ("shown.py",), ("below/shown.py",)])
def test_it_sees_what_python_would_see(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "below").mkdir()
    for path in (tmp_path / "shown.py", tmp_path / "below" / "shown.py"):
        path.write_text(SHOW)
    environment = {**os.environ, "OWN": "ü\n", "PYTHONPATH": str(tmp_path / "below")}
    words = (*words, "a b", "--option")
    program = run_program(*words, folder=tmp_path, environment=environment, given="some\nlines")
    python = subprocess.run(
        [sys.executable, *words], cwd=tmp_path, env=environment, input="some\nlines", capture_output=True, text=True
    )
    assert (program.returncode, program.stderr) == (python.returncode, python.stderr) == (0, "an error\n")
    assert program.stdout == python.stdout


@pytest.mark.parametrize(
    "end",
    [
        "pass",
        "sys.exit(3)",
        "sys.exit('why')",
        "1 / 0",
        "raise KeyboardInterrupt",
        "os.kill(os.getpid(), signal.SIGTERM)",
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); open('file', 'w').write('x')",
        "atexit.register(print, 'at the end')",
        "threading.Timer(0.1, print, ['later']).start()",
    ],
)
def test_it_ends_as_python_would_end(tmp_path: Path, end: str) -> None:
    code = f"import atexit, os, resource, signal, sys, threading\n{end}"
    program = run_program("-c", code, folder=tmp_path)
    python = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (program.returncode, program.stdout) == (python.returncode, python.stdout)
    assert program.stderr.splitlines()[-1:] == python.stderr.splitlines()[-1:]


def test_it_writes_to_a_terminal_line_by_line() -> None:
    code = "import sys; print(sys.stdin.isatty(), sys.stdout.isatty(), sys.stderr.isatty()); sys.stdin.readline()"
    ours, its = pty.openpty()
    program = Program("-c", code, terminal=its)
    shown = b""
    while not shown.endswith(b"\n"):
        shown += os.read(ours, 100)
    assert shown == b"True True False\r\n"
    os.write(ours, b"\n")
    assert program.wait() == 0
    os.close(its)
    os.close(ours)


def test_it_is_a_process_of_its_own_that_is_killed_with_its_session() -> None:
    code = "import os, time; print(os.getpid(), os.getsid(0), flush=True); time.sleep(600)"
    own, shared, third = Program("-c", code, new_session=True), Program("-c", code), Program("-c", code)
    for program in (own, shared, third):
        while not program.printed()[0].endswith("\n"):
            assert program.poll() is None, program.printed()
            time.sleep(0.01)
    assert own.printed()[0].split() == [str(own.pid)] * 2
    assert shared.printed()[0].split() == [str(shared.pid), str(os.getsid(0))]
    os.killpg(own.pid, signal.SIGKILL)
    third.send_signal(signal.SIGINT)  # heeded also where a shell started the tests in its background
    assert third.wait() == -signal.SIGINT
    assert own.wait() == -signal.SIGKILL
    assert shared.poll() is None
    with pytest.raises(AssertionError, match="did not end"):
        shared.wait(0.01)
    assert shared.wait() == -signal.SIGKILL
