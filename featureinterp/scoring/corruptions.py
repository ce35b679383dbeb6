"""Corruptions of a simulation: what a score should notice.

An explanation is corrupted as a whole, on every window that is simulated, and all scores are computed of the same
corrupted simulation. So a test list meets as much of a corruption as falls on its windows.

    corrupted = CORRUPTIONS["half dropped"](tokens, rng)

Each corruption is a pure function of the simulation and a random generator. It returns None where the simulation has
nothing to corrupt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

DROPPED, RANDOM_CLAIMS, SAME_TOKEN_CLAIMS = "half dropped", "random claims", "same-token claims"
FLAT, ANOTHER = "flat strengths", "another feature"


@dataclass(frozen=True)
class SimulatedTokens:
    """True and expected levels of the tokens of many windows, concatenated; every array is [tokens]."""

    truth: Floats
    """5·a / max a, not rounded."""
    expected: Floats
    """Expected level, 0..5."""
    claimed: Bools
    same_token: Bools
    """Whether the token is of a window on which the feature is silent and that contains a peak token."""
    weights: Floats
    """How many tokens of the corpus each one stands for; 0 of a window that stands for none but its own."""


Corruption = Callable[[SimulatedTokens, np.random.Generator], SimulatedTokens | None]


def drop_half(tokens: SimulatedTokens, rng: np.random.Generator) -> SimulatedTokens | None:
    """Drop half of the claims at random, rounded up: their tokens are expected at level 0."""
    (claims,) = np.nonzero(tokens.claimed)
    if not len(claims):
        return None
    dropped = rng.choice(claims, (len(claims) + 1) // 2, replace=False)
    expected = np.array(tokens.expected)
    claimed = np.array(tokens.claimed)
    expected[dropped], claimed[dropped] = 0.0, False
    return replace(tokens, expected=expected, claimed=claimed)


def add_random_claims(tokens: SimulatedTokens, rng: np.random.Generator) -> SimulatedTokens | None:
    """Claim as many silent tokens as are claimed, at random; each is expected at the level of a random claim."""
    return _add_claims(tokens, np.ones(len(tokens.claimed), dtype=bool), rng)


def add_same_token_claims(tokens: SimulatedTokens, rng: np.random.Generator) -> SimulatedTokens | None:
    """Add as many false claims as `add_random_claims`, all on silent windows that contain a peak token.

    Where these windows have fewer silent tokens, all of them are claimed.
    """
    return _add_claims(tokens, tokens.same_token, rng)


def flatten_strengths(tokens: SimulatedTokens, rng: np.random.Generator) -> SimulatedTokens | None:
    """Expect every claim at the mean level of the claims; None where all have the same level."""
    del rng  # nothing is drawn
    levels = tokens.expected[tokens.claimed]
    if not len(levels) or np.ptp(levels) == 0:
        return None
    return replace(tokens, expected=np.where(tokens.claimed, levels.mean(), tokens.expected))


CORRUPTIONS: Mapping[str, Corruption] = {
    DROPPED: drop_half,
    RANDOM_CLAIMS: add_random_claims,
    SAME_TOKEN_CLAIMS: add_same_token_claims,
    FLAT: flatten_strengths,
}
"""All that need nothing but the simulation, in reading order; `ANOTHER` is the simulation of another explanation."""


def _add_claims(tokens: SimulatedTokens, where: Bools, rng: np.random.Generator) -> SimulatedTokens | None:
    """Add false claims on the tokens of a mask.

    Every silent token there that is not claimed is equally likely. Their weight in the corpus becomes that of the
    claims: all weights being 1, there are as many of them.
    """
    (free,) = np.nonzero(where & ~tokens.claimed & (tokens.truth <= 0))
    weight, room = float(tokens.weights[tokens.claimed].sum()), float(tokens.weights[free].sum())
    if weight <= 0 or room <= 0:
        return None
    added = rng.choice(free, min(round(weight / room * len(free)), len(free)), replace=False)
    shares = tokens.weights[tokens.claimed] / weight
    levels = rng.choice(tokens.expected[tokens.claimed], len(added), p=shares)
    expected = np.array(tokens.expected)
    claimed = np.array(tokens.claimed)
    expected[added], claimed[added] = np.maximum(expected[added], levels), True
    return replace(tokens, expected=expected, claimed=claimed)
