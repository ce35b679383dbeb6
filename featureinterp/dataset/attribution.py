"""Holistic activations: how much each token of a window causes the activations that come after it.

The holistic activation of token t is the mean, over the other tokens, of how much their activation falls when t is
deleted from the sequence: h[t] = 1/(T-1) · sum over u != t of (a[u] - a without t [u]), token matched to token. In a
causal model only u > t contribute. It is measured by deleting, not estimated from a gradient. Every window costs the
model about T/2 passes over it, so only the pairs of latent and window that are asked for are measured.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from featureinterp.dataset.arrays import ArrayFile, ArraySpec, array_writer, write_arrays
from featureinterp.dataset.capture import (
    Progress,
    check_finite,
    check_length,
    corpus_digest,
    is_written,
    remove_shards,
)
from featureinterp.subject.subject import Subject

SHARD_SEQUENCES = 64
"""Sequences measured at a time; after a kill at most so many are measured again."""

Wanted = Mapping[str, Mapping[int, Sequence[int]]]
"""By hook name and latent, the sequences to measure."""


def holistic_path(folder: Path, hook_name: str) -> Path:
    """Return where a data folder keeps the holistic activations of a hook."""
    return folder / "holistic_acts" / f"{hook_name}.safetensors"


def holistic_activations(
    subject: Subject, tokens: NDArray[np.int32], has_bos: bool, latents: Mapping[str, Sequence[int]]
) -> dict[str, NDArray[np.float32]]:
    """Measure the holistic activations of some latents of each hook on every given sequence.

    Args:
        subject: The model and its SAEs.
        tokens: int32 [n, S], one batch, with BOS in column 0 where `has_bos`.
        has_bos: Whether column 0 is BOS, which is neither deleted nor counted.
        latents: By hook name, the latents.

    Returns:
        By hook name float32 [n, T, latents], in activation per token; may be negative. A last token is always 0.

    Raises:
        ActivationError: if an activation is NaN or infinite.
    """
    first = int(has_bos)
    n, length = len(tokens), tokens.shape[1] - first
    batch = torch.from_numpy(np.array(tokens))
    streams = subject.model.residual_stream(batch, [*latents])
    clean = {hook: subject.saes[hook].encode(streams.pop(hook)[:, first:], chosen) for hook, chosen in latents.items()}
    made = {hook: np.zeros((n, length, len(chosen)), np.float32) for hook, chosen in latents.items()}
    for column, behind in subject.model.deletion_streams(batch, [*latents], first):
        token = column - first
        for hook, chosen in latents.items():
            fallen = clean[hook][:, token + 1 :] - subject.saes[hook].encode(behind.pop(hook), chosen)
            check_finite(fallen, hook, range(n))
            made[hook][:, token] = (fallen.double().sum(dim=1) / (length - 1)).cpu().numpy()
    return made


def capture_holistic(
    subject: Subject,
    tokens: NDArray[np.int32],
    has_bos: bool,
    wanted: Wanted,
    folder: Path,
    progress: Progress | None = None,
) -> None:
    """Write `holistic_acts/{hook_name}.safetensors` below `folder` for every hook with wanted pairs.

    Files that already hold these pairs are left as they are; a capture that was interrupted goes on. A sequence that
    several latents or hooks want is measured once.

    Args:
        subject: The model and its SAEs.
        tokens: int32 [N, S], with BOS in column 0 where `has_bos`; may be memory-mapped.
        has_bos: Whether column 0 is BOS.
        wanted: The pairs to measure.
        folder: The data folder.
        progress: Told the number of sequences done, and of how many.

    Raises:
        ActivationError: if an activation is NaN or infinite.
        InputError: if the sequences are longer than the model takes.
        StorageError: if a file cannot be written.
    """
    check_length(subject, tokens)
    plan = {hook: {latent: np.unique(s) for latent, s in sorted(pairs.items())} for hook, pairs in wanted.items()}
    digest = corpus_digest(subject, tokens, has_bos, _plan_digest(plan))
    if all(is_written(holistic_path(folder, hook), digest) for hook in plan):
        return
    groups = _sequence_groups(subject, plan)
    shards = folder / "holistic_acts" / f".shards-{digest[:16]}"
    total, done = sum(map(len, groups)), 0
    for number, group in enumerate(groups):
        path = shards / f"{number:06d}.safetensors"
        if not path.exists():
            write_arrays(path, _measure_group(subject, tokens, has_bos, plan, group), {})
        done += len(group)
        if progress is not None:
            progress(done, total)
    parts = [ArrayFile.open(shards / f"{number:06d}.safetensors") for number in range(len(groups))]
    for hook, pairs in plan.items():
        n_latents, length = subject.saes[hook].n_latents, tokens.shape[1] - has_bos
        _merge_hook(parts, pairs, _HookFile(hook, holistic_path(folder, hook), n_latents, length, digest))
    remove_shards(folder / "holistic_acts")


_Plan = Mapping[str, Mapping[int, NDArray[np.integer]]]


def _plan_digest(plan: _Plan) -> str:
    digest = hashlib.sha256()
    for hook, pairs in sorted(plan.items()):
        for latent, sequences in pairs.items():
            digest.update(f"{hook} {latent} {sequences.tolist()}".encode())
    return digest.hexdigest()


def _sequence_groups(subject: Subject, plan: _Plan) -> list[list[int]]:
    """Group the wanted sequences so that those needed by the same hooks share a batch, and shallow ones stay cheap."""
    hooks_of: defaultdict[int, set[int]] = defaultdict(set)
    for hook, pairs in plan.items():
        for sequences in pairs.values():
            for sequence in sequences.tolist():
                hooks_of[sequence].add(subject.saes[hook].layer)
    order = sorted(hooks_of, key=lambda sequence: (sorted(hooks_of[sequence], reverse=True), sequence))
    return [order[start : start + SHARD_SEQUENCES] for start in range(0, len(order), SHARD_SEQUENCES)]


def _measure_group(
    subject: Subject, tokens: NDArray[np.int32], has_bos: bool, plan: _Plan, group: Sequence[int]
) -> dict[str, NDArray]:
    """Measure the wanted pairs of some sequences; returns latent, sequence and value arrays named by their hook."""
    pairs = {
        hook: [
            (latent, sequence)
            for latent, sequences in by_latent.items()
            for sequence in np.intersect1d(sequences, group).tolist()
        ]
        for hook, by_latent in plan.items()
    }
    latents = {hook: sorted({latent for latent, _ in found}) for hook, found in pairs.items() if found}
    values = holistic_activations(subject, np.asarray(tokens[np.asarray(group)]), has_bos, latents)
    row_of = {sequence: row for row, sequence in enumerate(group)}
    arrays: dict[str, NDArray] = {}
    for hook, chosen in latents.items():
        column_of = {latent: column for column, latent in enumerate(chosen)}
        rows = [row_of[sequence] for _, sequence in pairs[hook]]
        columns = [column_of[latent] for latent, _ in pairs[hook]]
        found = np.array(pairs[hook], dtype=np.int32)
        arrays |= {
            f"{hook}/latent": found[:, 0],
            f"{hook}/sequence": found[:, 1],
            f"{hook}/value": values[hook][rows, :, columns],
        }
    return arrays


@dataclass(frozen=True)
class _HookFile:
    """The file that one hook's pairs are merged into."""

    hook_name: str
    path: Path
    n_latents: int
    length: int
    digest: str


def _merge_hook(parts: Sequence[ArrayFile], pairs: Mapping[int, NDArray[np.integer]], target: _HookFile) -> None:
    """Put every measured pair at its place in the hook's file, shard by shard."""
    counts = np.zeros(target.n_latents, np.int64)
    for latent, sequences in pairs.items():
        counts[latent] = len(sequences)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    n_pairs = int(indptr[-1])
    specs = {
        "indptr": ArraySpec(indptr.shape, np.int64),
        "sequence": ArraySpec((n_pairs,), np.int32),
        "value": ArraySpec((n_pairs, target.length), np.float32),
    }
    with array_writer(target.path, specs, {"digest": target.digest}) as writer:
        writer.write("indptr", 0, indptr)
        for latent, sequences in pairs.items():
            writer.write("sequence", int(indptr[latent]), sequences)
        for part in parts:
            if f"{target.hook_name}/latent" not in part.specs:
                continue
            latents, sequences, values = (
                part.mapped(f"{target.hook_name}/{n}") for n in ("latent", "sequence", "value")
            )
            for latent, sequence, value in zip(latents.tolist(), sequences.tolist(), values, strict=True):
                place = indptr[latent] + np.searchsorted(pairs[latent], sequence)
                writer.write("value", int(place), value[None])
