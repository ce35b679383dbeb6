"""Corruptions of a simulation: what each one changes, and what it must leave."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featureinterp.scoring.corpus import pool_corpus, score_corpus
from featureinterp.scoring.corruptions import (
    CORRUPTIONS,
    DROPPED,
    FLAT,
    RANDOM_CLAIMS,
    SAME_TOKEN_CLAIMS,
    SimulatedTokens,
)

TOKEN = st.tuples(st.sampled_from([0.0, 0.0, 1.5, 5.0]), st.sampled_from([0.0, 0.4, 2.0, 5.0]), st.booleans())


@st.composite
def simulations(draw) -> SimulatedTokens:
    """Tokens with claims of any level, claims that are false, and windows with a peak token among the silent tokens."""
    tokens = draw(st.lists(TOKEN, min_size=1, max_size=40))
    truth, expected, claimed = (np.array(column) for column in zip(*tokens, strict=True))
    same = np.array(draw(st.lists(st.booleans(), min_size=len(tokens), max_size=len(tokens)))) & (truth <= 0)
    return SimulatedTokens(truth, expected, claimed, same, np.ones(len(tokens)))


def corrupted(name: str, tokens: SimulatedTokens, seed: int = 0) -> SimulatedTokens | None:
    return CORRUPTIONS[name](tokens, np.random.default_rng(seed))


@given(simulations())
def test_half_of_the_claims_are_dropped_and_nothing_else_changes(tokens):
    found, n = corrupted(DROPPED, tokens), tokens.claimed.sum()
    if n == 0:
        assert found is None
        return
    assert found.claimed.sum() == n // 2
    dropped = tokens.claimed & ~found.claimed
    assert not (found.claimed & ~tokens.claimed).any()
    assert (found.expected[dropped] == 0).all()
    assert (found.expected[~dropped] == tokens.expected[~dropped]).all()


@pytest.mark.parametrize("name", [RANDOM_CLAIMS, SAME_TOKEN_CLAIMS])
@given(tokens=simulations(), seed=st.integers(0, 3))
def test_as_many_false_claims_are_added_and_no_true_one(name, tokens, seed):
    room = ~tokens.claimed & (tokens.truth <= 0) & (tokens.same_token if name == SAME_TOKEN_CLAIMS else True)
    found = corrupted(name, tokens, seed)
    if not tokens.claimed.any() or not room.any():
        assert found is None
        return
    added = found.claimed & ~tokens.claimed
    assert (found.claimed | ~tokens.claimed).all()
    assert not (added & ~room).any()
    assert added.sum() == min(tokens.claimed.sum(), room.sum())
    assert (found.expected[~added] == tokens.expected[~added]).all()
    assert (found.expected[added] >= tokens.expected[added]).all()
    assert set(found.expected[added]) <= {*tokens.expected[tokens.claimed], *tokens.expected[added]}


@given(simulations())
def test_flat_strengths_give_all_claims_their_mean_level(tokens):
    found, levels = corrupted(FLAT, tokens), tokens.expected[tokens.claimed]
    if len(set(levels)) < 2:
        assert found is None
        return
    assert (found.claimed == tokens.claimed).all()
    assert set(found.expected[found.claimed]) == {levels.mean()}
    assert (found.expected[~found.claimed] == tokens.expected[~tokens.claimed]).all()


@pytest.mark.parametrize("name", CORRUPTIONS)
@settings(max_examples=25)
@given(tokens=simulations(), seed=st.integers(0, 99))
def test_a_corruption_is_decided_by_its_seed_and_changes_no_input(name, tokens, seed):
    before = replace(tokens, expected=tokens.expected.copy(), claimed=tokens.claimed.copy())
    first, second = corrupted(name, tokens, seed), corrupted(name, tokens, seed)
    assert (tokens.expected == before.expected).all() and (tokens.claimed == before.claimed).all()
    assert (first is None) == (second is None)
    if first is not None:
        assert (first.expected == second.expected).all() and (first.claimed == second.claimed).all()
        assert first.truth is tokens.truth


def test_false_claims_get_the_weight_of_the_claims():
    """Windows that stand for nothing get false claims at the rate of the corpus, 2 of 50 tokens in 100."""
    weights = np.array([5.0] * 20 + [10.0] * 100 + [0.0] * 1000)
    claimed = np.arange(1120) < 20
    truth = np.where(claimed, 5.0, 0.0)
    tokens = SimulatedTokens(truth, truth, claimed, ~claimed, weights)
    for name in (RANDOM_CLAIMS, SAME_TOKEN_CLAIMS):
        added = corrupted(name, tokens).claimed & ~claimed
        assert added.sum() == 1100 * 100 / 1000
    nothing = replace(tokens, weights=np.where(claimed, 0.0, weights))
    assert corrupted(RANDOM_CLAIMS, nothing) is None


@pytest.mark.parametrize("rate", [0.1, 0.01, 0.001])
def test_a_perfect_explanation_is_corrupted_to_the_closed_forms(rate):
    n = 200_000
    truth = np.where(np.arange(n) % round(1 / rate) == 0, 5.0, 0.0)
    claimed = truth > 0
    tokens = SimulatedTokens(truth, truth.copy(), claimed, ~claimed, np.ones(n))
    wanted = {
        DROPPED: (np.sqrt((1 - rate) / (2 - rate)), 2 / 3, 1 / 2, 1, 1 / 2),
        RANDOM_CLAIMS: (np.sqrt((1 - 2 * rate) / (2 * (1 - rate))), 2 / 3, 1 / 2, 1 / 2, 1),
    }
    for name, values in wanted.items():
        found = corrupted(name, tokens)
        levels = pool_corpus(*(each.reshape(-1, 20) for each in (truth, found.expected, found.claimed)))
        scores = score_corpus(levels, n // 20, intervals=False)
        seen = [scores.correlation, scores.f1, scores.iou, scores.precision, scores.recall]
        assert list(map(float, seen)) == pytest.approx(values, abs=1e-3)
