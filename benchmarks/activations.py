"""What capturing activations costs beside the naive way and beside the model alone.

    python -m benchmarks.activations [--full] [--table] [--device cuda --dtype bfloat16]

The naive way is a full forward pass with logits, every latent encoded, the asked ones stored densely. Both give the
same values, which is checked. `--full` is the shape of GPT-2 small with 50 latents of 32,768 at each of layers 0 to 6.
CPU time on one thread, the best of a few rounds. Exit code 1 where capturing is not at least 3 times as fast, or takes
more than 1.67 times the forward pass to the last layer. `--table` prints the cost against sequences and latents
instead. FLOP/s are the model's own, to the last layer that is read; on a GPU they stand beside the matrix peak of its
number type, and seconds are those of the clock.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.random_subject import random_subject, random_tokens
from featureinterp.dataset.activations.capture import CaptureParams, capture_activations
from featureinterp.dataset.activations.store import SparseActivations
from featureinterp.dataset.layout import Layout
from featureinterp.subject.precision import resolve_device
from featureinterp.subject.subject import Subject

LEAST_SPEEDUP, LARGEST_OVERHEAD = 3.0, 1.67
LENGTH, BATCH = 32, 64

PEAKS = {"H100 PCIe": 756e12, "H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12}
"""FLOP/s of 16-bit matrix products without sparsity, from the makers' data sheets, by a part of the card's name."""


@torch.inference_mode()
def naive(subject: Subject, tokens: NDArray[np.int32], latents: list[int], folder: Path) -> dict[str, NDArray]:
    """Run the whole model, encode all latents, store the asked ones densely."""
    dense = {hook: np.zeros((*tokens.shape, len(latents)), np.float32) for hook in subject.saes}
    for start in range(0, len(tokens), BATCH):
        batch = torch.from_numpy(tokens[start : start + BATCH]).long().to(subject.model.device)
        output = subject.model.language_model(input_ids=batch, output_hidden_states=True)
        for hook, sae in subject.saes.items():
            dense[hook][start : start + BATCH] = sae.encode(output.hidden_states[sae.layer + 1])[..., latents].cpu()
    for hook, values in dense.items():
        np.save(folder / f"{hook}.npy", values)
    return dense


def ours(subject: Subject, tokens: NDArray[np.int32], latents: list[int], folder: Path) -> None:
    """Capture the asked latents, storage included."""
    shutil.rmtree(folder / "sae_acts", ignore_errors=True)
    capture_activations(subject, tokens, False, folder, CaptureParams(dict.fromkeys(subject.saes, latents)))


def bare(subject: Subject, tokens: NDArray[np.int32]) -> None:
    """Run the model to the last layer that is read, and do nothing with it."""
    last = [*subject.saes][-1]
    for start in range(0, len(tokens), BATCH):
        subject.model.streams(torch.from_numpy(tokens[start : start + BATCH]), [last])


def seconds(action: Callable[[], object]) -> float:
    """Return the seconds of CPU time that an action takes; on a GPU, of the clock until it is done."""
    on_gpu = torch.cuda.is_initialized()
    clock = time.perf_counter if on_gpu else time.process_time
    begun = clock()
    action()
    if on_gpu:
        torch.cuda.synchronize()
    return clock() - begun


def share(subject: Subject, flops: float) -> str:
    """Say how much FLOP/s are of what the model's card can do at most in its number type; nothing of a CPU."""
    if subject.model.device.type != "cuda":
        return ""
    name, is_half = torch.cuda.get_device_name(subject.model.device), subject.model.dtype in ("bfloat16", "float16")
    most = next((known for part, known in PEAKS.items() if part in name), None) if is_half else None
    return f", {name}: peak unknown" if most is None else f", {100 * flops / most:.1f}% of the peak of {name}"


def compare(subject: Subject, sequences: int, latents: list[int], rounds: int) -> int:
    tokens = random_tokens(sequences, LENGTH, subject.model.language_model.config.vocab_size)
    tolerance = 1e-4 if subject.model.dtype == "float32" else 0.05  # rounding differs with the batch
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dense = naive(subject, tokens, latents, folder)
        ours(subject, tokens, latents, folder)
        for hook, values in dense.items():
            made = SparseActivations.open(Layout(folder).activations_of(hook))
            for column, latent in enumerate(latents):
                wanted = values[..., column]
                np.testing.assert_allclose(made.dense(latent, range(sequences)), wanted, rtol=tolerance, atol=tolerance)
        active = float(np.mean([(values > 0).mean() for values in dense.values()]))
        best = [
            min(times)
            for times in zip(
                *(
                    (
                        seconds(lambda: naive(subject, tokens, latents, folder)),
                        seconds(lambda: ours(subject, tokens, latents, folder)),
                        seconds(lambda: bare(subject, tokens)),
                    )
                    for _ in range(rounds)
                ),
                strict=True,
            )
        ]
    n = sequences * LENGTH
    with FlopCounterMode(display=False) as counter:
        bare(subject, tokens)
    flops = counter.get_total_flops()
    for told, taken in zip(("naive", "capture", "forward pass alone"), best, strict=True):
        part = "" if told == "naive" else f", {flops / taken:.2e} FLOP/s{share(subject, flops / taken)}"
        print(f"{told:20} {taken:7.2f} s, {n / taken:8.0f} tokens/s{part}")
    speedup, overhead = best[0] / best[1], best[1] / best[2]
    print(f"same values, {100 * active:.2f}% of them above 0")
    print(f"{speedup:.2f} times as fast as the naive way (at least {LEAST_SPEEDUP:g} is promised)")
    print(f"{overhead:.2f} times the forward pass alone (at most {LARGEST_OVERHEAD:g} is promised)")
    return int(speedup < LEAST_SPEEDUP or overhead > LARGEST_OVERHEAD)


def table(subject: Subject, sequences: int, n_latents: int) -> None:
    """Print the cost against sequences at 50 latents, and against latents at the most sequences."""
    vocabulary = subject.model.language_model.config.vocab_size
    sizes = [(sequences // part, 50) for part in (4, 2, 1)] + [(sequences, n) for n in (500, n_latents // 4, n_latents)]
    print("| sequences | latents | seconds | a bare forward pass | stored |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for n, chosen in sizes:
            tokens = random_tokens(n, LENGTH, vocabulary)
            taken, alone = (
                min(seconds(action) for _ in range(2))
                for action in (
                    lambda: ours(subject, tokens, list(range(chosen)), folder),  # noqa: B023 - called at once
                    lambda: bare(subject, tokens),  # noqa: B023 - called at once
                )
            )
            stored = sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
            print(f"| {n:,} | {chosen:,} | {taken:.1f} | {alone:.1f} | {stored / 1e6:.1f} MB |", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="the shape of GPT-2 small")
    parser.add_argument("--table", action="store_true", help="cost against sequences and latents")
    parser.add_argument("--sequences", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16", "float16"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    blocks, width, layers, n_latents = (12, 768, range(7), 32_768) if args.full else (6, 256, range(3), 8192)
    subject = random_subject(blocks, width, 50257, layers, n_latents, resolve_device(args.device), args.dtype)
    if args.table:
        table(subject, args.sequences, n_latents)
        return 0
    latents = np.sort(np.random.default_rng(1).permutation(n_latents)[:50]).tolist()
    return compare(subject, args.sequences, latents, args.rounds)


if __name__ == "__main__":
    sys.exit(main())
