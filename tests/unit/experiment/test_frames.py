from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from featureinterp.analysis.frames import read_attempts, read_missing, read_scores
from featureinterp.analysis.runs import list_runs
from featureinterp.core import Attempt, Proposal, Score
from featureinterp.errors import DataFolderError
from featureinterp.experiment.result import CorpusScores, FeatureResult
from featureinterp.experiment.run import FeatureRunParams, explain_feature
from featureinterp.experiment.store import RunStore

SOURCES = ["random", "random_negative", "similar", "similar_negative", "same_token_negative"]
METHOD = {
    "explainer": "tree", "proposer": "lexical", "simulator": "lexical", "structured": True, "holistic": False,
    "rule_cap": 3,
}  # fmt: skip


def write_run(folder: Path, results: list[FeatureResult], waiting=(), **about: str) -> None:
    configuration = {"method": METHOD, "records": {"train_sources": []}, "seed": 0}
    with RunStore.create(folder, configuration, {"model": "org/model", "corpus": "wiki.txt", **about}) as store:
        store.ask([*(result.key for result in results), *waiting])
        for result in results:
            store.put(result)


@pytest.fixture
def explained(world) -> FeatureResult:
    key = world.key(1)
    made = asyncio.run(explain_feature(world.make_record(1), key, world.method(), FeatureRunParams()))
    scores = dict(made.scores)
    scores["random"] = replace(scores["random"], correlation=Score.undefined("the truth is constant"))
    attempts = (*made.attempts, Attempt(1, 0, 1, Proposal(None, failure="not JSON"), test_score=None))
    corpus = CorpusScores(made.scores["similar"], is_exact=True, tables={}, margin=Score(0.25, 0.125, 0.375))
    return replace(made, scores=scores, attempts=attempts, complexity=1.5, corpus=corpus)


@pytest.fixture
def experiment(world, explained, tmp_path) -> Path:
    named = {"experiment": "complementary", "subject": "wiki_model", "n_layers": "5"}
    dead = FeatureResult(world.key(6), "dead", "never fires")
    write_run(tmp_path / "e" / "wiki_model" / "tree", [explained, dead], [world.key(3)], variant="tree", **named)
    write_run(tmp_path / "e" / "wiki_model" / "one-shot", [explained], variant="one-shot", **named)
    return tmp_path / "e"


def test_a_feature_has_a_row_for_each_source_with_the_numbers_of_its_result(experiment, explained):
    frame = read_scores(experiment / "wiki_model" / "tree")
    rows = frame[frame.latent == 1].set_index("source")
    assert list(rows.index) == SOURCES
    for source, scores in explained.scores.items():
        row = rows.loc[source]
        for name in ("r_squared", "auroc", "precision", "recall", "f1", "false_positives_per_sentence"):
            assert row[name] == getattr(scores, name).value
        assert row.floor_token_lookup == explained.floors["token_lookup"][source].value
        assert (row.n_sentences, row.n_complementary) == (scores.n_sentences, scores.n_complementary)
    judged = explained.scores["similar_negative"].correlation
    assert tuple(rows.loc["similar_negative", ["correlation", "ci_low", "ci_high", "undefined"]]) == (
        judged.value, judged.ci_low, judged.ci_high, "",
    )  # fmt: skip
    assert math.isnan(rows.loc["random", "correlation"])
    assert rows.loc["random", "undefined"] == "the truth is constant"
    first = rows.iloc[0]
    assert (first.experiment, first.subject, first.variant, first.model) == (
        "complementary", "wiki_model", "tree", "org/model",
    )  # fmt: skip
    assert (first.explainer, first.proposer, first.simulator, first.rule_cap) == ("tree", "lexical", "lexical", 3)
    assert (first.structured, first.holistic, first.train_negatives) == (True, False, False)
    assert (first.layer, first.n_layers, first.relative_depth) == (1, 5, 0.25)
    assert (first.n_rules, first.complexity, first.n_attempts, first.n_failed_attempts) == (1, 1.5, 2, 1)


def test_every_row_of_a_feature_holds_its_verdict_and_its_scores_on_the_corpus(experiment, explained):
    frame = read_scores(experiment / "wiki_model" / "tree")
    rows = frame[frame.latent == 1].set_index("source")
    assert set(rows.verdict) == {"beats its baselines"}
    assert set(rows.best_table) == {explained.best_table}
    assert set(rows.corpus_correlation) == {explained.corpus.scores.correlation.value}
    for name, value in (("corpus_margin", 0.25), ("corpus_margin_ci_low", 0.125), ("corpus_margin_ci_high", 0.375)):
        assert set(rows[name]) == {value}
    for source, margin in explained.margins.items():
        assert rows.loc[source, "margin"] == margin.correlation.value
        assert rows.loc[source, "false_positives_margin"] == margin.false_positives_per_sentence.value
        for floor in ("token_lookup", "short_lookup", "back_off"):
            assert rows.loc[source, f"floor_{floor}"] == explained.floors[floor][source].value


def test_a_run_from_before_the_corpus_was_scored_has_no_numbers_of_it(explained, tmp_path):
    write_run(tmp_path / "old", [replace(explained, corpus=None, best_table="", margins={})])
    frame = read_scores(tmp_path / "old")
    assert set(frame.verdict) == {"untested (it was not scored on the corpus)"}
    assert frame[["corpus_correlation", "corpus_margin", "margin", "false_positives_margin"]].isna().all(axis=None)


def test_a_feature_without_explanation_has_its_rows_too(experiment):
    frame = read_scores(experiment)
    rows = frame[frame.latent == 6]
    assert list(rows.source) == SOURCES
    assert set(rows.status) == {"dead"}
    assert set(rows.reason) == {"never fires"}
    assert rows[["correlation", "auroc", "n_rules", "complexity", "floor_shuffled"]].isna().all(axis=None)


def test_an_experiment_is_all_runs_below_its_folder_in_the_order_of_their_paths(experiment):
    assert list(read_scores(experiment).variant.unique()) == ["one-shot", "tree"]
    assert [head.path.name for head in list_runs(experiment)] == ["one-shot", "tree"]


def test_attempts_are_rows_with_the_reason_of_a_failure(experiment, explained):
    rows = read_attempts(experiment / "wiki_model" / "one-shot")
    assert list(rows.number) == [0, 1]
    assert list(rows.chosen) == [True, False]
    assert list(rows.failure) == ["", "not JSON"]
    assert list(rows.parent.isna()) == [True, False]
    assert rows.train_score[0] == explained.attempts[0].train_score
    assert math.isnan(rows.train_score[1])
    assert rows.test_score.isna().all()


def test_what_is_missing_is_counted_by_run(experiment):
    assert read_missing(experiment).to_dict("records") == [
        {"experiment": "complementary", "subject": "wiki_model", "variant": variant, "asked": asked,
         "finished": finished, "explained": 1, "failed": 0, "rare": 0, "dead": dead}
        for variant, asked, finished, dead in (("one-shot", 1, 1, 0), ("tree", 3, 2, 1))
    ]  # fmt: skip


def test_a_run_that_is_part_of_no_experiment_is_named_by_its_folder_and_its_data(explained, tmp_path):
    write_run(tmp_path / "mine", [explained])
    row = read_scores(tmp_path / "mine").iloc[0]
    assert (row.experiment, row.subject, row.variant) == ("", "wiki_model", "mine")
    assert pd.isna(row.n_layers)
    assert pd.isna(row.relative_depth)


def test_a_run_without_results_has_the_same_columns_and_types(experiment, tmp_path):
    write_run(tmp_path / "begun", [])
    for read in (read_scores, read_attempts):
        empty = read(tmp_path / "begun")
        assert len(empty) == 0
        assert empty.dtypes.equals(read(experiment).dtypes)


def test_a_folder_without_runs_is_told(tmp_path):
    with pytest.raises(DataFolderError, match="there is no run in"):
        read_scores(tmp_path)
