"""Hostile inputs to every reader of outside data: read, or refused by its own class of error in a sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.hostile.cases import Reader, is_refusal
from benchmarks.hostile.mutations import DEEP, mutate_json
from benchmarks.hostile.worker import READERS, attempt
from benchmarks.hostile.world import make_world
from featureinterp.errors import CorpusError, DataFolderError, InputError


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    make_world(folder)
    return folder


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=12)
@given(number=st.integers(10_000, 2**32))
def test_no_hostile_input_gets_through(world: Path, name: str, number: int) -> None:
    outcome = attempt(name, number, 1, world)
    assert outcome.kind in ("read", "refused"), outcome.told
    assert outcome.told.strip() or outcome.kind == "read"


@pytest.mark.slow
def test_the_benchmark_counts_and_ends_well(world: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.hostile_inputs", "--cases", "200", "--world", str(world)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "0 tracebacks, 0 hangs, 0 processes died" in done.stdout.splitlines()[-1]


def test_a_number_is_always_the_same_input(world: Path) -> None:
    one, other = (attempt("record files", 7, 0, world) for _ in range(2))
    assert (one.kind, one.told) == (other.kind, other.told)
    assert len({attempt("record files", n, seed, world).told for seed in (0, 1) for n in range(6)}) > 3


def test_inputs_do_not_depend_on_those_before() -> None:
    made = [mutate_json('{"a": [1, {"b": 2}], "c": {}}', Random(seed)) for seed in range(400)]
    assert made[::-1] == [mutate_json('{"a": [1, {"b": 2}], "c": {}}', Random(seed)) for seed in reversed(range(400))]


def test_an_error_of_another_class_or_without_words_is_no_refusal() -> None:
    reader = Reader("corpora", lambda _: None, (CorpusError,))
    assert is_refusal(reader, CorpusError("it is empty"))
    assert not any(is_refusal(reader, error) for error in (DataFolderError("x"), ValueError("x"), CorpusError(" ")))


@given(st.randoms(use_true_random=False))
def test_a_value_changes_where_it_lies(rng) -> None:
    changed = mutate_json('{"a": [1, 2, {"b": "c"}]}', rng, ("<deep list>",))
    assert "<deep list>" not in changed
    assert changed.count("[") >= DEEP or len(changed) < 2000


def test_a_sentence_quotes_no_more_than_can_be_read() -> None:
    error = InputError(f"layers {'9' * 10**6!r} cannot be selected", "give numbers")
    assert str(error).startswith("layers '999") and str(error).endswith("cannot be selected (give numbers)")
    assert len(str(error)) < 1100
