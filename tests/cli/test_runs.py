"""Making a run and looking at it: what the commands print is what the run holds."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from featureinterp.experiment.store import RunStore


def rows(cli, run: Path) -> list[dict]:
    printed = cli("results", run, "--format", "jsonl")
    assert printed.code == 0, printed.err
    return [json.loads(line) for line in printed.out.splitlines()]


def without_seconds(found: list[dict]) -> list[dict]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in found]


def test_every_latent_of_the_folder_becomes_a_row_dead_and_rare_ones_with_their_reason(cli, run):
    found = rows(cli, run)
    assert len(found) == 24
    assert [(row["layer"], row["latent"]) for row in found] == sorted((row["layer"], row["latent"]) for row in found)
    assert {row["hook_name"] for row in found} == {"blocks.0.hook_resid_post", "blocks.1.hook_resid_post"}
    status = {row["status"] for row in found}
    assert {"explained", "dead"} <= status
    for row in found:
        assert (row["explanation"] is None) == (row["status"] != "explained") == bool(row["reason"])
        if row["status"] == "dead":
            assert row["reason"] == "it never fires on the 400 windows of the corpus"


def test_an_explained_row_has_its_rules_scores_and_floors(cli, run):
    explained = [row for row in rows(cli, run) if row["status"] == "explained"]
    sources = {"random", "random_negative", "similar", "similar_negative", "same_token_negative"}
    for row in explained:
        assert row["explainer"] == "tree/lexical"
        assert all(rule["activates_on"] and 0 <= rule["strength"] <= 5 for rule in row["explanation"])
        assert set(row["floors"]) == {"token_lookup", "short_lookup", "back_off", "constant_zero", "shuffled"}
        assert row["best_table"] in row["floors"]
        assert row["corpus"]["is_exact"]
        assert row["corpus"]["margin"]["correlation"] is not None
        assert row["verdict"] in ("beats its baselines", "no better than a token table", "worse")
        assert set(row["scores"]) <= sources
        for scores in row["scores"].values():
            assert {"correlation", "ci_low", "ci_high", "n_sentences", "false_positives_per_sentence"} <= set(scores)
            if scores["n_sentences"] == 0:  # a source without windows says why
                assert scores["correlation"] is None and scores["undefined"]["correlation"]
            else:
                assert scores["n_sentences"] > scores["n_complementary"] > 0
    assert any("similar_negative" in row["scores"] for row in explained)


def test_csv_and_the_table_hold_the_same_features(cli, run):
    found = rows(cli, run)
    printed = list(csv.DictReader(io.StringIO(cli("results", run, "--format", "csv").out)))
    assert [(row["layer"], row["latent"], row["status"]) for row in printed] == [
        (str(row["layer"]), str(row["latent"]), row["status"]) for row in found
    ]
    table = cli("results", run)
    assert table.code == 0
    assert all(str(row["latent"]) in table.out for row in found)


def test_one_seed_gives_one_result(cli, run, data, tmp_path):
    again = cli("explain", data, "--out", tmp_path, "--depth", 1)
    assert again.code == 0
    assert without_seconds(rows(cli, tmp_path)) == without_seconds(rows(cli, run))


def test_another_seed_changes_the_sample_of_features(cli, data, tmp_path):
    chosen = []
    for seed in (0, 1):
        assert cli("explain", data, "--out", tmp_path / str(seed), "--features", 2, "--seed", seed).code == 0
        chosen.append({(row["layer"], row["latent"]) for row in rows(cli, tmp_path / str(seed))})
    assert chosen[0] != chosen[1]


def test_a_run_grows_and_equals_one_that_was_asked_for_all_at_once(cli, data, tmp_path):
    for out, features in (("grown", 3), ("grown", 5), ("whole", 5)):
        made = cli("explain", data, "--out", tmp_path / out, "--features", features, "--explainer", "one-shot")
        assert made.code == 0, made.err
    assert without_seconds(rows(cli, tmp_path / "grown")) == without_seconds(rows(cli, tmp_path / "whole"))
    assert len(rows(cli, tmp_path / "grown")) == 5


def test_features_are_spread_over_the_layers_and_can_be_explained(cli, data, tmp_path):
    assert cli("explain", data, "--out", tmp_path, "--features", 4, "--explainer", "one-shot").code == 0
    found = rows(cli, tmp_path)
    assert sorted(row["layer"] for row in found) == [0, 0, 1, 1]
    assert {row["explainer"] for row in found} == {"one-shot/lexical"}
    assert not {"dead", "rare"} & {row["status"] for row in found}


def test_show_tells_a_features_rules(cli, run):
    row = next(row for row in rows(cli, run) if row["status"] == "explained")
    shown = cli("show", run, row["layer"], row["latent"])
    assert shown.code == 0
    assert f"Layer {row['layer']}, latent {row['latent']}" in shown.out
    assert row["explanation"][0]["activates_on"].split()[0] in shown.out


@pytest.mark.parametrize("place", ["report", "elsewhere/pages"])
def test_report_writes_the_page_and_says_where_it_is(cli, run, tmp_path, place):
    out = tmp_path / place
    told = cli("report", run, "--out", out)
    assert told.code == 0
    assert str(out / "index.html") in told.out.replace("\n", "")
    assert (out / "index.html").read_text().startswith("<!")
    assert len(list((out / "features").glob("*.html"))) == 24


def test_the_demo_goes_from_text_to_the_page(cli, tiny, tmp_path):
    made = cli("demo", "--out", tmp_path, "--features", 3, "--explainer", "one-shot", *tiny.options())
    assert made.code == 0, made.err
    assert (tmp_path / "report" / "index.html").is_file()
    assert (tmp_path / "data" / "corpus_model" / "manifest.json").is_file()
    found = rows(cli, tmp_path)
    assert len(found) == 3
    assert {row["layer"] for row in found} == {0, 1}
    assert [line[:4] for line in made.out.splitlines() if "/3 " in line[:4]] == ["1/3 ", "2/3 ", "3/3 "]
    with RunStore.open(tmp_path) as store:
        assert store.about()["command"].startswith("featureinterp")
    again = cli("demo", "--out", tmp_path, "--features", 3, "--explainer", "one-shot", *tiny.options())
    assert again.code == 0
    assert not [line for line in again.out.splitlines() if "/3 " in line[:4]]
    assert rows(cli, tmp_path) == found
