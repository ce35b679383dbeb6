"""The command `stability` from a data folder to its table."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from featureinterp.experiment.store import RunStore
from tests.cli.test_bad_input import assert_told

SMALL = ("--features", 5, "--explainer", "one-shot")


def results(run: Path):
    with RunStore.open(run) as store:
        configuration = json.loads(store.about()["configuration"])
        return configuration, [replace(result, seconds=0.0) for result in store.results()]


def test_scores_of_repeated_runs_and_their_variance(data: Path, cli, tmp_path: Path) -> None:
    made = cli("stability", data, "--out", tmp_path / "out", "--draws", 2, *SMALL)
    assert made.code == 0, made.err
    for words in ("between features", "records drawn again", "rank correlation", "sentences for ±0.05"):
        assert words in made.out
    assert "proposals sampled" not in made.out
    runs = [results(tmp_path / "out" / f"records-{draw}_proposals-0_simulator-0") for draw in range(2)]
    assert [configuration["data"]["seed"] for configuration, _ in runs] == [0, 1]
    assert [result.key for result in runs[0][1]] == [result.key for result in runs[1][1]]
    assert cli("explain", data, "--out", tmp_path / "plain", *SMALL).code == 0
    assert results(tmp_path / "plain")[1] == runs[0][1] != runs[1][1]
    again = cli("stability", data, "--out", tmp_path / "out", "--draws", 2, *SMALL)
    assert again.out.splitlines()[-12:] == made.out.splitlines()[-12:]
    assert_told(cli("stability", data, "--draws", 1, *SMALL), "one run shows no variation")
