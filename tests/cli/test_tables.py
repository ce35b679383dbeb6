"""Results as files, and two runs compared, from the command line."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pandas as pd
import pytest

from featureinterp.analysis.frames import read_scores
from featureinterp.analysis.run_pair import compare_runs
from featureinterp.experiment.store import RunStore


@pytest.fixture(scope="module")
def one_shot(cli, data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("compared") / "one-shot"
    assert cli("explain", data, "--out", folder, "--explainer", "one-shot", "--rule-cap", 1).code == 0
    return folder


def test_results_go_to_files_of_every_format(cli, run, tmp_path):
    for name in ("jsonl", "csv", "parquet"):
        made = cli("results", run, "--format", name, "--out", tmp_path / f"all.{name}")
        assert made.code == 0, made.err
        assert made.out == ""
    printed = cli("results", run, "--format", "jsonl").out
    assert (tmp_path / "all.jsonl").read_text() == printed
    assert (tmp_path / "all.csv").read_text() == cli("results", run, "--format", "csv").out
    frame = pd.read_parquet(tmp_path / "all.parquet")
    rows = [json.loads(line) for line in printed.splitlines()]
    assert list(frame.latent) == [row["latent"] for row in rows]
    wanted = [row["scores"].get("similar", {}).get("auroc") for row in rows]
    assert frame["scores.similar.auroc"].astype(object).where(frame["scores.similar.auroc"].notna(), None).tolist() == (
        wanted
    )


@pytest.mark.parametrize("given", [("--format", "parquet"), ("--out", "x.csv")])
def test_parquet_needs_a_file_and_a_table_none(cli, run, given):
    told = cli("results", run, *given)
    assert told.code == 2
    assert "--out" in told.err


def test_a_folder_of_runs_gives_the_rows_of_all_with_their_names(cli, run, one_shot, tmp_path):
    for folder in (run, one_shot):
        (tmp_path / "runs" / folder.name).mkdir(parents=True)
        (tmp_path / "runs" / folder.name / "run.sqlite").write_bytes((folder / "run.sqlite").read_bytes())
    printed = cli("results", tmp_path / "runs", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(printed.out)))
    assert [row["variant"] for row in rows] == ["all"] * 24 + ["one-shot"] * 24
    assert {row["subject"] for row in rows} == {"corpus_model"}
    assert "one-shot" in cli("results", tmp_path / "runs").out


def test_the_summary_of_a_run_says_in_words_what_was_found(cli, run, tmp_path):
    printed = cli("results", run, "--format", "summary")
    assert printed.code == 0, printed.err
    assert printed.out.startswith("# Run all")
    assert "token table" in printed.out
    assert "comparisons, " in printed.out
    assert cli("results", run, "--format", "summary", "--out", tmp_path / "summary.md").out == ""
    assert (tmp_path / "summary.md").read_text() == printed.out


def test_two_runs_are_compared_with_the_settings_that_differ(cli, run, one_shot):
    told = cli("compare", run, one_shot)
    assert told.code == 0, told.err
    lines = " ".join(told.out.split())
    assert 'method.explainer="tree" instead of "one-shot"' in lines
    assert "method.rule_cap=5 instead of 1" in lines
    assert "24 features in common" in lines
    assert "complexity" in lines
    assert cli("compare", run, one_shot).out == told.out


def test_a_comparison_has_the_means_of_the_frames(run, one_shot):
    (pair,) = compare_runs(run, one_shot)
    frames = [read_scores(path).set_index(["hook_name", "latent", "source"]) for path in (run, one_shot)]
    for comparison in pair.comparisons:
        column, source = comparison.question.a.column, comparison.question.a.where["source"]
        a, b = (frame.xs(source, level="source")[column] for frame in frames)
        difference = (a - b).dropna()
        assert comparison.difference.n_pairs == len(difference) > 0
        assert comparison.difference.mean == pytest.approx(difference.mean(), nan_ok=True)
    explained = [frame[frame.status == "explained"].xs("similar", level="source").index for frame in frames]
    rules = next(c for c in pair.comparisons if c.question.a.column == "n_rules")
    assert rules.difference.n_pairs == len(explained[0].intersection(explained[1]))
    assert rules.n_failed == len(explained[0].symmetric_difference(explained[1]))
    assert rules.difference.mean > 0


def test_a_run_equals_itself(run):
    (pair,) = compare_runs(run, run)
    assert pair.settings == ()
    assert {comparison.verdict for comparison in pair.comparisons} == {""}
    assert {comparison.difference.mean for comparison in pair.comparisons} == {0.0}


def test_what_cannot_be_compared_is_told(cli, run, tmp_path):
    with RunStore.open(run) as store:
        about = store.about()
    configuration = json.loads(about["configuration"])
    names = {name: about[name] for name in ("model", "SAE", "corpus")}
    RunStore.create(tmp_path / "empty", configuration, names).close()
    RunStore.create(tmp_path / "other", configuration, {**names, "SAE": "another"}).close()
    (tmp_path / "nothing").mkdir()
    for b, wanted in (
        (tmp_path / "empty", "no finished feature in common"),
        (tmp_path / "other", "different models"),
        (tmp_path, "is a folder of runs"),
        (tmp_path / "nothing", "there is no run in"),
    ):
        told = cli("compare", run, b)
        assert told.code == 2
        assert wanted in told.err
