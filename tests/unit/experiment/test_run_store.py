from __future__ import annotations

import asyncio
import json
import resource
import sqlite3
import subprocess
import sys
from dataclasses import replace

import pytest

from featureinterp import codec
from featureinterp.errors import DataFolderError, StorageError
from featureinterp.experiment.configuration import canonical_json, configuration_hash
from featureinterp.experiment.run import FeatureRunParams, explain_feature
from featureinterp.experiment.store import FILE_NAME, RunStore

CONFIGURATION = {"seed": 0, "tree": {"width": 3}, "layers": (1, 2)}


@pytest.fixture
def result(world):
    key = world.key(1)
    return asyncio.run(explain_feature(world.make_record(1), key, world.method(), FeatureRunParams()))


def test_a_result_comes_back_as_it_was(tmp_path, result):
    with RunStore.create(tmp_path / "run", CONFIGURATION) as store:
        store.put(result, shuffled_with=4)
    with RunStore.open(tmp_path / "run") as store:
        assert store.get(result.key) == result
        assert store.finished() == {result.key: "explained"}
        assert store.explained() == {result.key: 4}
        assert store.get(replace(result.key, latent=2)) is None
        assert json.loads(store.about()["configuration"]) == {"seed": 0, "tree": {"width": 3}, "layers": [1, 2]}


def test_a_result_made_before_results_named_the_simulator_gets_that_of_the_configuration(tmp_path, result):
    with RunStore.create(tmp_path, {"method": {"explainer": "tree", "simulator": "lexical"}}) as store:
        store.put(result)
        store.put(replace(result, key=replace(result.key, latent=2), simulator="hf:m"))
        assert [each.simulator for each in store.results()] == ["lexical", "hf:m"]


def test_attempts_that_were_stored_without_a_test_score_and_complexity_can_be_read(result):
    stored = json.loads(codec.encode(result))
    for attempt in stored["data"]["attempts"]:
        del attempt["test_score"], attempt["complexity"]
    assert codec.decode(json.dumps(stored), type(result)) == result


def test_results_come_in_the_order_of_layer_and_latent(tmp_path, result, world):
    keys = [world.key(latent, layer) for layer, latent in ((10, 0), (2, 11), (2, 9), (0, 3))]
    with RunStore.create(tmp_path, CONFIGURATION) as store:
        for key in keys:
            store.put(replace(result, key=key))
        assert [(r.key.layer, r.key.latent) for r in store.results()] == [(0, 3), (2, 9), (2, 11), (10, 0)]


def test_a_feature_without_an_explanation_is_finished_but_not_explained(tmp_path, result):
    with RunStore.create(tmp_path, CONFIGURATION) as store:
        store.put(replace(result, status="dead", explanation=None))
        assert store.finished() == {result.key: "dead"}
        assert store.explained() == {}


def test_a_second_result_replaces_the_first(tmp_path, result):
    with RunStore.create(tmp_path, CONFIGURATION) as store:
        store.put(result)
        store.put(replace(result, reason="again"), shuffled_with=2)
        assert [r.reason for r in store.results()] == ["again"]


def test_a_run_is_one_file(tmp_path, result):
    with RunStore.create(tmp_path / "run", CONFIGURATION) as store:
        store.put(result)
    assert [path.name for path in (tmp_path / "run").iterdir()] == [FILE_NAME]


def test_its_owner_alone_can_read_a_run_also_one_that_was_open_to_others(tmp_path, result):
    RunStore.create(tmp_path, CONFIGURATION).close()
    path = tmp_path / FILE_NAME
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o664)
    RunStore.open(tmp_path).close()
    assert path.stat().st_mode & 0o777 == 0o664  # reading changes nothing
    with RunStore.create(tmp_path, CONFIGURATION) as store:
        store.put(result)
    assert path.stat().st_mode & 0o777 == 0o600


def test_no_run_is_an_error(tmp_path):
    with pytest.raises(DataFolderError, match="there is no run in"):
        RunStore.open(tmp_path / "missing")


@pytest.mark.parametrize("opened", [RunStore.open, lambda run: RunStore.create(run, CONFIGURATION)])
def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path, opened):
    (tmp_path / FILE_NAME).write_text("these are my notes, " * 100)
    with pytest.raises(DataFolderError, match=r"run\.sqlite is not a run of featureinterp"):
        opened(tmp_path)
    assert (tmp_path / FILE_NAME).read_text().startswith("these are my notes")


@pytest.mark.parametrize("opened", [RunStore.open, lambda run: RunStore.create(run, CONFIGURATION)])
def test_another_programs_database_is_refused(tmp_path, opened):
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute("CREATE TABLE music (title TEXT)")
    connection.close()
    with pytest.raises(DataFolderError, match="another program's database"):
        opened(tmp_path)


@pytest.mark.parametrize("opened", [RunStore.open, lambda run: RunStore.create(run, CONFIGURATION)])
def test_a_run_of_another_version_is_refused(tmp_path, opened):
    RunStore.create(tmp_path, CONFIGURATION).close()
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    connection.execute("PRAGMA user_version = 7")
    connection.close()
    with pytest.raises(DataFolderError, match="is a run of version 7, this featureinterp reads version 1"):
        opened(tmp_path)


def test_another_configuration_is_refused_and_says_what_differs(tmp_path):
    RunStore.create(tmp_path, CONFIGURATION).close()
    with pytest.raises(DataFolderError, match=r"made with seed=0 instead of 1, tree\.width=3 instead of 5"):
        RunStore.create(tmp_path, {"seed": 1, "tree": {"width": 5}, "layers": [1, 2]})
    RunStore.create(tmp_path, {"layers": [1, 2], "tree": {"width": 3}, "seed": 0}).close()


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="the folder .*run cannot be made: Not a directory"):
        RunStore.create(tmp_path / "file" / "run", CONFIGURATION)


def test_a_full_disk_is_a_storage_error_and_earlier_results_stay(tmp_path, result, world):
    limited = resource.getrlimit(resource.RLIMIT_FSIZE)
    with RunStore.create(tmp_path, CONFIGURATION) as store:
        store.put(result)
        resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / FILE_NAME).stat().st_size + 4096, limited[1]))
        try:
            with pytest.raises(StorageError, match="finished features are kept"):
                for latent in range(100, 200):
                    store.put(replace(result, key=world.key(latent)))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limited)
        kept = store.finished()
        assert result.key in kept
        store.put(replace(result, key=world.key(500)))
    with RunStore.open(tmp_path) as store:
        assert set(store.finished()) == {*kept, world.key(500)}
        assert store.get(result.key) == result


def test_a_process_killed_while_writing_leaves_whole_rows(tmp_path):
    writer = """
import sys
from pathlib import Path
from featureinterp.experiment.result import FeatureKey, FeatureResult
from featureinterp.experiment.store import RunStore
store = RunStore.create(Path(sys.argv[1]), {"seed": 0})
start = len(store.finished())
for latent in range(start, start + 10**6):
    store.put(FeatureResult(FeatureKey("h.0.", 0, latent), "failed", reason=f"{latent} " * 20_000))
    print(latent, flush=True)
"""
    written = -1
    for _ in range(4):
        process = subprocess.Popen([sys.executable, "-c", writer, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for _ in range(5):
            written = int(process.stdout.readline())
        process.kill()
        process.communicate()
        with RunStore.open(tmp_path) as store:
            latents = [r.key.latent for r in store.results() if r.reason == f"{r.key.latent} " * 20_000]
        assert latents == list(range(len(latents)))
        assert len(latents) > written


def test_configurations_are_equal_texts_when_they_are_equal():
    assert canonical_json({"b": (1, 2), "a": None}) == '{"a":null,"b":[1,2]}'
    assert configuration_hash({"a": 1, "b": 2}) == configuration_hash({"b": 2, "a": 1})
    assert configuration_hash({"a": 1}) != configuration_hash({"a": 2})
