"""Expected level under a distribution over the six levels."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from featureinterp.errors import InputError
from featureinterp.record import MAX_LEVEL
from featureinterp.stats.sums import Floats


def expectation_over_levels(logits: ArrayLike) -> Floats:
    """Return the expected level under a softmax over six logits or log probabilities [..., 6] -> [...].

    Adding a constant to the six changes nothing, so log probabilities over a whole vocabulary serve as well.

    Raises:
        InputError: if the last axis is not of length 6.

    >>> float(expectation_over_levels([0.0] * 6))
    2.5
    """
    values = np.asarray(logits, dtype=np.float64)
    if values.shape[-1:] != (MAX_LEVEL + 1,):
        raise InputError(f"logits have shape {values.shape}", f"the last axis is the levels 0..{MAX_LEVEL}")
    with np.errstate(invalid="ignore"):
        odds = np.exp(values - values.max(axis=-1, keepdims=True))
    return (odds @ np.arange(MAX_LEVEL + 1.0)) / odds.sum(axis=-1)
