from __future__ import annotations

import asyncio
import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from featureinterp.analysis.rows import csv_lines, json_lines, result_row, result_rows, write_parquet
from featureinterp.core import Score
from featureinterp.experiment.result import CorpusScores, FeatureResult
from featureinterp.experiment.run import FeatureRunParams, explain_feature
from featureinterp.experiment.store import RunStore


@pytest.fixture
def result(world) -> FeatureResult:
    key = world.key(1)
    made = asyncio.run(explain_feature(world.make_record(1), key, world.method(), FeatureRunParams()))
    scores = dict(made.scores)
    scores["random"] = replace(scores["random"], precision=Score.undefined("no token is claimed"))
    corpus = CorpusScores(made.scores["random"], is_exact=True, tables={}, margin=Score(0.25, 0.125, 0.375))
    floors = {**made.floors, "shuffled": {"random": Score.undefined("alone")}}
    return replace(made, scores=scores, floors=floors, corpus=corpus)


def test_a_row_is_json_with_undefined_numbers_as_null_beside_their_reason(result):
    row = json.loads(next(json_lines([result_row(result)])))
    assert (row["hook_name"], row["layer"], row["latent"]) == ("blocks.1.hook_resid_post", 1, 1)
    assert (row["status"], row["reason"], row["explainer"]) == ("explained", "", "scripted")
    assert row["explanation"] == [{"activates_on": " dog", "strength": 5}]
    scores, truth = row["scores"]["random"], result.scores["random"]
    assert scores["correlation"] == truth.correlation.value
    assert (scores["ci_low"], scores["ci_high"]) == (truth.correlation.ci_low, truth.correlation.ci_high)
    assert scores["false_positives_per_sentence"] == truth.false_positives_per_sentence.value
    assert (scores["n_sentences"], scores["n_complementary"]) == (5, 2)
    assert scores["precision"] is None
    assert scores["undefined"] == {"precision": "no token is claimed"}
    assert row["floors"]["token_lookup"]["random"]["correlation"] == result.floors["token_lookup"]["random"].value
    assert row["floors"]["shuffled"]["random"] == {
        "correlation": None, "ci_low": None, "ci_high": None, "undefined": {"correlation": "alone"},
    }  # fmt: skip
    assert list(row)[-1] == "seconds"


def test_a_row_holds_the_verdict_and_the_scores_on_the_corpus(result):
    row: Any = json.loads(next(json_lines([result_row(result)])))
    truth = result.corpus.scores
    assert row["verdict"] == "beats its baselines"
    assert row["corpus"]["margin"] == {"correlation": 0.25, "ci_low": 0.125, "ci_high": 0.375}
    assert row["corpus"]["is_exact"] is True
    assert (row["corpus"]["correlation"], row["corpus"]["ci_low"], row["corpus"]["ci_high"]) == (
        truth.correlation.value, truth.correlation.ci_low, truth.correlation.ci_high,
    )  # fmt: skip
    for name in ("precision", "recall", "f1", "false_positives_per_sentence"):
        assert row["corpus"][name] == getattr(truth, name).value


def test_a_row_holds_every_baseline_and_the_margins_over_the_best_table(result):
    row: Any = json.loads(next(json_lines([result_row(result)])))
    assert row["best_table"] in ("token_lookup", "short_lookup", "back_off")
    assert set(row["floors"]) == {"token_lookup", "short_lookup", "back_off", "constant_zero", "shuffled"}
    assert set(row["margins"]) == set(row["scores"])
    for source, margin in row["margins"].items():
        best = row["floors"][row["best_table"]][source]["correlation"]
        assert margin["correlation"] == pytest.approx(row["scores"][source]["correlation"] - best)
    [cells] = csv.DictReader(io.StringIO("\n".join(csv_lines([row]))))
    for name in row["floors"]:
        assert f"floors.{name}.same_token_negative.correlation" in cells
    margin = row["margins"]["same_token_negative"]
    assert cells["margins.same_token_negative.correlation"] == str(margin["correlation"])
    assert cells["margins.same_token_negative.false_positives_per_sentence"] == str(
        margin["false_positives_per_sentence"]
    )


def test_a_run_from_before_the_corpus_was_scored_has_nulls_and_is_untested(result):
    old = replace(result, corpus=None, best_table="", margins={})
    row = json.loads(next(json_lines([result_row(old)])))
    assert row["verdict"] == "untested (it was not scored on the corpus)"
    assert (row["corpus"], row["best_table"], row["margins"]) == (None, None, {})
    [cells] = csv.DictReader(io.StringIO("\n".join(csv_lines([row]))))
    assert cells["corpus.correlation"] == cells["corpus.is_exact"] == cells["best_table"] == ""


def test_a_feature_without_explanation_is_a_row_too(world):
    row = result_row(FeatureResult(world.key(6), "dead", "never fires"))
    assert (row["status"], row["reason"], row["explanation"], row["scores"]) == ("dead", "never fires", None, {})


def test_csv_holds_the_same_numbers_and_the_same_columns_for_every_result(result, world):
    dead = FeatureResult(world.key(6), "dead", 'says "no", never')
    text = "\n".join(csv_lines(map(result_row, [result, dead])))
    first, second = csv.DictReader(io.StringIO(text))
    row = result_row(result)
    assert set(first) == set(second)
    assert None not in first.values()
    assert json.loads(first["explanation"]) == row["explanation"]
    for source, scores in row["scores"].items():
        for name, value in scores.items():
            if name != "undefined":
                assert first[f"scores.{source}.{name}"] == ("" if value is None else str(value))
    floors: Any = row["floors"]
    assert first["floors.token_lookup.similar.ci_low"] == str(floors["token_lookup"]["similar"]["ci_low"])
    assert second["reason"] == 'says "no", never'
    assert second["scores.random.correlation"] == second["explanation"] == ""


@pytest.fixture
def runs(result, world, tmp_path) -> Path:
    """Two runs of an experiment: the second has a feature that never fires, too."""
    dead = FeatureResult(world.key(6), "dead", 'says "no", never')
    for variant, results in (("one-shot", [result]), ("tree", [result, dead])):
        about = {"experiment": "mine", "subject": "wiki_model", "variant": variant}
        with RunStore.create(tmp_path / "wiki_model" / variant, {"seed": 0}, about) as store:
            for each in results:
                store.put(each)
    return tmp_path


def test_parquet_holds_what_the_csv_holds_and_opens_in_one_call(runs, tmp_path):
    rows = list(result_rows(runs))
    write_parquet(rows, tmp_path / "out" / "all.parquet")
    frame = pd.read_parquet(tmp_path / "out" / "all.parquet")
    text = pd.read_csv(io.StringIO("\n".join(csv_lines(rows))), keep_default_na=False, na_values=[""], dtype=str)
    assert list(frame.columns) == list(text.columns)
    assert list(frame.variant) == ["one-shot", "tree", "tree"]
    for column in frame:
        for value, cell in zip(frame[column], text[column], strict=True):
            if pd.isna(cell):
                assert pd.isna(value) or value == ""
            elif isinstance(value, (str, bool)):
                assert str(value) == cell
            else:
                assert value == float(cell)
    assert {str(frame[name].dtype) for name in ("layer", "latent", "usage.requests")} == {"int64"}
    assert json.loads(frame.explanation[0]) == rows[0]["explanation"]
    assert frame["scores.random.precision"].isna().all()


def test_rows_of_one_run_have_no_names_of_runs_and_those_of_many_begin_with_them(runs):
    assert list(next(result_rows(runs)))[:4] == ["experiment", "subject", "variant", "hook_name"]
    assert list(next(result_rows(runs / "wiki_model" / "tree")))[0] == "hook_name"
    assert [row["latent"] for row in result_rows(runs)] == [1, 1, 6]


def test_no_rows_make_a_table_with_the_same_columns(tmp_path):
    write_parquet([], tmp_path / "none.parquet")
    frame = pd.read_parquet(tmp_path / "none.parquet")
    assert len(frame) == 0
    assert list(frame.columns) == next(csv_lines([])).split(",")
