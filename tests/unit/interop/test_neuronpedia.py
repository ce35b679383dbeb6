"""A run as Neuronpedia imports it: read back with gzip and json alone."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest

from featureinterp.core import Rule, StructuredExplanation
from featureinterp.errors import InputError, StorageError
from featureinterp.experiment.result import FeatureKey
from featureinterp.experiment.store import RunStore
from featureinterp.interop import neuronpedia
from featureinterp.interop.neuronpedia import Source, activation_rows, explanation_rows, feature_row, write_neuronpedia
from tests.report.features import HOSTILE_TOKENS, LONG_TOKEN, explained, hostile, record, without_explanation

ABOUT = {"model": "google/gemma-2-2b-it", "SAE": "../../etc/<b>\0", "corpus": "wiki</script>"}
SOURCE = Source("gpt2", "res", "demo", 3, "", "2026-01-01T00:00:00+00:00", "someone", "hash")


@pytest.fixture
def store(tmp_path: Path):
    with RunStore.create(tmp_path / "run", {"seed": 0}, ABOUT) as opened:
        for result in (explained(0, 3, 0.9), explained(0, 12, 0.3), without_explanation(1, 4, "dead", "never fires")):
            opened.put(result)
        yield opened


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).decode().split("\n") if line]


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_folder_is_the_one_that_is_imported_and_its_rows_name_each_other(store, tmp_path):
    assert write_neuronpedia(store, tmp_path / "out", "someone") == 3
    sources = sorted((tmp_path / "out").glob("*/*"))
    assert [path.relative_to(tmp_path / "out").as_posix() for path in sources] == [
        "gemma-2-2b-it/0-b", "gemma-2-2b-it/1-b",
    ]  # fmt: skip
    for path in sources:
        about = {p.stem: json.loads(p.read_text()) for p in path.glob("*.jsonl")}
        assert set(about) == {"release", "model", "sourceset", "source"}
        assert about["model"]["id"] == about["sourceset"]["modelId"] == about["source"]["modelId"] == path.parent.name
        assert about["model"]["instruct"]
        assert about["source"]["setName"] == about["sourceset"]["name"] == "b"
        assert about["sourceset"]["releaseName"] == about["release"]["name"] == "run"
        assert about["source"]["dataset"] == "wiki</script>"
        for table in ("features", "activations", "explanations"):
            for row in lines(path / table / "batch-0.jsonl.gz"):
                assert (row["modelId"], row["layer"]) == (path.parent.name, path.name)
                assert row.get("creatorId", row.get("authorId")) == "someone"
    assert [row["index"] for row in lines(sources[0] / "features/batch-0.jsonl.gz")] == ["3", "12"]
    assert [row["index"] for row in lines(sources[1] / "features/batch-0.jsonl.gz")] == ["4"]
    assert lines(sources[1] / "activations/batch-0.jsonl.gz") == []


def test_activations_are_the_positives_once_each_the_most_active_first(store, tmp_path):
    write_neuronpedia(store, tmp_path / "out")
    rows = lines(tmp_path / "out/gemma-2-2b-it/0-b/activations/batch-0.jsonl.gz")
    of_3 = [row for row in rows if row["index"] == "3"]
    assert [(row["dataIndex"], row["maxValue"], row["maxValueTokenIndex"]) for row in of_3] == [
        ("1", 10.0, 1), ("9", 9.0, 0), ("2", 8.0, 0),
    ]  # fmt: skip
    assert of_3[0]["tokens"] == ["we", " raise", " it"]
    assert of_3[0]["values"] == [0.0, 10.0, 0.0]
    assert of_3[0]["minValue"] == 0.0
    assert len({row["id"] for row in rows}) == len(rows)


def test_equal_runs_give_equal_bytes_and_another_runs_rows_have_other_ids(store, tmp_path):
    for name in ("a", "b"):
        write_neuronpedia(store, tmp_path / name)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    ids = [
        row["id"] for s in (SOURCE, replace(SOURCE, run="other")) for row in activation_rows(explained(3, 1, 0.5), s)
    ]
    assert len(set(ids)) == len(ids) == 6


def test_batches_hold_so_many_features_and_no_more(store, tmp_path, monkeypatch):
    monkeypatch.setattr(neuronpedia, "BATCH", 1)
    write_neuronpedia(store, tmp_path / "out")
    place = tmp_path / "out/gemma-2-2b-it/0-b"
    assert [row["index"] for n in (0, 1) for row in lines(place / f"features/batch-{n}.jsonl.gz")] == ["3", "12"]
    assert not (place / "features/batch-2.jsonl.gz").exists()


def test_two_saes_of_a_layer_are_two_sources(store, tmp_path):
    for hook in ("blocks.0/../../mlp", "blocks.0.../mlp"):
        store.put(replace(explained(0, 3, 0.5), key=FeatureKey(hook, 0, 3)))
    assert write_neuronpedia(store, tmp_path / "out") == 5
    names = {path.name for path in (tmp_path / "out/gemma-2-2b-it").iterdir()}
    assert names == {"0-b__blocks.0.hook_resid_post", "0-b__blocks.0-..-..-mlp", "0-b__blocks.0...-mlp", "1-b"}


def test_hostile_text_stays_text_and_what_a_database_cannot_hold_goes():
    result = hostile()
    (row,) = activation_rows(result, SOURCE)
    written = [json.loads(neuronpedia.json_line(each)) for each in (row, feature_row(result, SOURCE))]
    expected = [t.replace("\0", " ").replace("\ud83d", "\ufffd") for t in HOSTILE_TOKENS]
    assert written[0]["tokens"] == expected
    long = StructuredExplanation((Rule("".join(HOSTILE_TOKENS), 3),))
    (explanation,) = explanation_rows(replace(result, explanation=long), SOURCE)
    encoded = neuronpedia.json_line(explanation)
    assert b"\\u0000" not in encoded + neuronpedia.json_line(row) + neuronpedia.json_line(feature_row(result, SOURCE))
    assert encoded.count(b"\n") == 1
    assert len(json.loads(encoded)["description"]) == 512
    assert LONG_TOKEN in json.loads(encoded)["notes"]


def test_the_profile_fills_the_columns_that_saedashboard_fills():
    row = feature_row(explained(0, 3, 0.5), SOURCE)
    assert row["frac_nonzero"] == (sum(range(1, 41)) + 1) / 100_000
    assert (row["pos_str"][0], row["pos_values"][0], row["neg_str"][0], row["neg_values"][0]) == (
        " up0", 2.0, " down0", -2.0,
    )  # fmt: skip
    assert [len(row[name]) for name in ("pos_str", "pos_values", "neg_str", "neg_values")] == [10] * 4
    assert row["freq_hist_data_bar_heights"] == [*range(40, 0, -1), *(0,) * 9, 1]
    assert row["freq_hist_data_bar_values"][:2] == [0.1, 0.3]
    assert row["freq_hist_data_bar_values"][-1] == 9.9
    unprofiled = feature_row(without_explanation(1, 4, "dead", "never fires"), SOURCE)
    assert (unprofiled["frac_nonzero"], unprofiled["pos_str"], unprofiled["freq_hist_data_bar_heights"]) == (0, [], [])


def test_limits_of_length():
    n = 3000
    window = record(tuple(map(str, range(n))), (*(0.0,) * 2500, 7.0, *(0.0,) * 499), 1)
    (row,) = activation_rows(replace(explained(0, 1, 0.5), test_sequences=(), train_positives=(window,)), SOURCE)
    assert len(row["tokens"]) == len(row["values"]) == 1024
    assert row["tokens"][row["maxValueTokenIndex"]] == "2500"
    assert (row["tokens"][0], row["tokens"][-1]) == ("1976", "2999")


@pytest.mark.parametrize(
    ("rules", "words"),
    [((Rule("cats", 5),), "cats"), ((Rule("cats", 5), Rule("dogs", 2)), "cats (5 of 5); dogs (2 of 5)")],
)
def test_an_explanation_is_one_line(rules, words):
    (row,) = explanation_rows(replace(explained(0, 1, 0.5), explanation=StructuredExplanation(rules)), SOURCE)
    assert row["description"] == words
    assert "correlation with similar_negative 0.500 [0.400, 0.600]" in row["notes"]


def test_what_is_there_is_not_written_over_and_what_fails_leaves_nothing(store, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    write_neuronpedia(store, tmp_path / "out")
    before = contents(tmp_path / "out")
    with pytest.raises(InputError, match="already exists"):
        write_neuronpedia(store, tmp_path / "out")
    assert contents(tmp_path / "out") == before

    def full(rows):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(neuronpedia, "gzip_lines", full)
    with pytest.raises(StorageError, match="No space left"):
        write_neuronpedia(store, tmp_path / "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "run"]
