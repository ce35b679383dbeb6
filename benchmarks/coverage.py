"""How often intervals cover the truth, and how often tests reject what is true: `python -m benchmarks.coverage`.

Populations of sentences: (a) lexical explanations of latents of the embedded model, simulated on windows of its corpus;
(b) synthetic ones with heavy tails: activations of which a few are much larger than the rest, sentences that an
explanation misses whole, false positives in bursts. Samples of so many positives and as many silent sentences are drawn
from each with replacement; the truth is the score of the population, both lists weighing the same.

Means over features and tests have skewed differences with mean 0. Prints Markdown; a few minutes on one core.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featureinterp import stats
from featureinterp.core import Score
from featureinterp.dataset.folder import DataFolder
from featureinterp.dataset.prepare import prepare, subject_of
from featureinterp.dataset.spec import DataSpec
from featureinterp.explainer.lexical.proposer import LexicalProposer
from featureinterp.record import ActivationRecord, ComplementaryRecordSource
from featureinterp.scoring import TokenLookupSimulator, simulate_records
from featureinterp.scoring.difference import PairedSample, expected_sums
from featureinterp.scoring.sample import PooledLevels, SentenceSample, SentenceSums
from featureinterp.scoring.simulation import pooled_levels
from featureinterp.simulator.lexical import EmbeddingMemory, LexicalSimulatorFactory
from featureinterp.stats import generator
from featureinterp.stats.intervals import Interval

SIZES = (10, 20, 30)
LENGTH = 32
TRAIN, LEAST_ACTIVE, MOST_WINDOWS = 30, 100, 400
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Burst:
    """A synthetic population: how a latent fires, and what an explanation makes of it."""

    hits: tuple[float, float]
    """Beta distribution of a sentence's share of active tokens that are expected."""
    missed: float
    """Share of positives of which no token is expected."""
    false: float
    """Share of sentences with false positives; their number is geometric."""
    burst: float
    """Mean number of false positives in such a sentence."""
    spread: float
    """Deviation of the logarithm of expected over true activation."""


HEAVY_TAILS = (
    Burst((20, 1), 0.0, 0.01, 1.5, 0.3),
    Burst((8, 1), 0.02, 0.02, 1.3, 0.5),
    Burst((4, 1), 0.05, 0.05, 1.5, 0.5),
    Burst((9, 1), 0.0, 0.5, 2.0, 0.3),
    Burst((2, 1), 0.1, 0.1, 2.0, 0.8),
    Burst((2, 2), 0.2, 0.3, 2.0, 0.8),
    Burst((1, 2), 0.3, 0.1, 1.5, 1.0),
    Burst((1, 5), 0.5, 0.05, 2.0, 1.0),
)


@dataclass(frozen=True)
class Population:
    """Two explanations on the same sentences, with all that their scores need."""

    ours: SentenceSample
    theirs: SentenceSample
    between: stats.TokenSums

    @classmethod
    def of(cls, ours: PooledLevels, theirs: PooledLevels, complementary: NDArray[np.bool_]) -> Population:
        """Make it of the levels of the same tokens."""
        first, second = (SentenceSample.of(levels, SentenceSums.of(levels, complementary)) for levels in (ours, theirs))
        return cls(first, second, expected_sums(ours, theirs))

    def take(self, rows: NDArray[np.int64]) -> Population:
        """Return some sentences, in order; one may come several times."""
        return Population(self.ours.take(rows), self.theirs.take(rows), self.between.take(rows))

    def difference(self) -> Score:
        """Return the paired difference of the two correlations."""
        return PairedSample(self.ours.of_tokens, self.theirs.of_tokens, self.between).difference()


def synthetic(burst: Burst, rng: np.random.Generator, n: int = 2000) -> Population:
    """Return a population of n positives and n silent sentences; the second explanation finds less."""
    truth = np.zeros((2 * n, LENGTH))
    expected = np.zeros((2, 2 * n, LENGTH))
    hit = rng.beta(*burst.hits, n) * (rng.random(n) >= burst.missed)
    for row in range(n):
        at = rng.choice(LENGTH, min(rng.geometric(0.5), 6), replace=False)
        truth[row, at] = np.minimum(rng.lognormal(0.0, 1.0, len(at)), 5)
        for side in range(2):
            found = rng.random(len(at)) < hit[row] * (1 - 0.2 * side)
            noise = np.exp(burst.spread * (1 + side) * rng.normal(size=len(at)))
            expected[side, row, at] = found * np.clip(truth[row, at] * noise, 1.25, 5)
    for row in np.flatnonzero(rng.random(2 * n) < burst.false):
        at = rng.choice(LENGTH, min(rng.geometric(1 / burst.burst), 10), replace=False)
        for side in range(rng.integers(1, 3)):
            wrong = rng.choice([2.0, 3.0, 5.0], len(at))
            expected[side, row, at] = np.where(truth[row, at] > 0, expected[side, row, at], wrong)
    owner, complementary = np.repeat(np.arange(2 * n), LENGTH), np.arange(2 * n) >= n
    sides = [
        PooledLevels(truth.ravel(), side, owner, side > 1, 2 * n) for side in np.round(4 * expected.reshape(2, -1)) / 4
    ]
    return Population.of(sides[0], sides[1], complementary)


def real(root: Path, n_features: int) -> Iterator[Population]:
    """Yield populations of latents of the embedded model: one proposal against the token table, on unseen windows."""
    spec = DataSpec(layers="2,4", max_features=2 * n_features, max_dataset_size=3000)
    subject = subject_of(spec, "cpu")
    data = prepare(spec, root, stages=("sae_acts",), subject=subject)
    embeddings, made = EmbeddingMemory(), 0
    for hook in data.hook_names:
        for latent in data.latents(hook):
            lists = _windows(data, hook, latent)
            if lists is None or made >= n_features * (1 + data.hook_names.index(hook)) // len(data.hook_names):
                continue
            records = [
                data.activation_records(hook, latent, rows, subject.model.token_strings, source)
                for rows, source in zip(lists, (None, ComplementaryRecordSource.RANDOM_NEGATIVE), strict=True)
            ]
            population = asyncio.run(_explained(records, embeddings))
            if population is not None:
                made += 1
                yield population


def _windows(data: DataFolder, hook: str, latent: int) -> tuple[list[int], list[int]] | None:
    rows, largest = data.activations(hook).latent(latent).sequence_maxima()
    active = rows[largest > 0]
    if len(active) < LEAST_ACTIVE:
        return None
    rng = generator(0, hook, latent, "coverage")
    silent = np.setdiff1d(np.arange(len(data.windows())), active)
    return tuple(rng.permutation(each)[:MOST_WINDOWS].tolist() for each in (active, silent))


async def _explained(records: Sequence[Sequence[ActivationRecord]], embeddings: EmbeddingMemory) -> Population | None:
    train = [record for each in records for record in each[:TRAIN]]
    rest = [record for each in records for record in each[TRAIN:]]
    [proposal] = await LexicalProposer(embeddings=embeddings).propose(train, 1)
    if proposal.explanation is None:
        return None
    simulators = (LexicalSimulatorFactory(embeddings)(proposal.explanation), TokenLookupSimulator(train))
    ours, theirs = [await simulate_records(simulator, rest) for simulator in simulators]
    complementary = np.array([record.source is not None for record in rest])
    return Population.of(pooled_levels(ours), pooled_levels(theirs), complementary)


def truth_of(sample: SentenceSample) -> dict[str, float]:
    """Return the scores of a population, both lists weighing the same."""
    share = sample.complementary.mean()
    weights = np.where(sample.complementary, 1 / share, 1 / (1 - share))
    return {name: float(value) for name, value in sample.scores(weights).items()}


def coverage(populations: Sequence[Population], n: int, draws: int, rng: np.random.Generator) -> dict[str, list[float]]:
    """Return by score the share of intervals that hold the truth, one number per population; NaN where undefined."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for population in populations:
        truths, theirs = truth_of(population.ours), truth_of(population.theirs)
        covered: defaultdict[str, list[bool]] = defaultdict(list)
        for _ in range(draws):
            sample = population.take(draw(population.ours.complementary, n, rng))
            for name, interval in sample.ours.intervals().items():
                covered[name].append(holds(interval, truths[name]))
            score = sample.difference()
            if score.ci_low is not None and score.ci_high is not None:
                difference = truths["correlation"] - theirs["correlation"]
                covered["paired difference"].append(holds((score.ci_low, score.ci_high), difference))
        for name in (*truths, "paired difference"):
            found[name].append(float(np.mean(covered[name])) if covered[name] else np.nan)
    return dict(found)


def draw(complementary: NDArray[np.bool_], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw n positives and n silent sentences, with replacement."""
    return np.concatenate([rng.choice(np.flatnonzero(complementary == side), n) for side in (False, True)])


def holds(interval: Interval, truth: float) -> bool:
    """Return whether the truth lies in an interval, up to rounding."""
    return interval[0] - 1e-9 <= truth <= interval[1] + 1e-9


SKEWED: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Floats]] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "exponential": lambda rng, shape: rng.exponential(size=shape) - 1,
    "chi-square(1)": lambda rng, shape: rng.chisquare(1, size=shape) - 1,
    "lognormal(1)": lambda rng, shape: rng.lognormal(size=shape) - np.exp(0.5),
}
"""Distributions with mean 0, by name."""


def mean_coverage(kind: str, n: int, draws: int, rng: np.random.Generator) -> float:
    """Return the share of intervals of a mean over n features that hold it."""
    return float(np.mean([holds(stats.mean_interval(row), 0.0) for row in SKEWED[kind](rng, (draws, n))]))


def rejections(kind: str, n: int, draws: int, rng: np.random.Generator, n_flips: int = 999) -> float:
    """Return how often the sign-flip test rejects at 5% that a mean is 0, which it is."""
    samples = SKEWED[kind](rng, (draws, n))
    return float(np.mean([stats.sign_flip_p_value(row, rng, n_flips) <= 0.05 for row in samples]))


def family_rejections(kind: str, n: int, draws: int, rng: np.random.Generator, n_flips: int = 999) -> float:
    """Return how often any of ten corrected tests on the same features rejects at 5%; all means are 0."""
    wrong = 0
    for _ in range(draws):
        shared, own = SKEWED[kind](rng, (1, n)), SKEWED[kind](rng, (10, n))
        corrected = stats.holm([stats.sign_flip_p_value(row, rng, n_flips) for row in 0.6 * shared + 0.8 * own])
        wrong += min(corrected) <= 0.05
    return wrong / draws


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)) + "\n"


def coverage_table(populations: Sequence[Population], draws: int) -> str:
    """Return the mean coverage over populations by score and size, and the least of any population."""
    found = [coverage(populations, n, draws, generator(0, "coverage", n)) for n in SIZES]
    rows = [
        [name.replace("_", " "), *(f"{np.nanmean(each[name]):.3f} ({np.nanmin(each[name]):.2f})" for each in found)]
        for name in found[0]
    ]
    return table(["score", *(f"{n}+{n}" for n in SIZES)], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/coverage"), help="where the embedded data are prepared")
    parser.add_argument("--features", type=int, default=40, help="latents of the embedded model")
    parser.add_argument("--draws", type=int, default=100, help="samples of each synthetic population and size")
    args = parser.parse_args()
    rng = generator(0, "coverage")
    populations = list(real(args.data, args.features))
    print(f"Coverage of 95% intervals, {len(populations)} latents of the embedded model, mean (least of a latent):\n")
    print(coverage_table(populations, max(args.draws // 4, 1)))
    print(f"The same, {len(HEAVY_TAILS)} synthetic populations with heavy tails:\n")
    print(coverage_table([synthetic(burst, rng) for burst in HEAVY_TAILS], args.draws))
    means = [[kind, *(f"{mean_coverage(kind, n, 4000, rng):.3f}" for n in (4, 12, 24, 50, 300))] for kind in SKEWED]
    print("Coverage of 95% intervals of a mean over n features:\n")
    print(table(["values", "4", "12", "24", "50", "300"], means))
    tests = [
        [kind, *(f"{rate(kind, n, 1500, rng):.3f}" for rate in (rejections, family_rejections) for n in (24, 50, 300))]
        for kind in SKEWED
    ]
    print("Type-I error at 5%, of one test and of a family of ten:\n")
    print(table(["differences", *(f"{n}, {name}" for name in ("one", "ten") for n in (24, 50, 300))], tests))


if __name__ == "__main__":
    main()
