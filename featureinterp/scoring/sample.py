"""All scores of a sample of sentences, with their intervals."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from featureinterp import stats
from featureinterp.core import CLAIMED_ABOVE
from featureinterp.stats.intervals import Interval

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PooledLevels:
    """True and expected levels of all tokens, concatenated."""

    truth: Floats
    """5·a / max a, not rounded [tokens]."""
    expected: Floats
    owner: NDArray[np.int64]
    """Index of the record of each token [tokens]."""
    claimed: NDArray[np.bool_]
    n_records: int


@dataclass(frozen=True)
class SentenceSums:
    """What a correlation needs of each sentence; every array begins with an axis of sentences."""

    sums: stats.TokenSums
    complementary: NDArray[np.bool_]
    """Whether the sentence is of a complementary list; else it is a positive."""
    weights: Floats
    """How many sentences each one stands for."""

    @classmethod
    def of(cls, levels: PooledLevels, complementary: NDArray[np.bool_], weights: Floats | None = None) -> SentenceSums:
        """Sum up all tokens; `weights` [sentences] are 1 each where there are none."""
        sums = stats.token_sums(levels.truth, levels.expected, levels.owner, levels.n_records, claimed=levels.claimed)
        return cls(sums, complementary, np.ones(levels.n_records) if weights is None else weights)

    def take(self, rows: NDArray[np.int64]) -> SentenceSums:
        """Return the sums of some sentences, in order; one may come several times."""
        return SentenceSums(self.sums.take(rows), self.complementary[rows], self.weights[rows])

    @cached_property
    def strata(self) -> NDArray[np.int64]:
        """Which of the lists that were sampled each sentence is from: those of one list and one weight [sentences].

        A list of one sentence is joined to that of the next smaller or larger weight (collapsed strata; Cochran,
        "Sampling Techniques", 1977, section 5A.12), never positives to complementary ones.
        """
        labels = np.zeros(len(self.weights), dtype=np.int64)
        for complementary in (False, True):
            (rows,) = np.nonzero(self.complementary == complementary)
            _, ranks = np.unique(self.weights[rows], return_inverse=True)
            labels[rows] = 2 * _collapsed(ranks) + complementary
        return labels

    @cached_property
    def left_out(self) -> Floats | None:
        """Weights of the samples without each sentence [sentences, sentences]; None where a list has a single one."""
        if np.unique(self.strata, return_counts=True)[1].min() < 2:
            return None
        return stats.leave_one_out_weights(self.strata) * self.weights

    @cached_property
    def correlation(self) -> float:
        """The correlation; NaN where undefined."""
        return float(self.sums.correlations(self.weights))

    @cached_property
    def correlations_without_each(self) -> Floats | None:
        """The correlation without each sentence [sentences]; None where a list has a single one."""
        return None if self.left_out is None else self.sums.correlations(self.left_out)

    def correlation_interval(self) -> Interval | None:
        """Return the 95% interval of a defined correlation; None where a list has a single sentence."""
        value, replicates = self.correlation, self.correlations_without_each
        if np.isnan(value) or replicates is None:
            return None
        return stats.correlation_interval(value, replicates, self.strata)


@dataclass(frozen=True)
class SentenceSample:
    """What the scores need of each sentence; every array begins with an axis of sentences."""

    of_tokens: SentenceSums
    ranked: stats.RankedTokens
    false_positives: Floats
    """Silent claimed tokens by sentence, 0 for positives [sentences]."""
    false_positives_expected: Floats
    """The same of tokens expected above level 1 [sentences]."""

    @classmethod
    def of(cls, levels: PooledLevels, summed: SentenceSums) -> SentenceSample:
        """Make a sample of all tokens, given their sums."""
        owner, n, complementary = levels.owner, levels.n_records, summed.complementary
        ranked = stats.ranked_tokens(levels.truth > 0, levels.expected, owner, n)
        wrong = (levels.expected > CLAIMED_ABOVE) & (levels.truth <= 0)
        expected = np.bincount(owner, weights=wrong, minlength=n) * complementary
        return cls(
            summed, ranked, (summed.sums.claimed - summed.sums.hits) * complementary, expected.astype(np.float64)
        )

    @property
    def sums(self) -> stats.TokenSums:
        """Sums over the tokens of each sentence."""
        return self.of_tokens.sums

    @property
    def complementary(self) -> NDArray[np.bool_]:
        """Whether each sentence is of a complementary list; else it is a positive."""
        return self.of_tokens.complementary

    @property
    def weights(self) -> Floats:
        """How many sentences each one stands for."""
        return self.of_tokens.weights

    def take(self, rows: NDArray[np.int64]) -> SentenceSample:
        """Return the sample of some sentences, in order; one may come several times."""
        return SentenceSample(
            self.of_tokens.take(rows),
            self.ranked.take(rows),
            self.false_positives[rows],
            self.false_positives_expected[rows],
        )

    def scores(self, weights: Floats) -> dict[str, Floats]:
        """Return every score of every reweighted sample, given weights [..., sentences]."""
        sums = self.sums.weighted(weights)
        with np.errstate(invalid="ignore", divide="ignore"):
            n_complementary = weights @ self.complementary.astype(np.float64)
            per_sentence = (weights @ self.false_positives) / n_complementary
            expected_per_sentence = (weights @ self.false_positives_expected) / n_complementary
        return {
            "correlation": stats.correlation(sums),
            "r_squared": stats.r_squared(sums),
            "absolute_deviation_explained": stats.absolute_deviation_explained(sums),
            "auroc": stats.auroc(self.ranked, weights),
            "average_precision": stats.average_precision(self.ranked, weights),
            "precision": stats.precision(sums),
            "recall": stats.recall(sums),
            "f1": stats.f1(sums),
            "iou": stats.iou(sums),
            "false_positives_per_sentence": per_sentence,
            "false_positives_expected_per_sentence": expected_per_sentence,
        }

    def values(self) -> dict[str, float]:
        """Return every score; NaN where undefined."""
        return {name: float(value) for name, value in self.scores(self.weights).items()}

    def intervals(self) -> dict[str, Interval]:
        """Return the 95% interval of every score that is defined; none where a list has a single sentence."""
        strata, left_out = self.of_tokens.strata, self.of_tokens.left_out
        if left_out is None:
            return {}
        replicates = self.scores(left_out)
        informative = self._informative()
        counts = {
            "false_positives_per_sentence": self.false_positives,
            "false_positives_expected_per_sentence": self.false_positives_expected,
        }
        found: dict[str, Interval] = {}
        for name, value in self.values().items():
            if np.isnan(value):
                continue
            if name in counts:
                rows = self.complementary
                found[name] = stats.rate_interval(counts[name][rows], self.weights[rows])
            elif name == "correlation":
                found[name] = stats.correlation_interval(value, replicates[name], strata)
            elif name in informative:
                found[name] = stats.share_interval(value, replicates[name], strata, informative[name])
            else:
                found[name] = stats.explained_interval(value, replicates[name], strata)
        return found

    def standard_errors(self) -> dict[str, float]:
        """Return the jackknife standard error of every score; none where a list has a single sentence."""
        left_out, strata = self.of_tokens.left_out, self.of_tokens.strata
        if left_out is None:
            return {}
        return {name: stats.jackknife_variance(values, strata) ** 0.5 for name, values in self.scores(left_out).items()}

    def _informative(self) -> dict[str, float]:
        """Return how many sentences each score from 0 to 1 depends on."""
        active, claimed = self.sums.active > 0, self.sums.claimed > 0
        sides = {"auroc": active, "average_precision": active, "precision": claimed, "recall": active}
        sides |= dict.fromkeys(("f1", "iou"), active | claimed)
        return {name: stats.effective_number(self.weights[rows]) for name, rows in sides.items() if rows.any()}


def _collapsed(ranks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Join strata, numbered in order, until each has two members; a single one in all stays alone."""
    sizes = np.bincount(ranks)
    joined, number, held = np.zeros(len(sizes), dtype=np.int64), 0, 0
    for rank, size in enumerate(sizes):
        if held >= 2:
            number, held = number + 1, 0
        joined[rank] = number
        held += size
    if held < 2 and number > 0:
        joined[joined == number] = number - 1
    return joined[ranks]
