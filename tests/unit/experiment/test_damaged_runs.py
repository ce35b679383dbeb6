"""A damaged row of a run is named, the others are read, and a sweep makes that one again."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
import zlib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from featureinterp import codec
from featureinterp.analysis.rows import result_rows
from featureinterp.analysis.runs import list_runs, run_summary
from featureinterp.errors import DamagedFeatureError, DataFolderError, FeatureInterpError
from featureinterp.experiment.result import FeatureKey
from featureinterp.experiment.run import FeatureRunParams, explain_feature
from featureinterp.experiment.store import FILE_NAME, RunStore

CONFIGURATION = {"seed": 0}
N = 6


@pytest.fixture
def run(tmp_path: Path, world) -> Path:
    """A run of six features of one layer."""
    result = asyncio.run(explain_feature(world.make_record(1), world.key(1), world.method(), FeatureRunParams()))
    keys = [world.key(latent) for latent in range(N)]
    with RunStore.create(tmp_path / "run", CONFIGURATION) as store:
        store.ask(keys)
        for key in keys:
            store.put(replace(result, key=key), shuffled_with=1)
    return tmp_path / "run"


def change(run: Path, statement: str, values: Sequence[object] = ()) -> None:
    with closing(sqlite3.connect(run / FILE_NAME)) as connection, connection:
        connection.execute(statement, values)


def flipped(body: bytes, at: int) -> bytes:
    return body[:at] + bytes([body[at] ^ 4]) + body[at + 1 :]


def body_of(run: Path, latent: int) -> bytes:
    with closing(sqlite3.connect(run / FILE_NAME)) as connection:
        return connection.execute("SELECT result FROM feature WHERE latent = ?", (latent,)).fetchone()[0]


def of_another(run: Path) -> object:
    return body_of(run, 5)


def of_another_kind(run: Path) -> object:
    return zlib.compress(codec.encode(FeatureKey("a", 0, 3)))


BODIES = {
    "first bit": lambda run: flipped(body_of(run, 3), 0),
    "a bit": lambda run: flipped(body_of(run, 3), 700),
    "last bit": lambda run: flipped(body_of(run, 3), len(body_of(run, 3)) - 1),
    "cut short": lambda run: body_of(run, 3)[:500],
    "empty": lambda run: b"",
    "text": lambda run: "text",
    "number": lambda run: 3.5,
    "another feature's": of_another,
    "another kind": of_another_kind,
    "a bomb": lambda run: zlib.compress(bytes(2**21)),
}


@pytest.mark.parametrize("how", BODIES)
def test_one_damaged_result_is_named_and_the_rest_is_read(run: Path, caplog, how: str):
    change(run, "UPDATE feature SET result = ? WHERE latent = 3", [BODIES[how](run)])
    with RunStore.open(run) as store:
        assert [result.key.latent for result in store.results()] == [0, 1, 2, 4, 5]
        assert [key.latent for key in store.finished()] == [0, 1, 2, 4, 5]
        ((key, problem),) = store.damaged().items()
        assert key.latent == 3 and "latent 3 of" in problem and str(store.path) in problem
        with pytest.raises(DamagedFeatureError, match="latent 3 of .*makes this feature again"):
            store.get(key)
        summary = run_summary(store)
        assert summary.counts == {"explained": N - 1, "damaged": 1} and not summary.finished
    assert caplog.text.count("latent 3 of") == 1
    assert len(list(result_rows(run))) == N - 1
    assert list_runs(run)[0].counts["finished"] == N - 1


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("layer", 7), ("layer", b"3"), ("layer", "two"), ("layer", 1.5), ("latent", 3000), ("latent", b"x"),
        ("latent", "three"), ("hook_name", b"\xff\xfe"), ("hook_name", "blocks.9.mlp"), ("status", b"explained"),
        ("status", "dead"), ("status", "gone"), ("shuffled_with", "x"), ("shuffled_with", b"x"),
    ],
)  # fmt: skip
def test_columns_of_wrong_values_concern_their_feature_alone(run: Path, caplog, column: str, value: object):
    change(run, f"UPDATE feature SET {column} = ? WHERE latent = 3", [value])
    with RunStore.open(run) as store:
        found = [result.key.latent for result in store.results()]
        assert found == ([0, 1, 2, 3, 4, 5] if column == "shuffled_with" else [0, 1, 2, 4, 5])
        assert {key.latent for key in store.explained()} == set(found)
    assert ("run.sqlite" in caplog.text) == (column != "shuffled_with")


def test_text_that_is_no_utf8_concerns_its_feature_alone(run: Path):
    change(run, "UPDATE feature SET hook_name = CAST(x'62ff' AS TEXT) WHERE latent = 3")
    with RunStore.open(run) as store:
        assert len(list(store.results())) == N - 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("configuration", b"{}"),
        ("configuration", "[1]"),
        ("configuration", "{"),
        ("created", b"7"),
        ("n_layers", "many"),
    ],
)
def test_what_a_run_says_of_itself_is_looked_at(run: Path, name: str, value: object):
    change(run, "INSERT OR REPLACE INTO about VALUES (?, ?)", [name, value])
    for opened in (list_runs, lambda path: RunStore.create(path, CONFIGURATION)):
        with pytest.raises(DataFolderError, match=name):
            opened(run)
    change(run, "DELETE FROM about WHERE name = 'configuration'")
    with pytest.raises(DataFolderError, match="'configuration' is missing|does not record how it was made: 'created'"):
        list_runs(run)


@pytest.mark.parametrize("seed", range(40))
def test_any_flipped_bit_is_one_sentence_at_most(run: Path, tmp_path: Path, seed: int):
    """Wherever it is: features are read as they were, or named; what cannot be read is an error of ours."""
    with RunStore.open(run) as store:
        before = {result.key: result for result in store.results()}
    random_bits = random.Random(seed)
    for attempt in range(5):
        copy = tmp_path / f"copy {attempt}"
        shutil.copytree(run, copy)
        whole = (copy / FILE_NAME).read_bytes()
        at = random_bits.randrange(100, len(whole))
        (copy / FILE_NAME).write_bytes(
            whole[:at] + bytes([whole[at] ^ (1 << random_bits.randrange(8))]) + whole[at + 1 :]
        )
        try:
            with RunStore.create(copy, CONFIGURATION) as store:
                found = {result.key: result for result in store.results()}
                assert all(before.get(key) == result for key, result in found.items())
                for key in before.keys() - found.keys():
                    store.put(before[key])
                assert {result.key: result for result in store.results()}.items() >= before.items()
        except FeatureInterpError:
            continue


def test_a_run_of_broken_structure_is_written_anew_with_what_can_be_read(run: Path, caplog):
    """Each page in turn is overwritten: to a file whose pages cannot be followed nothing could be added."""
    path = run / FILE_NAME
    with RunStore.create(run, CONFIGURATION) as store:
        for result in list(store.results()):  # larger, as real ones are
            store.put(replace(result, reason=random.Random(result.key.latent).randbytes(9000).hex()))
        before = {result.key: result for result in store.results()}
    with closing(sqlite3.connect(path)) as connection:
        [size] = connection.execute("PRAGMA page_size").fetchone()
    whole, anew, most = path.read_bytes(), 0, 0
    for start in range(size, len(whole), size):
        path.write_bytes(whole[:start] + b"\xff" * size + whole[start + size :])
        caplog.clear()
        try:
            with RunStore.create(run, CONFIGURATION) as store:
                kept = {result.key: result for result in store.results()}
                assert all(before[key] == result for key, result in kept.items())
                store.ask(before)
                for key in before.keys() - kept.keys():
                    store.put(before[key])
                assert {result.key: result for result in store.results()} == before
        except FeatureInterpError:
            continue
        if "was damaged; it was written anew" in caplog.text:
            anew, most = anew + 1, max(most, len(kept))
        assert [p.name for p in run.iterdir()] == [FILE_NAME]
    assert anew > 1 and most == N - 1


def test_a_run_under_the_name_of_another_variant_is_refused(tmp_path: Path):
    about = {"experiment": "complementary", "variant": "tree", "subject": "corpus_model"}
    RunStore.create(tmp_path / "tree", CONFIGURATION, about).close()
    RunStore.create(tmp_path / "tree", CONFIGURATION, about).close()
    shutil.copytree(tmp_path / "tree", tmp_path / "other")
    with pytest.raises(DataFolderError, match="holds variant tree, but its path names variant other"):
        RunStore.create(tmp_path / "other", CONFIGURATION, {**about, "variant": "other"})
    with pytest.raises(DataFolderError, match="are both variant tree"):
        list_runs(tmp_path)
