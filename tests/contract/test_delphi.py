"""Delphi's files against delphi's own code: what it writes is read as it reads it, and can be explained and scored."""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
import sys
from pathlib import Path

import delphi
import numpy as np
import orjson
import pytest
from delphi.latents.loader import TensorBuffer
from delphi.log.result_analysis import compute_classification_metrics, compute_confusion, load_data
from safetensors.numpy import load_file, save_file

from featureinterp.core import StructuredExplanation
from featureinterp.dataset.folder import DataFolder
from featureinterp.dataset.spec import DataSpec
from featureinterp.errors import DataFolderError, FeatureInterpError
from featureinterp.interop.delphi.latent_cache import LatentCache
from featureinterp.interop.delphi.results import read_classification, read_explanations, read_simulations
from featureinterp.interop.importing import import_data
from featureinterp.record import ComplementaryRecordSource, RecordSliceParams
from featureinterp.scoring import simulate_and_score
from featureinterp.simulator import LexicalSimulatorFactory
from featureinterp.stats import pearson
from tests.cli.tiny import run_command
from tests.contract.delphi_results import CONTEXT, LATENTS, Made, make_results


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Made:
    return make_results(tmp_path_factory.mktemp("delphi") / "results")


@pytest.fixture(scope="module")
def imported(made, tmp_path_factory) -> DataFolder:
    folder = tmp_path_factory.mktemp("imported") / "data"
    # The cache has 190 windows: 90 positives would leave no silent document.
    import_data(made.folder, folder, DataSpec(top_sample_n=30, complementary_sample_n=30))
    return DataFolder.open(folder)


def test_a_cache_is_read_as_delphi_reads_it_and_as_hugging_face_computes_it(made):
    cache = LatentCache.open(made.folder / "latents" / made.hookpoint)
    assert (len(cache.files), cache.n_latents) == (3, LATENTS)
    np.testing.assert_array_equal(cache.tokens, made.tokens)
    whole = np.zeros_like(made.activations)
    for file in cache.files:
        where, values = file.entries(cache.tokens.shape)
        whole[tuple(where.T)] = values
        locations, theirs, tokens = TensorBuffer(str(file.path), made.hookpoint).load()
        assert sorted(map(tuple, where.tolist())) == sorted(map(tuple, locations.tolist()))
        assert sorted(values.tolist()) == sorted(theirs.tolist())
        np.testing.assert_array_equal(cache.tokens, tokens)
    np.testing.assert_allclose(whole, made.activations, rtol=2e-3, atol=2e-4)
    assert (whole > 0).mean() > 0.01


def test_rows_become_windows_that_hold_the_same_activations(made, imported):
    windows, activations = imported.windows(), imported.activations(made.hookpoint)
    assert windows.tokens.shape == (2 * len(made.tokens) - 2, 32)  # one holds a special token, one is there twice
    assert set(range(len(made.tokens))) - set(windows.documents.tolist()) == set()
    counts = imported.corpus_counts()
    assert (counts["documents"], counts["special"], counts["duplicates"]) == (len(made.tokens), 1, 1)
    dropped = {(3, 0), (5, 0)}
    places = [
        (row, part) for row in range(len(made.tokens)) for part in range(CONTEXT // 32) if (row, part) not in dropped
    ]
    for latent in range(LATENTS):
        truth = np.stack([made.activations[row, part * 32 : part * 32 + 32, latent] for row, part in places])
        np.testing.assert_allclose(activations.dense(latent, range(len(windows))), truth, rtol=2e-3, atol=2e-4)
    np.testing.assert_array_equal(
        windows.tokens, [made.tokens[row, part * 32 : part * 32 + 32] for row, part in places]
    )


def test_records_share_no_row_between_splits_and_similar_windows_are_silent(made, imported):
    reports = imported.latent_report(made.hookpoint)
    assert reports[LATENTS - 1].status == "dead"
    documents = imported.windows().documents
    latent = next(n for n, report in reports.items() if report.status == "ok")
    record = imported.index_record(made.hookpoint, latent)
    assert len(record.similar_no_act_records) > 10
    assert not any(one.is_active for one in record.similar_no_act_records)
    params = RecordSliceParams(complementary_record_source=ComplementaryRecordSource.SIMILAR_NEGATIVE)
    train, test = (
        {documents[one.dataset_index] for one in part(params)} for part in (record.train_records, record.test_records)
    )
    assert not train & test
    text = "".join(token for one in record.most_act_records for token in one.tokens)
    assert " the " in text


def test_a_delphi_explanation_is_scored_on_our_held_out_negatives(made, imported, tmp_path):
    latent = next(n for n, report in imported.latent_report(made.hookpoint).items() if report.status == "ok")
    record = imported.index_record(made.hookpoint, latent)
    top = max(record.test_records(), key=lambda one: max(one.expressions))
    words = f"the token '{top.tokens[top.expressions.index(max(top.expressions))]}'"
    name = f"{made.hookpoint}_latent"
    (tmp_path / f"{name}{latent}.txt").write_bytes(orjson.dumps(words))
    (tmp_path / f"{name}{latent + 1}.txt").write_bytes(orjson.dumps("Explanation could not be parsed."))
    found = read_explanations(tmp_path)
    assert found == {(made.hookpoint, latent): StructuredExplanation.from_text(words)}
    params = RecordSliceParams(complementary_record_source=ComplementaryRecordSource.SIMILAR_NEGATIVE)
    tested = record.test_records(params)
    simulator = LexicalSimulatorFactory()(found[made.hookpoint, latent])
    scored = asyncio.run(simulate_and_score(simulator, tested))
    expected = [level for one in scored.sequences for level in one.simulation.expected_activations]
    true = [value for one in tested for value in one.expressions]
    assert scored.scores.n_complementary == sum(one.source is not None for one in tested) > 3
    assert any(expected)
    assert scored.get_preferred_score() == pytest.approx(pearson(true, expected))


def test_the_command_makes_a_folder_that_can_be_explained(made, tmp_path):
    source = tmp_path / "results"
    shutil.copytree(made.folder, source)
    (source / "explanations").mkdir()
    for latent in (0, 4):
        (source / "explanations" / f"{made.hookpoint}_latent{latent}.txt").write_bytes(orjson.dumps("words"))
    told = run_command("import", source, "--out", tmp_path / "data")
    assert told.code == 0, told.err
    assert DataFolder.open(tmp_path / "data").selected == {made.hookpoint: (0, 4)}
    told = run_command("explain", tmp_path / "data", "--out", tmp_path / "run")
    assert told.code == 0, told.err
    twice = tmp_path / "twice"
    import_data(source, twice)
    for path in (p for p in twice.rglob("*") if p.is_file()):
        assert path.read_bytes() == (tmp_path / "data" / path.relative_to(twice)).read_bytes(), path


def of_delphi(name: str):
    """A module of delphi's simulator by its path: its package asks for vllm."""
    path = Path(delphi.__file__).parent / "scorers" / "simulator" / "simulation" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"delphi_simulation_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_scored_simulations_are_read_as_delphi_writes_them(tmp_path):
    types = of_delphi("types")
    one = types.SimulationResult([" a", " b"], [0.0, 10.0], [0, 8], 1.0, 3)
    flat = types.SimulationResult([" c", " d"], [0.0, 0.0], [0, 0], float("nan"), -1)
    aggregates = [types.AggregateResult(-1, 0.75, 2, [one, flat]), types.AggregateResult(3, float("nan"), 1, [flat])]
    path = tmp_path / "layers.1_latent5.txt"
    path.write_bytes(orjson.dumps(types.convert_to_legacy_format(aggregates)))
    assert b'"nan"' in path.read_bytes()
    found = read_simulations(path)
    assert set(found) == {0, 4}
    assert found[0].get_preferred_score() == 0.75
    assert found[4].scores.correlation.value is None
    first, second = found[0].sequences
    assert first.simulation.expected_activations == (0.0, 5.0)
    assert first.record.expressions == (0.0, 8.0)
    assert pearson(first.record.expressions, first.simulation.expected_activations) == 1.0
    assert not second.record.is_active
    assert found[0].scores.n_complementary == 1
    assert found[0].scores.r_squared.value is None


def example(activating: bool, prediction: bool | None, distance: int) -> dict:
    return {
        "str_tokens": [" a", " b"],
        "activations": [0.0, 1.0 * activating],
        "distance": distance,
        "activating": activating,
        "prediction": prediction,
        "probability": None if prediction is None else float(prediction) * 0.9,
        "correct": None if prediction is None else prediction == activating,
    }


def test_classifications_are_counted_as_delphi_counts_them(tmp_path):
    rows = [example(True, answer, 1) for answer in (True, True, False, None)]
    rows += [example(False, answer, -1) for answer in (False, True, False, False, None)]
    path = tmp_path / "scores" / "fuzz" / "layers.1_latent5.txt"
    path.parent.mkdir(parents=True)
    path.write_bytes(orjson.dumps(rows))
    frame, _ = load_data(tmp_path / "scores", ["layers.1"])
    theirs = compute_classification_metrics(compute_confusion(frame))
    ours = read_classification(path)
    assert len(ours.examples) == len(frame) == 9
    assert ["".join(one.str_tokens) for one in ours.examples] == frame["text"].tolist()
    assert [one.distance for one in ours.examples] == frame["distance"].tolist()
    for name, value in (
        ("precision", ours.precision), ("recall", ours.recall), ("f1_score", ours.f1),
        ("accuracy", ours.balanced_accuracy),
    ):  # fmt: skip
        assert value == pytest.approx(theirs[name]), name
    with pytest.raises(DataFolderError, match="missing required field `scored_sequence_simulations`"):
        read_simulations(path)


def spoil_tokens(arrays):
    del arrays["tokens"]


def spoil_rows(arrays):
    arrays["locations"][0, 0] = 60_000


def spoil_latents(arrays):
    arrays["locations"][0, 2] = 4


def spoil_activations(arrays):
    arrays["activations"][0] = np.nan


def spoil_shapes(arrays):
    arrays["activations"] = arrays["activations"][1:]


def spoil_names(arrays):
    arrays["places"] = arrays.pop("locations")


def spoil_vocabulary(arrays):
    arrays["tokens"][0, 0] = 2**40


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (spoil_tokens, "holds no tokens: an older delphi wrote it"),
        (spoil_rows, "activation at row 60000, of which there are 96"),
        (spoil_latents, "activation at latent 4, of which there are 4"),
        (spoil_activations, "NaN or infinite"),
        (spoil_shapes, "expected integers [N, 3] and numbers [N]"),
        (spoil_names, "holds no locations"),
        (spoil_vocabulary, "has token ids from"),
    ],
)
def test_a_spoilt_cache_is_one_sentence_and_leaves_nothing(made, tmp_path, spoil, told):
    shutil.copytree(made.folder, tmp_path / "results")
    for path in (tmp_path / "results" / "latents" / made.hookpoint).glob("*.safetensors"):
        arrays = {name: array.copy() for name, array in load_file(path).items()}
        spoil(arrays)
        save_file(arrays, path)
    with pytest.raises(DataFolderError) as caught:
        import_data(tmp_path / "results", tmp_path / "data")
    assert told in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("config.json", b"{}", "missing required field `model_name`"),
        ("config.json", b'{"model_name": "/nowhere/at/all"}', "/nowhere/at/all"),
        ("0_3.safetensors", b"\xff" * 40, "cannot be read"),
        ("0_3.safetensors", b"", "cannot be read"),
        ("0_30.safetensors", None, "hold the same latents"),
        ("9_5.safetensors", None, "has an invalid range of latents"),
        ("../../explanations/x.txt", b'"words"', "does not follow delphi's naming"),
        ("../../explanations/HOOK_latent99.txt", b'"words"', "latents 0 to 11 (explanations and cache belong"),
    ],
)
def test_a_spoilt_file_is_one_sentence_and_leaves_nothing(made, tmp_path, name, content, told):
    shutil.copytree(made.folder, tmp_path / "results")
    place = tmp_path / "results" / "latents" / made.hookpoint
    path = place / name.replace("HOOK", made.hookpoint)
    path.resolve().parent.mkdir(exist_ok=True)
    path.write_bytes((place / "0_3.safetensors").read_bytes() if content is None else content)
    with pytest.raises(FeatureInterpError) as caught:
        import_data(tmp_path / "results", tmp_path / "data")
    assert told in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["results"]
