"""Does memory grow with the corpus while activations are captured? `python -m benchmarks.capture_memory [--full]`.

Captures random token windows through a tiny model of random weights, once and ten times as many, each in a process of
its own, and prints the peak resident memory of both and their ratio; exits with 1 where it is above 1.15. `--full` is
20,000 and 200,000 windows. Memory per window does not depend on the model: a batch is in memory at a time.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

LARGEST_RATIO = 1.15
VOCABULARY = 1000


def capture(sequences: int) -> None:
    """Capture so many windows in this process and print its peak memory in MiB."""
    import torch

    from benchmarks.random_subject import random_subject
    from featureinterp.dataset.activations.capture import CaptureParams, capture_activations

    torch.set_num_threads(1)
    subject = random_subject(2, 32, VOCABULARY, [0, 1], 1024)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokens.npy"
        shape = (sequences, 32)
        tokens = np.lib.format.open_memmap(path, "w+", np.int32, shape)
        rng = np.random.default_rng(0)
        for start in range(0, sequences, 1000):
            tokens[start : start + 1000] = rng.integers(1, VOCABULARY, tokens[start : start + 1000].shape)
        del tokens
        capture_activations(subject, np.load(path, mmap_mode="r"), False, Path(folder), CaptureParams(max_memory=2**26))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def peak(sequences: int) -> float:
    """Return the peak memory in MiB of a fresh process that captures so many windows."""
    command = [sys.executable, "-m", "benchmarks.capture_memory", "--child", str(sequences)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sequences", type=int, default=2000, help="windows of the smaller corpus")
    parser.add_argument("--full", action="store_true", help="20,000 windows and ten times as many")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child is not None:
        capture(args.child)
        return 0
    n = 20_000 if args.full else args.sequences
    small, large = peak(n), peak(10 * n)
    print(f"{n} windows: {small:.0f} MiB; {10 * n}: {large:.0f} MiB; ratio {large / small:.3f}")
    return int(large / small > LARGEST_RATIO)


if __name__ == "__main__":
    sys.exit(main())
