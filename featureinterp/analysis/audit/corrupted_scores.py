"""Scores of one feature's simulation, true and corrupted.

A *place* is a set of windows that scores are computed on: the corpus, and the test list of each source. The simulated
windows of all places are one simulation, which is corrupted as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from featureinterp.core import Score, ScoredSequence, Scores
from featureinterp.record import ActivationRecord
from featureinterp.scoring.corpus import pool_corpus, score_corpus
from featureinterp.scoring.corruptions import ANOTHER, CORRUPTIONS, Floats, SimulatedTokens
from featureinterp.scoring.sample import PooledLevels, SentenceSample, SentenceSums
from featureinterp.scoring.simulation import pooled_levels, scores_of
from featureinterp.stats import generator

CORPUS = "corpus"
"""Place of the scores on the corpus; the others are named as their sources."""

AUDITED_SCORES = (
    "correlation",
    "average_precision",
    "auroc",
    "f1",
    "iou",
    "precision",
    "recall",
    "false_positives_per_sentence",
)
_ERRORS = frozenset({"false_positives_per_sentence"})
"""Scores that a worse explanation raises."""
_ROUNDING = 1e-9
"""A change this small is that of the order of additions."""


@dataclass(frozen=True)
class Place:
    """Windows that scores are computed on."""

    name: str
    windows: NDArray[np.int64]
    """Number of each window in the simulation."""
    complementary: NDArray[np.bool_]
    """Whether it is no positive [windows]."""
    weights: Floats
    """How many windows each one stands for [windows]."""
    is_whole: bool = False
    """Whether they are every window of a corpus, in order."""

    @classmethod
    def of_list(cls, name: str, windows: Sequence[int], complementary: Sequence[bool]) -> Place:
        """Make the place of a test list, in which each window stands for itself."""
        return cls(name, np.array(windows, dtype=np.int64), np.array(complementary, dtype=bool), np.ones(len(windows)))


@dataclass(frozen=True)
class SimulatedFeature:
    """The simulation of one feature's explanation on all places."""

    tokens: SimulatedTokens
    starts: NDArray[np.int64]
    """Place of the first token of each window in `tokens`, and at the end the number of tokens [windows + 1]."""
    places: tuple[Place, ...]
    another: SimulatedTokens | None = None
    """The same tokens with what another feature's explanation expects; None where it was not simulated."""


@dataclass(frozen=True)
class Change:
    """What a corruption does to one score of one feature."""

    place: str
    score: str
    corruption: str
    falls: bool
    """Whether the score is worse: false positives rise, any other falls."""
    beyond: bool
    """Whether it is outside of the interval of the true simulation's score, on that side."""


def peak_strings(train_positives: Iterable[ActivationRecord]) -> frozenset[str]:
    """Return the token at the maximum of each train positive."""
    return frozenset(
        record.tokens[int(np.argmax(record.expressions))] for record in train_positives if record.is_active
    )


def changes(feature: SimulatedFeature, seed: int, *names: str | int) -> Iterator[Change]:
    """Corrupt a simulation in every way, and yield what that does to each score that is defined before and after.

    Args:
        feature: simulation of the feature.
        seed: of the run.
        names: what the random generators are derived from besides: hook and latent.
    """
    true = {place.name: scores_at(feature, place, feature.tokens) for place in feature.places}
    for name, corrupted in _corrupted(feature, seed, names):
        for place in feature.places:
            found = scores_at(feature, place, corrupted, intervals=False)
            for score in AUDITED_SCORES:
                before, after = getattr(true[place.name], score), getattr(found, score)
                change = _change(before, after, is_error=score in _ERRORS)
                if change is not None:
                    yield Change(place.name, score, name, *change)


def _corrupted(
    feature: SimulatedFeature, seed: int, names: Sequence[str | int]
) -> Iterator[tuple[str, SimulatedTokens]]:
    for name, corrupt in CORRUPTIONS.items():
        corrupted = corrupt(feature.tokens, generator(seed, *names, "audit", name))
        if corrupted is not None:
            yield name, corrupted
    if feature.another is not None:
        yield ANOTHER, feature.another


def _change(before: Score, after: Score, *, is_error: bool) -> tuple[bool, bool] | None:
    """Return whether a score is worse, and whether it is outside of its interval; None if it cannot be compared."""
    if before.value is None or after.value is None or before.ci_low is None or before.ci_high is None:
        return None
    if is_error:
        return after.value > before.value + _ROUNDING, after.value > before.ci_high + _ROUNDING
    return after.value < before.value - _ROUNDING, after.value < before.ci_low - _ROUNDING


def scores_at(feature: SimulatedFeature, place: Place, tokens: SimulatedTokens, *, intervals: bool = True) -> Scores:
    """Return the scores of a simulation on the windows of a place.

    Args:
        feature: where each window's tokens are.
        place: the windows.
        tokens: the feature's simulation, or a corrupted one.
        intervals: whether the scores have intervals.
    """
    if place.is_whole:
        shape = (len(place.windows), -1)
        arrays = (each.reshape(shape) for each in (tokens.truth, tokens.expected, tokens.claimed))
        return score_corpus(pool_corpus(*arrays), len(place.windows), intervals=intervals)
    starts, ends = feature.starts[place.windows], feature.starts[place.windows + 1]
    where = np.concatenate([np.arange(start, end) for start, end in zip(starts, ends, strict=True)])
    owner = np.repeat(np.arange(len(place.windows)), ends - starts)
    levels = PooledLevels(tokens.truth[where], tokens.expected[where], owner, tokens.claimed[where], len(place.windows))
    summed = SentenceSums.of(levels, place.complementary, place.weights)
    return scores_of(SentenceSample.of(levels, summed), intervals=intervals)


def places_of_lists(sequences: Sequence[ScoredSequence], number: Mapping[int, int]) -> tuple[Place, ...]:
    """Return the place of each source: the positives with the records of the source.

    Args:
        sequences: test windows of a result, once per list.
        number: of each window in the simulation, by its row in the corpus.
    """
    records = [pair.record for pair in sequences]
    sources = dict.fromkeys(record.source for record in records if record.source is not None)
    found = []
    for source in sources:
        own = [record for record in records if record.source in (None, source)]
        windows = [number[record.dataset_index] for record in own]
        found.append(Place.of_list(source.value, windows, [record.source is not None for record in own]))
    return tuple(found)


def simulated_windows(
    sequences: Sequence[ScoredSequence], peaks: frozenset[str], weights: Sequence[float] | None = None
) -> tuple[SimulatedTokens, NDArray[np.int64]]:
    """Concatenate the tokens of simulated windows.

    Args:
        sequences: windows, each once.
        peaks: peak tokens of the latent.
        weights: how many windows of the corpus each one stands for [sequences]; None for one each.

    Returns:
        The tokens, and where each window begins, as in `SimulatedFeature`.

    Raises:
        SimulationError: if a simulation does not match its record.
    """
    levels = pooled_levels(sequences)
    lengths = [len(pair.record.tokens) for pair in sequences]
    same = [not pair.record.is_active and not peaks.isdisjoint(pair.record.tokens) for pair in sequences]
    of_windows = np.ones(len(sequences)) if weights is None else np.array(weights, dtype=np.float64)
    tokens = SimulatedTokens(
        truth=levels.truth,
        expected=levels.expected,
        claimed=levels.claimed,
        same_token=np.repeat(np.array(same, dtype=bool), lengths),
        weights=np.repeat(of_windows, lengths),
    )
    return tokens, np.cumsum([0, *lengths], dtype=np.int64)


def expecting(tokens: SimulatedTokens, sequences: Sequence[ScoredSequence]) -> SimulatedTokens:
    """Return the same tokens with what another simulation of the same windows expects."""
    levels = pooled_levels(sequences)
    return replace(tokens, expected=levels.expected, claimed=levels.claimed)
