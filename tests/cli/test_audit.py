"""The audit of a finished run, from the command line."""

from __future__ import annotations

import asyncio
import json
from dataclasses import fields

import pytest

from featureinterp.analysis.audit.corrupted_scores import CORPUS, scores_at
from featureinterp.analysis.audit.run import audit_run
from featureinterp.analysis.audit.simulations import simulate_corpus, simulate_sample, simulate_tested
from featureinterp.core import Scores
from featureinterp.dataset.folder import DataFolder
from featureinterp.experiment.scores.corpus import Contest, WholeCorpus, sampled_scores
from featureinterp.experiment.store import RunStore
from featureinterp.scoring import ConstantZeroSimulator
from featureinterp.scoring.corruptions import CORRUPTIONS
from featureinterp.simulator.lexical import EmbeddingMemory, LexicalSimulatorFactory


@pytest.fixture(scope="module")
def explained(run):
    with RunStore.open(run) as store:
        return [result for result in store.results() if result.test_sequences]


def values(scores: Scores) -> dict[str, object]:
    found = {field.name: getattr(scores, field.name) for field in fields(Scores)}
    return {name: each if isinstance(each, int) else float(each) for name, each in found.items()}


def test_the_simulations_that_are_corrupted_have_the_scores_of_the_run(data, explained):
    folder, embeddings = DataFolder.open(data), EmbeddingMemory()
    corpus, simulators = WholeCorpus(folder, embeddings), LexicalSimulatorFactory(embeddings)
    for result in explained[:3]:
        found = [
            simulate_corpus(result, corpus, None),
            asyncio.run(simulate_sample(result, folder, None, simulators)),
            asyncio.run(simulate_tested(result, None, None)),
        ]
        for feature in found:
            of_place = {place.name: scores_at(feature, place, feature.tokens) for place in feature.places}
            exact = of_place.pop(CORPUS, None)
            if feature is found[0]:
                assert values(exact) == pytest.approx(values(result.corpus.scores), rel=1e-5, nan_ok=True)
            if feature is found[1]:
                record = folder.index_record(result.key.hook_name, result.key.latent)
                contest = Contest(
                    result.explanation, simulators(result.explanation), {"zero": ConstantZeroSimulator()}, "zero"
                )
                estimated = asyncio.run(sampled_scores(record, contest)).scores
                assert values(exact) == pytest.approx(values(estimated), rel=1e-9, nan_ok=True)
            stored = {name: scores for name, scores in result.scores.items() if scores.n_sentences}
            assert of_place.keys() == stored.keys()
            for name, scores in of_place.items():
                assert values(scores) == pytest.approx(values(stored[name]), rel=1e-9, nan_ok=True)


def test_an_audit_is_printed_and_written(cli, run, explained, tmp_path):
    printed = cli("audit", run)
    assert printed.code == 0, printed.err
    for words in ("the corpus", "same-token negatives", "false positives", "near-duplicates in two splits"):
        assert words in printed.out
    assert f"{len(explained)} explained features; {len(explained)} on the whole corpus" in " ".join(printed.out.split())
    assert cli("audit", run, "--format", "json", "--out", tmp_path / "audit.json").out == ""
    found = json.loads((tmp_path / "audit.json").read_text())
    dropped = {
        each["score"]: each
        for each in found["noticed"]
        if (each["place"], each["corruption"]) == (CORPUS, "half dropped")
    }
    assert dropped["recall"]["n"] == dropped["recall"]["n_worse"] == len(explained)
    assert found["checks"]["counts"]["explained"] == len(explained)
    assert found["checks"]["shared_documents"] == found["checks"]["leaked"] == 0


def test_without_its_data_folder_a_run_is_audited_on_its_tests(cli, run, explained, tmp_path):
    moved = tmp_path / "a" / "b" / "moved"
    moved.mkdir(parents=True)
    (moved / "run.sqlite").write_bytes((run / "run.sqlite").read_bytes())
    printed = cli("audit", moved)
    assert printed.code == 0, printed.err
    assert f"{len(explained)} on test windows only: the run's data folder" in " ".join(printed.out.split())
    assert "\nthe corpus" not in printed.out
    assert "unknown: the data folder has the documents" in " ".join(printed.out.split())
    told = cli("audit", moved, "--data", tmp_path)
    assert told.code == 2
    assert "has no manifest" in told.err and "audit RUN --data FOLDER" in told.err
    found = audit_run(moved, None, "cpu", lambda done, total: None)
    assert (found.n_exact, found.n_sampled, found.n_features) == (0, 0, len(explained))


def test_a_simulator_that_cannot_be_had_leaves_the_stored_test(data, run, explained, tmp_path):
    with RunStore.open(run) as store:
        about = store.about()
    configuration = json.loads(about["configuration"])
    configuration["method"]["simulator"] = "no_such_module:simulator"
    with RunStore.create(tmp_path, configuration, {"data folder": str(data)}) as store:
        store.put(explained[0], shuffled_with=explained[1].key.latent)
        store.put(explained[1])
    found = audit_run(tmp_path, None, "cpu", lambda done, total: None)
    [(why, n)] = found.without_corpus.items()
    assert "no_such_module" in why and n == found.n_features == 2
    assert {each.corruption for each in found.noticed} <= {*CORRUPTIONS}
    assert found.checks.shared_documents == 0


def test_a_table_goes_to_no_file(cli, run, tmp_path):
    told = cli("audit", run, "--out", tmp_path / "x.json")
    assert told.code == 2 and "--format json" in told.err
