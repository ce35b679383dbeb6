"""What is printed drives no terminal, stays data in a pipe, and takes any stream: another encoding, closed, full."""

from __future__ import annotations

import ast
import csv
import io
import json
import os
import pty
import re
import resource
import shutil
import subprocess
import sys
from contextlib import redirect_stderr
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featureinterp.analysis.rows import csv_lines, json_lines, result_row
from featureinterp.cli.console import open_console
from featureinterp.cli.progress import Features
from featureinterp.cli.screen import tell_error
from featureinterp.core import Rule, StructuredExplanation
from featureinterp.experiment.result import FeatureKey, FeatureResult
from featureinterp.experiment.store import RunStore
from tests.programs import Program
from tests.report.features import HALF_A_CHARACTER, HOSTILE_TOKENS, explained, record, scored

ROOT = Path(__file__).resolve().parents[2]
DRIVES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029\ud800-\udfff]")
"""What drives a terminal or turns what is read."""
OURS = re.compile(r"\x1b\[[0-9;]*m|\x1b\[\?25[lh]|\x1b\[[0-9]*A|\r?\x1b\[[0-9]*K")
"""Colours, the cursor shown or hidden, a line of a bar drawn again."""
TITLE = "\x1b]0;owned\x07"
FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "'=1", "＝1")  # noqa: RUF001 - full width is what is tried


def explained_in_evil_words() -> FeatureResult:
    """A feature whose every text drives the terminal, save for a lone surrogate, which no run holds."""
    tokens = tuple(token for token in HOSTILE_TOKENS if token != HALF_A_CHARACTER)
    words, n = "".join(tokens[:-1]), len(tokens)
    active = scored(record(tokens, tuple(float(i % 11) for i in range(n)), 1), *(i % 6 for i in range(n)))
    return replace(
        explained(5, 99, 0.8),
        key=FeatureKey(f"hook{words}", 5, 99),
        reason=words,
        explainer=words,
        explanation=StructuredExplanation((Rule(words, 3),)),
        test_sequences=(active,),
        contributions=(),
        profile=None,
    )


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose every text drives the terminal, in a folder whose name does."""
    folder = tmp_path_factory.mktemp("evil") / f"run{TITLE}\u202e[red]"
    configuration = {"seed": 0, "method": {"simulator": TITLE}, "data": {f"{TITLE}[red]": 1}}
    with RunStore.create(folder, configuration, {"model": TITLE, "command": TITLE}) as store:
        store.put(explained_in_evil_words())
        store.put(FeatureResult(FeatureKey("hook", 1, 2), "failed", f"[red]{TITLE}\x9b2J é ↵"))
    return folder


def start(*arguments: object, **how: Any) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **how.pop("environment", {})}
    command = [sys.executable, "-m", "featureinterp.cli", *map(str, arguments)]
    out, first = how.get("stdout", subprocess.PIPE), how.get("preexec_fn")
    return subprocess.Popen(command, env=environment, stdout=out, stderr=subprocess.PIPE, preexec_fn=first, text=False)


def run_piped(*arguments: object, **how) -> tuple[int, bytes, str]:
    process = start(*arguments, **how)
    out, err = process.communicate(timeout=120)
    return process.returncode, out or b"", err.decode("utf-8", "backslashreplace")


def on_a_terminal(*arguments: object) -> tuple[int, str]:
    """Run a command whose output and errors go to a terminal; return its exit code and all that the terminal got."""
    ours, its = pty.openpty()
    environment = {**os.environ, "COLUMNS": "200", "TERM": "xterm-256color"}
    program = Program("-m", "featureinterp.cli", *arguments, environment=environment, terminal=its)
    os.close(its)
    seen = b""
    try:
        while part := os.read(ours, 65536):
            seen += part
    except OSError:  # Linux says so where the other side is closed
        pass
    _, errors = program.communicate()
    return program.wait(), seen.decode("utf-8", "surrogateescape").replace("\r\n", "\n") + errors


@pytest.mark.parametrize(
    "arguments",
    [
        ("results", "{run}"),
        ("results", "{run}", "--format", "csv"),
        ("results", "{run}", "--format", "jsonl"),
        ("results", "{run}", "--format", "summary"),
        ("show", "{run}", 5, 99),
        ("show", "{run}", 1, 2),
        ("compare", "{run}", "{run}"),
        ("audit", "{run}"),
        ("report", "{run}"),
        ("export", "{run}", "--format", "json", "--out", "{run}/out"),
        ("serve", "{run}", "--port", 1, "--host", TITLE),
        ("results", f"/tmp/{TITLE}"),
        ("explain", f"/tmp/{TITLE}\n\x9b2J"),
        (f"no{TITLE}",),
        ("results", "a", f"b{TITLE}"),
        ("demo", "--features", TITLE),
    ],
)
def test_no_text_drives_the_terminal(evil: Path, arguments: tuple[object, ...]) -> None:
    code, seen = on_a_terminal(*(str(each).replace("{run}", str(evil)) for each in arguments))
    assert "Traceback" not in seen
    assert code in (0, 2)
    assert seen
    assert not DRIVES.search(OURS.sub("", seen)), seen


def test_names_are_no_markup(evil: Path) -> None:
    _, seen = on_a_terminal("results", evil)
    assert "[red]" in seen
    assert "[bold red]mark" in OURS.sub("", seen).replace("\n", "")


def test_in_a_pipe_rows_stay_data(evil: Path, tmp_path: Path) -> None:
    with RunStore.open(evil) as store:
        wanted = [result_row(result) for result in store.results()]
    code, out, _ = run_piped("results", evil, "--format", "jsonl")
    assert code == 0
    assert [json.loads(line) for line in out.decode().splitlines()] == wanted
    for name in ("csv", "parquet"):
        code, _, err = run_piped("results", evil, "--format", name, "--out", tmp_path / f"all.{name}")
        assert (code, err) == (0, "")
    _, printed, _ = run_piped("results", evil, "--format", "csv")
    assert printed == (tmp_path / "all.csv").read_bytes()
    rows = list(csv.DictReader(io.StringIO(printed.decode(), newline="")))
    assert [row["reason"].removeprefix("'") for row in rows] == [row["reason"] for row in wanted]
    assert list(pd.read_parquet(tmp_path / "all.parquet").reason) == [row["reason"] for row in wanted]


def test_a_folder_whose_name_is_no_text(evil: Path, tmp_path: Path) -> None:
    """Bytes that are no UTF-8: Python has lone surrogates in their place."""
    name = os.fsdecode(b"vari\xffant")
    (tmp_path / "runs" / "subject" / name).mkdir(parents=True)
    shutil.copy(evil / "run.sqlite", tmp_path / "runs" / "subject" / name)
    for format_ in ("csv", "jsonl", "parquet"):
        code, _, err = run_piped("results", tmp_path / "runs", "--format", format_, "--out", tmp_path / "rows")
        assert (code, err) == (0, ""), format_
    for arguments in (("results",), ("results", "--format", "csv"), ("results", "--format", "jsonl")):
        code, out, err = run_piped(arguments[0], tmp_path / "runs", *arguments[1:])
        assert (code, err) == (0, ""), arguments
        assert out.decode()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_an_encoding_that_lacks_characters(evil: Path, encoding: str) -> None:
    environment = {"PYTHONIOENCODING": encoding}
    _, out, _ = run_piped("results", evil, "--format", "jsonl", environment=environment)
    with RunStore.open(evil) as store:
        assert [json.loads(line) for line in out.decode(encoding).splitlines()] == [
            result_row(result) for result in store.results()
        ]
    for arguments in (("show", evil, 5, 99), ("results", evil, "--format", "csv"), ("--help",)):
        code, out, err = run_piped(*arguments, environment=environment)
        assert (code, err) == (0, ""), arguments
        out.decode(encoding)
    code, _, err = run_piped("results", f"/tmp/é{TITLE}", environment=environment)
    assert code == 2
    assert "Traceback" not in err


def test_the_locale_of_nobody(evil: Path) -> None:
    environment = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for arguments in (("show", evil, 5, 99), ("results", evil, "--format", "csv"), ("demo", "--help")):
        code, _, err = run_piped(*arguments, environment=environment)
        assert (code, err) == (0, ""), arguments


@pytest.mark.parametrize("arguments", [("show", 5, 99), ("results",), ("results", "--format", "csv")])
def test_whoever_reads_may_leave(evil: Path, arguments: tuple[object, ...]) -> None:
    command, *others = arguments
    ours, its = os.pipe()
    os.close(ours)
    process = start(command, evil, *others, stdout=its)
    os.close(its)
    _, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (1, b"")


@pytest.mark.parametrize("arguments", [("show", 5, 99), ("results", "--format", "csv")])
def test_what_cannot_be_printed_is_told(evil: Path, tmp_path: Path, arguments: tuple[object, ...]) -> None:
    command, *others = arguments
    with (tmp_path / "out").open("wb") as full:
        no_room = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (0, 0))
        code, _, err = run_piped(command, evil, *others, stdout=full, preexec_fn=no_room)
    assert code == 2
    [line] = err.splitlines()
    assert line.startswith("featureinterp: what is printed cannot be written: File too large (")


def test_a_stream_that_was_closed(evil: Path) -> None:
    command = f'exec "{sys.executable}" -m featureinterp.cli results "$1" >&-'
    done = subprocess.run(
        ["sh", "-c", command, "sh", str(evil)], capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert (done.returncode, done.stderr) == (0, b"")


def row_of(text: str) -> dict[str, object]:
    return result_row(FeatureResult(FeatureKey(text, 0, 0), "failed", text, max_activation=-0.5))


@given(st.one_of(st.sampled_from(FORMULAS), st.text()))
def test_no_cell_is_a_formula_and_each_can_be_read_back(text: str) -> None:
    head, line = csv_lines([row_of(text)])
    [cells] = csv.DictReader(io.StringIO(f"{head}\n{line}", newline=""))
    for cell in (cells["reason"], cells["hook_name"]):
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
        assert cell.removeprefix("'") == text
    assert cells["max_activation"] == "-0.5"


@given(st.text())
def test_a_line_of_json_has_nothing_hidden_and_is_the_same_data(text: str) -> None:
    for ascii_only in (False, True):
        [line] = json_lines([row_of(text)], ascii_only)
        assert json.loads(line) == row_of(text)
        assert not DRIVES.search(line)
        assert "\n" not in line


def test_log_lines_and_warnings_of_all_libraries_are_visible() -> None:
    program = (
        "import logging, warnings\n"
        "from featureinterp.cli.screen import prepare_output\n"
        "prepare_output()\n"
        f"logging.getLogger('another').warning('model %r and %s', {TITLE!r}, {TITLE!r})\n"
        f"warnings.warn({TITLE!r})\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.returncode == 0
    assert not DRIVES.search(done.stderr)
    assert done.stderr.count("␛]0;owned␇") == 2


def test_an_error_is_one_line_whatever_is_in_it() -> None:
    with redirect_stderr(io.StringIO()) as err:
        tell_error(f"a\nfeatureinterp: all is well{TITLE}\r")
    assert err.getvalue() == "a↵featureinterp: all is well␛]0;owned␇␍\n"


def test_a_bar_says_names_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    with Features(open_console()) as features:
        features(f"[red]run{TITLE}", FeatureResult(FeatureKey("hook", 0, 0), "dead", ""), 1, 2)
    assert "[red]run␛]0;owned␇" in capsys.readouterr().out


def test_only_one_place_prints() -> None:
    for path in (*(ROOT / "featureinterp").rglob("*.py"), *(ROOT / "scripts").glob("*.py")):
        called = {
            ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
        }
        assert not called & {"print", "typer.echo", "typer.secho", "Console", "sys.stdout.write"}, path
