"""Does memory grow with the corpus while activations are captured? `python -m benchmarks.capture_memory`.

Captures random token windows through the embedded subject, once and ten times as many, each in a process of its own,
and prints the peak resident memory of both and their ratio; exits with 1 where it is above 1.15.
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


def capture(sequences: int) -> None:
    """Capture so many windows in this process and print its peak memory in MiB."""
    from featureinterp.dataset.capture import CaptureParams, capture_activations
    from featureinterp.subject.subject import open_subject

    subject = open_subject("embedded", "embedded", device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokens.npy"
        tokens = np.random.default_rng(0).integers(1, 6000, (sequences, 33)).astype(np.int32)
        tokens[:, 0] = subject.model.bos_token_id
        np.save(path, tokens)
        del tokens
        params = CaptureParams(shard_sequences=128, merge_entries=100_000)
        capture_activations(subject, np.load(path, mmap_mode="r"), True, Path(folder), params)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def peak(sequences: int) -> float:
    """Return the peak memory in MiB of a fresh process that captures so many windows."""
    command = [sys.executable, "-m", "benchmarks.capture_memory", "--child", str(sequences)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sequences", type=int, default=512, help="windows of the smaller corpus")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child is not None:
        capture(args.child)
        return 0
    small, large = peak(args.sequences), peak(10 * args.sequences)
    print(
        f"{args.sequences} windows: {small:.0f} MiB; {10 * args.sequences}: {large:.0f} MiB; ratio {large / small:.3f}"
    )
    return int(large / small > LARGEST_RATIO)


if __name__ == "__main__":
    sys.exit(main())
