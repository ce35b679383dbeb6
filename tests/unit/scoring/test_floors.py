"""The lookup table by hand, and the pick of another feature."""

from __future__ import annotations

import asyncio
import math

import numpy as np
import pytest

from featureinterp.errors import ActivationError, InputError
from featureinterp.scoring import TokenLookupSimulator, pick_other


def test_lookup_is_the_mean_level_of_the_token_in_train(record):
    train = [
        record([0.0, 9.9, 4.0], maximum=10.0, tokens=("a", "b", "b")),
        record([10.0, 0.0], maximum=10.0, tokens=("b", " b")),
    ]
    # levels: a 0; b 4, 2, 5; " b" 0
    (simulated,) = asyncio.run(TokenLookupSimulator(train).simulate([["b", " b", "new", "a"]]))
    assert simulated.tokens == ("b", " b", "new", "a")
    assert simulated.expected_activations == pytest.approx((11 / 3, 0.0, 0.0, 0.0))


def test_lookup_of_nothing_expects_nothing(record):
    assert asyncio.run(TokenLookupSimulator([]).simulate([("a",), ()]))[0].expected_activations == (0.0,)
    with pytest.raises(ActivationError):
        TokenLookupSimulator([record([math.nan])])


def test_pick_other_never_picks_its_own_and_reaches_all_others():
    rng = np.random.default_rng(0)
    picked = [pick_other(["a", "b", "c", "d"], "b", rng) for _ in range(300)]
    assert picked.count("b") == 0
    assert all(70 < picked.count(letter) < 130 for letter in "acd")
    assert pick_other([4, 5, 6], 5, np.random.default_rng(9)) == pick_other([4, 5, 6], 5, np.random.default_rng(9))


def test_pick_other_needs_another():
    with pytest.raises(InputError, match="no other explained feature than 3"):
        pick_other([3], 3, np.random.default_rng(0))
