"""What one gets who always expects silence: the lowest of the floors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from featureinterp.core import Scores
from featureinterp.errors import ActivationError, InputError
from featureinterp.experiment.result import FeatureResult
from featureinterp.scoring import score_by_source


def silent_scores(result: FeatureResult) -> Mapping[str, Scores]:
    """Return the scores of expecting level 0 of every token, by source, without intervals.

    Its correlation is undefined. Nothing is returned where the true activations cannot be scored.
    """
    silent = [
        replace(pair, simulation=replace(pair.simulation, expected_activations=(0.0,) * len(pair.record.tokens)))
        for pair in result.test_sequences
    ]
    try:
        return score_by_source(silent, n_bootstrap=0)
    except (ActivationError, InputError):
        return {}
