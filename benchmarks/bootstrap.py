"""How much faster the bootstrap over sentences is than resampling the tokens in a loop; the numbers are the same.

    python benchmarks/bootstrap.py --sentences 60 --resamples 1000

Both compute all seven pooled scores on the same resamples. The loop writes the tokens of every resample out and
calls the same formulas; the other way is a matrix product of resampling counts with sums per sentence. CPU time is
compared, the best of a few rounds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from featureinterp import stats

TOKENS = 32
FORMULAS = (
    stats.correlation,
    stats.r_squared,
    stats.absolute_deviation_explained,
    stats.precision,
    stats.recall,
    stats.f1,
)


def example(sentences: int) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Return truth, expectation and owner of every token, and the list each sentence is from."""
    rng = stats.generator(0, "benchmark")
    n = sentences * TOKENS
    truth = np.where(rng.random(n) < 0.08, 5 * rng.random(n), 0.0)
    expected = np.clip(0.8 * truth + np.where(rng.random(n) < 0.1, rng.normal(0, 1, n), 0), 0, 5)
    return truth, expected, np.repeat(np.arange(sentences), TOKENS), np.arange(sentences) % 2


def looped(truth: NDArray, expected: NDArray, owner: NDArray, counts: NDArray) -> NDArray:
    """Return scores [7, resamples], each resample's tokens written out."""
    tokens_of = [np.flatnonzero(owner == sentence) for sentence in range(counts.shape[1])]
    rows = []
    for count in counts.astype(int):
        tokens = np.concatenate([tokens_of[s] for s in np.repeat(np.arange(len(count)), count)])
        t, e = truth[tokens], expected[tokens]
        sums = stats.token_sums(t, e)
        rows.append([*(formula(sums).item() for formula in FORMULAS), float(stats.auroc(stats.ranked_pairs(t > 0, e)))])
    return np.array(rows).T


def vectorised(truth: NDArray, expected: NDArray, owner: NDArray, counts: NDArray) -> NDArray:
    """Return scores [7, resamples] from sums per sentence."""
    n = counts.shape[1]
    sums = stats.token_sums(truth, expected, owner, n).weighted(counts)
    area = stats.auroc(stats.ranked_pairs(truth > 0, expected, owner, n), counts)
    return np.stack([*(formula(sums) for formula in FORMULAS), area])


def cpu_seconds(function: Callable[[], NDArray], rounds: int) -> tuple[float, NDArray]:
    """Return the least CPU time of a few rounds, and the result."""
    best, result = np.inf, np.empty(0)
    for _ in range(rounds):
        started = time.process_time()
        result = function()
        best = min(best, time.process_time() - started)
    return best, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=int, default=60)
    parser.add_argument("--resamples", type=int, default=1000)
    args = parser.parse_args()
    truth, expected, owner, strata = example(args.sentences)
    drawing, counts = cpu_seconds(
        lambda: stats.resampling_counts(strata, args.resamples, stats.generator(0, "benchmark", "counts")), rounds=5
    )
    slow, by_loop = cpu_seconds(lambda: looped(truth, expected, owner, counts), rounds=2)
    fast, by_product = cpu_seconds(lambda: vectorised(truth, expected, owner, counts), rounds=10)
    difference = float(np.max(np.abs(by_loop - by_product)))
    print(f"{args.sentences} sentences of {TOKENS} tokens, {args.resamples} resamples, seven scores, CPU time")
    print(f"loop        {1000 * slow:9.1f} ms")
    print(f"vectorised  {1000 * fast:9.1f} ms   and {1000 * drawing:.1f} ms to draw the resamples")
    print(f"ratio       {slow / fast:9.0f}      largest difference between the two {difference:.1e}")


if __name__ == "__main__":
    main()
