"""The set-up: what is pinned, what the scripts say when something is missing, what a wheel and the tree hold."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.arch.source import ROOT
from tests.arch.test_imports import PROJECT, canonical, requirement_name

MEGABYTE = 1_000_000
PUBLISHED = ("featureinterp", "training", "scripts", "benchmarks", "examples", "tests", "docs", ".ci")
MADE_FROM_DATA = ("tokenizer.json", "vocab.json", "merges.txt")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel with the build backend that is installed: no network is needed."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_is_small(wheel: Path) -> None:
    assert wheel.stat().st_size < 40 * MEGABYTE


def test_the_wheel_holds_all_that_the_package_reads(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    files = [p for p in (ROOT / "featureinterp").rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert {p.relative_to(ROOT).as_posix() for p in files} <= names
    embedded = "featureinterp/subject/embedded/"
    assert f"{embedded}card.json" in names
    assert sum(name.startswith(embedded) and name.endswith(".safetensors") for name in names) >= 2
    assert any(name.startswith("featureinterp/report/templates/") for name in names)
    assert "featureinterp/py.typed" in names
    assert any(name.endswith("/LICENSE") for name in names)


def pins() -> dict[str, set[str]]:
    """Map each pinned package to its pinned versions."""
    found: dict[str, set[str]] = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if pin := re.match(r"([\w.-]+)==([^ ;]+)( ; .+)?$", line):
            found.setdefault(canonical(pin[1]), set()).add(pin[2])
        else:
            assert line.startswith("#"), f"{line!r} is no pin"
    return found


def test_everything_that_is_set_up_is_pinned() -> None:
    wanted = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]
    assert {requirement_name(r) for r in wanted} - set(pins()) == set()
    assert pins()["torch"] == {"2.13.0"}


@pytest.mark.parametrize("python", ["/nowhere/python", "/bin/false"])
def test_set_up_without_a_python_fails_in_one_line(tmp_path: Path, python: str) -> None:
    for name in ("setup.sh", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    environment = {**os.environ, "PYTHON": python}
    run = subprocess.run(["bash", "setup.sh"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stdout == ""
    (line,) = run.stderr.splitlines()
    assert "3.10 to 3.13" in line
    assert python in line
    assert not (tmp_path / ".venv").exists()


def script(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/bash\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def bare_machine(tmp_path: Path) -> dict[str, str]:
    """Make a project whose Python only tells how it was called, on a machine with no Chromium and no network."""
    (tmp_path / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "run.sh", tmp_path / "tests")
    script(
        tmp_path / ".venv/bin/python",
        'case "$*" in *pytest*) echo "ran: $* [$FEATUREINTERP_CHROMIUM]";; *) exit 1;; esac',
    )
    tools = tmp_path / "tools"
    script(tools / "id", "echo 1000")
    for name in ("dirname", "bash"):
        (tools / name).symlink_to(str(shutil.which(name)))
    return {"PATH": str(tools), "HOME": str(tmp_path)}


def run_tests(folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["/bin/bash", "tests/run.sh"], cwd=folder, env=environment, capture_output=True, text=True)


def test_without_a_chromium_the_last_line_says_so(tmp_path: Path, bare_machine: dict[str, str]) -> None:
    run = run_tests(tmp_path, bare_machine)
    assert run.returncode == 0
    assert "ran: -m pytest -m not browser []" in run.stdout
    assert run.stdout.splitlines()[-1].startswith("The page tests were not run")


def test_without_a_chromium_a_build_server_fails(tmp_path: Path, bare_machine: dict[str, str]) -> None:
    assert run_tests(tmp_path, {**bare_machine, "CI": "1"}).returncode == 1


def test_a_chromium_on_the_path_is_handed_to_the_page_tests(tmp_path: Path, bare_machine: dict[str, str]) -> None:
    chromium = script(tmp_path / "tools" / "google-chrome", "echo Chromium 1.0")
    run = run_tests(tmp_path, bare_machine)
    assert run.stdout.splitlines() == [f"ran: -m pytest [{chromium}]"]


def test_no_file_names_a_folder_of_one_machine() -> None:
    somewhere = re.compile(r"(?<![\w.~-])/(?:work|root|home|Users)/")
    files = [path for folder in PUBLISHED for path in (ROOT / folder).rglob("*")] + list(ROOT.glob("[!.]*"))
    found = []
    for path in files:
        ignored = {"__pycache__", "checkpoints", ".hypothesis"} & set(path.parts) or path.name in MADE_FROM_DATA
        if ignored or not path.is_file() or path == Path(__file__):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {line.strip()}" for line in text.splitlines() if somewhere.search(line)]
    assert found == []
