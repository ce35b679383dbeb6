"""The original's scores of four pairs of vectors; its R² divides by the mean square, ours by the variance."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from featureinterp import stats
from featureinterp.core import SequenceSimulation
from featureinterp.record import ActivationRecord
from featureinterp.scoring import score_simulations

PAIRS = json.loads((Path(__file__).parent / "data/scores.json").read_text())


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if any(pair["real"])])
def test_scores_are_the_originals(pair):
    real, sums = np.array(pair["real"]), stats.token_sums(pair["real"], pair["pred"])
    assert stats.pearson(pair["real"], pair["pred"]) == pytest.approx(pair["corr"], abs=1e-12)
    assert stats.absolute_deviation_explained(sums).item() == pytest.approx(pair["absdev"], abs=1e-12)
    theirs = 1 - (1 - stats.r_squared(sums).item()) * real.var() / np.mean(real**2)
    assert theirs == pytest.approx(pair["rsq"], abs=1e-12)


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if any(pair["real"]) and max(pair["real"]) <= 5])
def test_scored_records_give_the_originals_scores_too(pair):
    scores = scores_of(pair)
    assert float(scores.correlation) == pytest.approx(pair["corr"], abs=1e-12)
    assert float(scores.absolute_deviation_explained) == pytest.approx(pair["absdev"], abs=1e-12)


def test_where_the_original_has_nan_ours_has_a_reason():
    (silent,) = [pair for pair in PAIRS if not any(pair["real"])]
    assert all(math.isnan(silent[name]) for name in ("corr", "rsq", "absdev"))
    scores = scores_of(silent)
    for undefined in (scores.correlation, scores.r_squared, scores.absolute_deviation_explained):
        assert undefined.value is None
        assert undefined.reason == "the feature is silent on all of these tokens"


def scores_of(pair):
    tokens = tuple(map(str, range(len(pair["real"]))))
    record = ActivationRecord(tokens, tuple(pair["real"]), (), 0, 5.0)
    return score_simulations([record], [SequenceSimulation(tokens, tuple(pair["pred"]))]).scores
