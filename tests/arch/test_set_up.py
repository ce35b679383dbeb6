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
from tests.report.chromium import find_chromium, ways_to_install

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
    assert any(name.startswith("featureinterp/report/pages/templates/") for name in names)
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
    (tmp_path / "tests" / "contract").mkdir(parents=True)
    for name in ("setup.sh", "pyproject.toml", "constraints.txt", "tests/contract/neighbours.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    environment = {**os.environ, "PYTHON": python}
    run = subprocess.run(["bash", "setup.sh"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stdout == ""
    (line,) = run.stderr.splitlines()
    assert "3.10 to 3.13" in line
    assert python in line
    assert not (tmp_path / ".venv").exists()


def script(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_a_chromium_that_does_not_start_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("FEATUREINTERP_CHROMIUM", raising=False)
    script(tmp_path / "chromium", "exit 1")
    works = script(tmp_path / "google-chrome", "exit 0")
    assert find_chromium() == str(works)
    named = script(tmp_path / "mine", "exit 0")
    monkeypatch.setenv("FEATUREINTERP_CHROMIUM", str(named))
    assert find_chromium() == str(named)


def test_a_chromium_is_installed_the_machines_own_way_first() -> None:
    playwrights = [[sys.executable, "-m", "playwright", "install", "chromium"]]
    debians, last = ways_to_install(is_root=True, has_apt=True)
    assert debians[-1][:2] == ["apt-get", "install"]
    assert debians[-1][-1] == "chromium"
    assert last == playwrights
    assert ways_to_install(is_root=False, has_apt=True) == ways_to_install(True, False) == [playwrights]


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
