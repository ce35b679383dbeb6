"""Repetitions of a run, and what is made of their scores."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from featureinterp.analysis.stability import mean_rank_correlation, stability_of
from featureinterp.dataset.spec import DataSpec
from featureinterp.errors import InputError
from featureinterp.experiment.explain import RunSpec
from featureinterp.experiment.method.spec import MethodSpec
from featureinterp.experiment.stability import StabilitySpec, repetitions

FOLDER: Any = SimpleNamespace(path=Path("data"), manifest=SimpleNamespace(spec=DataSpec(seed=7), stages={}))
MODEL = MethodSpec(proposer="openai:m", temperatures=(0.7,))


@pytest.fixture(autouse=True)
def can_redraw(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featureinterp.experiment.stability.check_can_redraw", lambda folder: None)


def test_each_combination_is_a_run_that_differs_in_what_is_varied_alone() -> None:
    runs = repetitions(FOLDER, RunSpec(MODEL), StabilitySpec(2, 2, ("lexical", "chat:openai:m")))
    assert len({run.name for run in runs}) == len(runs) == 8
    assert [run.records_seed for run in runs] == [None] * 4 + [8] * 4
    assert {(run.proposals, run.spec.method.proposer_options.get("first_sample")) for run in runs} == {
        (0, None),
        (1, 1000),
    }
    assert {(run.simulator, run.spec.method.simulator) for run in runs} == {(0, "lexical"), (1, "chat:openai:m")}
    first = next(run for run in runs if run.name == "records-0_proposals-0_simulator-1")
    assert first.spec == RunSpec(MODEL)


@pytest.mark.parametrize(
    ("method", "varied", "told"),
    [
        (MethodSpec(), StabilitySpec(draws=1), "one run shows no variation"),
        (MethodSpec(), StabilitySpec(proposals=2), "draws nothing at random"),
        (MethodSpec(holistic=True), StabilitySpec(), "activation-causing tokens"),
        (MethodSpec(), StabilitySpec(simulators=("lexical", "lexical")), "named twice"),
    ],
)
def test_what_cannot_be_varied_is_told(method: MethodSpec, varied: StabilitySpec, told: str) -> None:
    with pytest.raises(InputError, match=told):
        repetitions(FOLDER, RunSpec(method), varied)


def test_rank_correlations_compare_runs_that_differ_in_one_thing() -> None:
    up, down = np.arange(5.0), -np.arange(5.0)
    values = np.stack([np.stack([up, up**2, down], axis=1), np.stack([down, down**3, up], axis=1)], axis=3 - 1)
    values = values[:, :, None, :]  # features, draws of records, draws of proposals, simulators
    assert mean_rank_correlation(values, 1) == pytest.approx((1 - 1 - 1) / 3)
    assert mean_rank_correlation(values, 3) == pytest.approx(-1)
    found = stability_of("score", values, None, 2)
    assert set(found.rank_correlations) == {"records", "simulators"}
    nothing = stability_of("score", values[:0], None, 7)
    assert (nothing.n, nothing.left_out, nothing.rank_correlations) == (0, 7, {})
    assert np.isnan([nothing.mean, *vars(nothing.components).values()]).all()
    assert (found.n, found.left_out, found.mean) == (5, 2, pytest.approx(values.mean()))
