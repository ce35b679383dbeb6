"""Whatever is wrong with what a user gives is told in one sentence with a hint, exit code 2 and no traceback."""

from __future__ import annotations

import json
import math
import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.cli.tiny import TinyWorld, write_sae


def assert_told(outcome, *words: str) -> None:
    """The command failed as a user's error, in one line that holds the words."""
    assert outcome.code == 2, outcome
    assert "Traceback" not in outcome.err
    lines = outcome.err.strip().splitlines()
    assert len(lines) == 1, outcome.err
    assert lines[0].startswith("featureinterp: ")
    for word in words:
        assert word in lines[0]


def records(cli, tiny: TinyWorld, out: Path, **changed: object):
    """`featureinterp records` on the tiny world with some options changed."""
    options = dict(zip(tiny.options()[::2], tiny.options()[1::2], strict=True))
    options |= {"--" + name.replace("_", "-"): str(value) for name, value in changed.items()}
    return cli("records", "--out", out, *(word for pair in options.items() for word in pair))


@pytest.mark.parametrize("layers", ["7", "first", "0,2", ""])
def test_an_unknown_layer_of_the_model(cli, tiny, tmp_path, layers):
    assert_told(records(cli, tiny, tmp_path, layers=layers), repr(layers), "the model has layers 0 to 1")


def test_an_unknown_latent_of_the_sae(cli, tiny, tmp_path):
    assert_told(records(cli, tiny, tmp_path, latents="3,96"), "latent 96", "0 to 95")


def test_latents_that_are_no_numbers(cli, tiny, tmp_path):
    assert_told(records(cli, tiny, tmp_path, latents="3,x"), "'3,x'", "give numbers")


def test_an_unknown_layer_or_latent_of_a_data_folder(cli, data, tmp_path):
    assert_told(cli("explain", data, "--out", tmp_path, "--layers", "1,4"), "layers '1,4'")
    assert_told(cli("explain", data, "--out", tmp_path, "--latents", "1000"), "latent 1000")
    assert not (tmp_path / "run.sqlite").exists()


def test_an_unknown_layer_or_latent_of_a_run(cli, run):
    assert_told(cli("show", run, 5, 0), "no feature of layer 5", "its layers: 0, 1")
    assert_told(cli("show", run, 1, 1000), "no latent 1000 of layer 1")


def test_a_missing_corpus(cli, tiny, tmp_path):
    assert_told(records(cli, tiny, tmp_path, dataset_name="nowhere.txt"), "no corpus 'nowhere.txt'")


def test_an_empty_corpus(cli, tiny, tmp_path):
    (tmp_path / "empty.txt").write_text("\n\n")
    assert_told(records(cli, tiny, tmp_path, dataset_name=tmp_path / "empty.txt"), "empty.txt' is empty")


def test_a_corpus_that_is_not_text(cli, tiny, tmp_path):
    (tmp_path / "photo.txt").write_bytes(b"\x89PNG\xff\xfe" * 50)
    assert_told(records(cli, tiny, tmp_path, dataset_name=tmp_path / "photo.txt"), "photo.txt is not UTF-8 text")


def test_a_corpus_without_the_column(cli, tiny, tmp_path):
    told = records(cli, tiny, tmp_path, text_column="body")
    assert_told(told, "corpus.jsonl has no column 'body'", "it has the columns text")


def test_a_data_folder_made_with_other_settings(cli, tiny, data, tmp_path):
    shutil.copytree(data, tmp_path / data.name)
    told = records(cli, tiny, tmp_path, max_seq_length=10)
    assert_told(told, "was made with other settings", "max_seq_length is 12 there and 10 here")


def test_a_folder_that_is_no_data_folder(cli, tmp_path):
    assert_told(cli("explain", tmp_path, "--out", tmp_path / "run"), "is not a data folder")


def test_a_damaged_manifest(cli, data, tmp_path):
    shutil.copytree(data, tmp_path / "data")
    (tmp_path / "data" / "manifest.json").write_text('{"schema": 1, "type"')
    assert_told(cli("explain", tmp_path / "data", "--out", tmp_path / "run"), "manifest.json cannot be read")


def test_a_dead_latent_asked_for_by_name_is_a_row_and_not_an_error(cli, run, data, tmp_path):
    found = [json.loads(line) for line in cli("results", run, "--format", "jsonl").out.splitlines()]
    dead = next(row for row in found if row["status"] == "dead")
    told = cli("explain", data, "--out", tmp_path, "--layers", dead["layer"], "--latents", dead["latent"])
    assert told.code == 0
    (row,) = [json.loads(line) for line in cli("results", tmp_path, "--format", "jsonl").out.splitlines()]
    assert (row["status"], row["explanation"]) == ("dead", None)
    assert "never fires" in row["reason"]


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_activations_that_are_no_finite_numbers(cli, tiny, tmp_path, poison):
    write_sae(tmp_path / "saes" / "layer_0", 0, poison=poison)
    told = records(cli, tiny, tmp_path, sae_name=tmp_path / "saes", layers="0")
    assert_told(told, "blocks.0.hook_resid_post is NaN or infinite")


def test_an_sae_of_another_width_than_the_model(cli, tiny, tmp_path):
    write_sae(tmp_path / "saes" / "layer_0", 0, width=24)
    told = records(cli, tiny, tmp_path, sae_name=tmp_path / "saes", layers="0")
    assert_told(told, "has width 24", "has 16")


def test_a_model_or_an_sae_that_is_not_there(cli, tiny, tmp_path):
    assert_told(records(cli, tiny, tmp_path, model_name=tmp_path / "none"), "there is no folder", "none'")
    assert_told(records(cli, tiny, tmp_path, sae_name=tmp_path / "none"), "does not exist")


@pytest.mark.parametrize("command", [("results",), ("report",), ("show",)])
def test_a_run_that_is_not_there(cli, tmp_path, command):
    arguments = (tmp_path, 0, 0) if command == ("show",) else (tmp_path,)
    assert_told(cli(*command, *arguments), "there is no run in")


@pytest.mark.parametrize("command", ["results", "explain"])
def test_a_results_file_of_another_version(cli, data, run, tmp_path, command):
    shutil.copy(run / "run.sqlite", tmp_path)
    connection = sqlite3.connect(tmp_path / "run.sqlite")
    connection.execute("PRAGMA user_version = 9")
    connection.close()
    arguments = ("results", tmp_path) if command == "results" else ("explain", data, "--out", tmp_path)
    assert_told(cli(*arguments), "run of version 9, this featureinterp reads version 1")


def test_a_run_made_with_other_settings(cli, data, run):
    assert_told(cli("explain", data, "--out", run, "--depth", 1, "--seed", 3), "seed=0 instead of 3")
    assert_told(cli("explain", data, "--out", run, "--depth", 2), "method.depth=1 instead of 2")


@pytest.mark.parametrize("option", ["--rule-cap", "--width"])
def test_a_number_out_of_range(cli, data, tmp_path, option):
    assert_told(cli("explain", data, "--out", tmp_path, option, 0), "is 0", "from 1 to 100")


def test_an_option_that_is_not_there_is_a_usage_error(cli):
    told = cli("demo", "--features", "-3")
    assert told.code == 2
    assert "Traceback" not in told.err
    assert cli("demo", "--fetaures", "3").code == 2


def test_a_file_where_the_runs_folder_should_be(cli, data, tmp_path):
    (tmp_path / "run").write_text("notes")
    assert_told(cli("explain", data, "--out", tmp_path / "run"), "cannot be made")
    assert (tmp_path / "run").read_text() == "notes"


def test_a_device_that_is_not_there(cli, tiny, tmp_path):
    assert_told(records(cli, tiny, tmp_path, device="cuda:99"), "device 'cuda:99' is not on this machine")


def test_windows_longer_than_the_model_takes(cli, tiny, tmp_path):
    assert_told(records(cli, tiny, tmp_path, max_seq_length=65), "windows of 65 tokens", "64 tokens")


def test_other_numbers_than_the_folder_was_made_in(cli, tiny, tmp_path):
    made = records(cli, tiny, tmp_path, max_features=1, max_dataset_size=60)
    assert made.code == 0, made.err
    told = records(cli, tiny, tmp_path, max_features=1, max_dataset_size=60, dtype="bfloat16")
    assert_told(told, "dtype is 'float32' there and 'bfloat16' here")


def test_a_preset_gives_way_to_what_is_typed(cli, tiny, tmp_path):
    told = cli(
        "records", "--preset", "gpt2", "--model-name", tiny.model, "--dataset-name", tiny.corpus, "--sae-name", "x"
    )
    assert_told(told, "there is no SAELens release 'x'")


def test_an_embedder_that_is_not_there(cli, tiny, tmp_path):
    told = records(cli, tiny, tmp_path, embedder=tmp_path / "none", max_features=1)
    assert_told(told, "there is no folder", "none'", "sentence-transformers")
