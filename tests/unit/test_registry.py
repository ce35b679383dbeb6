"""Registries: what a name stands for, and what is said of one that stands for nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featureinterp.errors import InputError
from featureinterp.registry import Registry, make, params_of

PARTS = Registry("part", {"path": "pathlib:Path"}, group="featureinterp.no_such_group", other_kinds=("json",))
CLOSED = Registry("format", {"path": "pathlib:Path"})


def test_names_are_registered_ones_and_places() -> None:
    assert PARTS.load("path") is Path
    assert PARTS.load("pathlib:PurePath.joinpath") is Path.joinpath
    assert PARTS.check("path") == "path"
    assert PARTS.choices() == ["path"]


@pytest.mark.parametrize("name", ["json:loads", "no_such_module:x", "pathlib", "pathlib:", ":x", "a b:c", "", "path:x"])
def test_other_names_are_refused_with_the_choices(name: str) -> None:
    assert not PARTS.has(name)
    with pytest.raises(InputError) as error:
        PARTS.load(name)
    assert "use one of: path" in error.value.hint


def test_a_registry_without_a_group_takes_registered_names_alone() -> None:
    with pytest.raises(InputError, match="there is no format 'pathlib:Path'"):
        CLOSED.check("pathlib:Path")


def test_a_check_imports_nothing(tmp_path: Path) -> None:
    (tmp_path / "loud.py").write_text("raise SystemExit('imported')")
    program = "from featureinterp.explainer import EXPLAINERS\nprint(EXPLAINERS.check('loud:Method'))"
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{program}"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.stdout.strip() == "loud:Method", ended.stderr


def test_a_part_gets_what_it_names() -> None:
    assert make(lambda a, *, b: (a, b), 1, b=2, c=3) == (1, 2)
    assert make(lambda **every: every, b=2, c=3) == {"b": 2, "c": 3}
    with pytest.raises(InputError, match="missing a required"):
        make(lambda a, *, d: (a, d), 1, b=2)


def test_params_have_to_be_a_dataclass() -> None:
    class Part:
        Params = int

    with pytest.raises(InputError, match="is not a dataclass"):
        params_of(Part)
    assert params_of(print) is None


@given(st.text())
def test_any_name_is_loaded_or_refused(name: str) -> None:
    try:
        assert callable(PARTS.load(name))
    except InputError:
        assert name != "path"
