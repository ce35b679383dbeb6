"""Stability of scores over repeated runs: variance components, rank correlations, and how many sentences a score needs.

A feature counts for a score if every run has it defined; the others are counted as left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featureinterp.core import Score
from featureinterp.experiment.result import FeatureKey, FeatureResult
from featureinterp.experiment.stability import Repetition
from featureinterp.experiment.store import RunStore
from featureinterp.record import ComplementaryRecordSource
from featureinterp.scoring import standard_errors
from featureinterp.stats import VarianceComponents, spearman, variance_components
from featureinterp.stats.components import NOTHING_VARIED

WANTED_REACH = 0.05
"""Half of a 95% interval: scores are to be known to ± this."""

WANTED_ERROR = WANTED_REACH / 1.96

_SAME_TOKEN = ComplementaryRecordSource.SAME_TOKEN_NEGATIVE
_CORRELATION, _CLAIMS = "correlation", "false_positives_per_sentence"


@dataclass(frozen=True)
class SentencesNeeded:
    """Test sentences with which the standard error of a score is `WANTED_ERROR`."""

    median: float
    """Over features."""
    most: float
    """For 9 of 10 features."""
    standard_error: float
    """Median over features of the standard error at the present number of sentences."""


@dataclass(frozen=True)
class ScoreStability:
    """How one score varies over repeated runs."""

    name: str
    mean: float
    """Over features and runs."""
    components: VarianceComponents
    rank_correlations: Mapping[str, float]
    """Mean Spearman correlation of features between two draws that differ in one thing alone, by that thing: `records`,
    `proposals`, `simulators`; without those that were not varied."""
    sentences: SentencesNeeded | None
    """None where every window of the corpus is read, or the sentences are not stored."""
    n: int
    """Features with a defined score in every run."""
    left_out: int


@dataclass(frozen=True)
class _Measured:
    """One feature in one run, by score."""

    values: Mapping[str, float]
    needed: Mapping[str, float]
    """Sentences needed."""
    errors: Mapping[str, float]
    """Standard errors."""


def read_stability(out: Path, runs: Sequence[Repetition]) -> list[ScoreStability]:
    """Return the stability of each headline score, from finished runs.

    Args:
        out: folder of the runs.
        runs: as `repetitions` makes them.

    Raises:
        DataFolderError: if a run is missing or cannot be read.
    """
    measured = {(run.records, run.proposals, run.simulator): _read(out / run.name) for run in runs}
    keys = sorted({key for run in measured.values() for key in run}, key=lambda key: (key.layer, key.latent))
    shape = tuple(max(places) + 1 for places in zip(*measured, strict=True))
    found = []
    for name in _HEADLINE:
        values = np.full((len(keys), *shape), np.nan)
        for place, run in measured.items():
            values[(slice(None), *place)] = [run[key].values[name] if key in run else np.nan for key in keys]
        defined = np.flatnonzero(~np.isnan(values).any(axis=(1, 2, 3))).tolist()
        own = [run[keys[row]] for row in defined for run in measured.values()]
        found.append(stability_of(name, values[defined], _sentences(name, own), len(keys) - len(defined)))
    return found


def stability_of(
    name: str, values: NDArray[np.float64], sentences: SentencesNeeded | None, left_out: int
) -> ScoreStability:
    """Return the stability of a score from its values.

    Args:
        name: of the score.
        values: all defined [features, draws of records, draws of proposals, simulators].
        sentences: how many it needs.
        left_out: features without a defined score in every run.
    """
    varied = ("records", "proposals", "simulators")
    if not len(values):
        return ScoreStability(name, math.nan, NOTHING_VARIED, {}, sentences, 0, left_out)
    ranks = {
        what: mean_rank_correlation(values, axis) for axis, what in enumerate(varied, start=1) if values.shape[axis] > 1
    }
    return ScoreStability(
        name, float(values.mean()), variance_components(values), ranks, sentences, len(values), left_out
    )


def mean_rank_correlation(values: NDArray[np.float64], axis: int) -> float:
    """Return the mean Spearman correlation of features between two runs that differ along one axis alone.

    Args:
        values: scores [features, ...].
        axis: which of the other axes, from 1.
    """
    by_draw = np.moveaxis(values, axis, 1).reshape(len(values), values.shape[axis], -1)
    pairs = combinations(range(by_draw.shape[1]), 2)
    found = [spearman(by_draw[:, a, rest], by_draw[:, b, rest]) for a, b in pairs for rest in range(by_draw.shape[2])]
    return float(np.mean(found))


def _read(run: Path) -> dict[FeatureKey, _Measured]:
    with RunStore.open(run) as store:
        return {result.key: _measured(result) for result in store.results()}


def _measured(result: FeatureResult) -> _Measured:
    values = {name: float(score) if (score := find(result)) else math.nan for name, find in _HEADLINE.items()}
    pairs = [pair for pair in result.test_sequences if pair.record.source in (None, _SAME_TOKEN)]
    n_negatives = sum(pair.record.source is not None for pair in pairs)
    of_scores = standard_errors(pairs) if n_negatives else {}
    errors = {words: of_scores.get(score, math.nan) for score, words in _SENTENCES.items()}
    counts = {_SENTENCES[_CORRELATION]: len(pairs), _SENTENCES[_CLAIMS]: n_negatives}
    needed = {words: counts[words] * (error / WANTED_ERROR) ** 2 for words, error in errors.items()}
    return _Measured(values, needed, errors)


def _sentences(name: str, measured: Sequence[_Measured]) -> SentencesNeeded | None:
    needed = np.array([one.needed.get(name, math.nan) for one in measured])
    errors = np.array([one.errors.get(name, math.nan) for one in measured])
    known = ~np.isnan(needed)
    if not known.any():
        return None
    median, most = np.quantile(needed[known], [0.5, 0.9])
    return SentencesNeeded(float(median), float(most), float(np.median(errors[known])))


def _on_corpus(result: FeatureResult) -> Score | None:
    return None if result.corpus is None else result.corpus.scores.correlation


def _on_same_token(score: str) -> Callable[[FeatureResult], Score | None]:
    def find(result: FeatureResult) -> Score | None:
        scores = result.scores.get(_SAME_TOKEN.value)
        return None if scores is None else getattr(scores, score)

    return find


ON_CORPUS = "correlation, corpus"
_SENTENCES = {
    _CORRELATION: "correlation, same token",
    _CLAIMS: "false claims, same token",
}
_HEADLINE: Mapping[str, Callable[[FeatureResult], Score | None]] = {
    ON_CORPUS: _on_corpus,
    **{words: _on_same_token(score) for score, words in _SENTENCES.items()},
}
"""Scores of the headline by name."""
