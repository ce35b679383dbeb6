"""What ranking the corpus by similarity costs beside a loop over the corpus for every latent.

    python -m benchmarks.similar_negatives [--full]

The naive way goes through the corpus for each latent, takes each sequence's cosines to the latent's 400 top sequences,
averages and sorts. It is timed on a few latents and extrapolated to all, which is said; so is the same with one matrix
product for the whole similarity matrix. Both orders are compared with a ranking in float64. `--full` is 1,000 latents
over 100,000 sequences of 384 dimensions. CPU time on one thread, the first 200 of every ranking read. Exit code 1 where
ranking is not at least 100 times as fast as the loop, or the order differs.
"""

from __future__ import annotations

import argparse
import sys
import time
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from featureinterp.dataset.retrieval.exact import ExactRanker

LEAST_SPEEDUP = 100.0
READ, TOP = 200, 400


def sentences(n: int, dimensions: int) -> NDArray[np.float32]:
    """Draw unit rows around a thousand topics."""
    rng = np.random.default_rng(0)
    topics = rng.normal(size=(1000, dimensions))
    rows = topics[rng.integers(0, 1000, n)] + rng.normal(size=(n, dimensions))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def loop(embeddings: NDArray[np.float32], top: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rank the corpus sequence by sequence."""
    chosen = embeddings[top]
    return np.argsort([-float((chosen @ row).mean()) for row in embeddings], kind="stable")


def whole_matrix(embeddings: NDArray[np.float32], top: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rank the corpus by the full similarity matrix, [corpus, top]."""
    return np.argsort(-(embeddings @ embeddings[top].T).mean(axis=1), kind="stable")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="1,000 latents over 100,000 sequences")
    parser.add_argument("--naive", type=int, default=2, help="latents that the naive way is timed on")
    args = parser.parse_args()
    n_latents, n = (1000, 100_000) if args.full else (128, 20_000)
    embeddings = sentences(n, 384)
    rng = np.random.default_rng(1)
    tops = [rng.choice(n, TOP, replace=False) for _ in range(n_latents)]
    with threadpool_limits(1):
        begun = time.process_time()
        made = [list(islice(ranking, READ)) for ranking in ExactRanker(embeddings).rankings(tops)]
        ours = (time.process_time() - begun) / n_latents
        per_latent = []
        for rank in (loop, whole_matrix):
            begun = time.process_time()
            for top in tops[: args.naive]:
                rank(embeddings, top)
            per_latent.append((time.process_time() - begun) / args.naive)
    wide = embeddings.astype(np.float64)
    exact = [np.argsort(-(wide @ wide[top].mean(axis=0)), kind="stable")[:READ].tolist() for top in tops[:20]]
    same = made[:20] == exact
    print(f"{n_latents} latents over {n} x 384: {1000 * ours:.2f} ms each, {ours * n_latents:.1f} s in all")
    for told, taken in zip(("loop", "one product per latent"), per_latent, strict=True):
        print(
            f"{told}: {1000 * taken:.0f} ms each on {args.naive} latents, extrapolated {taken * n_latents:.0f} s; "
            f"{taken / ours:.0f} times as long"
        )
    print(f"{per_latent[0] / ours:.0f} times as fast as the loop (at least {LEAST_SPEEDUP:g} is promised)")
    print(f"the order of 20 latents' first {READ} is that of float64: {same}")
    return int(per_latent[0] / ours < LEAST_SPEEDUP or not same)


if __name__ == "__main__":
    sys.exit(main())
