"""What measuring holistic activations costs beside running the whole model for every deletion.

    python -m benchmarks.holistic [--full]

The naive way runs, for each sequence, all its deletions as one batch of full forward passes with logits, and encodes
all latents. Both agree within 1e-5. `--full` is the shape of GPT-2 small, its middle layer, 32 tokens. CPU time on one
thread per sequence. Exit code 1 where measuring is not at least 4 times as fast, or the numbers differ. Beside it
stands what it saves to measure the sequences of records only, timed where they are one in ten of a corpus.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.random_subject import random_subject, random_tokens
from featureinterp.dataset.activations.attribution import capture_holistic, holistic_activations
from featureinterp.subject.subject import Subject

LEAST_SPEEDUP, LARGEST_ERROR = 4.0, 1e-5
LENGTH = 32


@torch.inference_mode()
def naive(subject: Subject, row: NDArray[np.int32], latents: list[int]) -> NDArray[np.float64]:
    """Return h[t] = 1/(T-1) · sum over u != t of (a[u] - a without t [u]) of one sequence, [T, latents]."""
    (sae,) = subject.saes.values()
    without = np.stack([np.delete(row, t) for t in range(len(row))])

    def activations(tokens: NDArray[np.int32]) -> NDArray[np.float64]:
        output = subject.model.language_model(input_ids=torch.from_numpy(tokens).long(), output_hidden_states=True)
        return sae.encode(output.hidden_states[sae.layer + 1])[..., latents].double().numpy()

    clean, deleted = activations(row[None])[0], activations(without)
    return np.stack([(np.delete(clean, t, axis=0) - deleted[t]).sum(axis=0) for t in range(len(row))]) / (len(row) - 1)


def records_only(subject: Subject, sequences: int, latents: list[int]) -> float:
    """Return how many times as long the stage takes on ten times the sequences, storage included."""
    (hook,) = subject.saes
    tokens = random_tokens(10 * sequences, LENGTH, 50257)

    def taken(some: NDArray[np.integer]) -> float:
        with tempfile.TemporaryDirectory() as folder:
            begun = time.process_time()
            capture_holistic(subject, tokens, False, {hook: dict.fromkeys(latents, some)}, Path(folder))
            return time.process_time() - begun

    chosen = np.sort(np.random.default_rng(0).permutation(len(tokens))[:sequences])
    return taken(np.arange(len(tokens))) / taken(chosen)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="the shape of GPT-2 small")
    parser.add_argument("--sequences", type=int, default=16, help="sequences measured together")
    parser.add_argument("--naive", type=int, default=3, help="of them, how many the naive way is timed on")
    args = parser.parse_args()
    torch.set_num_threads(1)
    blocks, width, n_latents = (12, 768, 32_768) if args.full else (4, 256, 8192)
    subject = random_subject(blocks, width, 50257, [blocks // 2], n_latents)
    (hook,) = subject.saes
    tokens = random_tokens(args.sequences, LENGTH, 50257)
    latents = list(range(0, n_latents, n_latents // 50))[:50]
    holistic_activations(subject, tokens[:2], False, {hook: latents})
    begun = time.process_time()
    made = holistic_activations(subject, tokens, False, {hook: latents})[hook]
    taken = (time.process_time() - begun) / len(tokens)
    begun = time.process_time()
    wanted = np.stack([naive(subject, row, latents) for row in tokens[: args.naive]])
    plain = (time.process_time() - begun) / args.naive
    error = float(np.abs(made[: args.naive] - wanted).max())
    print(f"naive {plain:.3f} s per sequence, ours {taken:.3f} s; values up to {np.abs(wanted).max():.3g}")
    print(f"{plain / taken:.2f} times as fast (at least {LEAST_SPEEDUP:g} is promised)")
    print(f"largest difference {error:.2g} (at most {LARGEST_ERROR:g} is promised)")
    saved = records_only(subject, args.sequences, latents)
    print(f"records only: {saved:.1f} times as fast as the corpus where they are one sequence in ten of it")
    return int(plain / taken < LEAST_SPEEDUP or error > LARGEST_ERROR)


if __name__ == "__main__":
    sys.exit(main())
