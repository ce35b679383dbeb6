"""Holistic activations: the effect of each token on later activations of its window.

The holistic activation of token t is the mean, over the other tokens, of how much their activation falls when t is
deleted from the sequence: h[t] = 1/(T-1) · sum over u != t of (a[u] - a without t [u]), token matched to token. In a
causal model only u > t contribute. It is measured by deletion, not estimated from a gradient. Every window takes
about T/2 forward passes, so only the requested pairs of latent and window are measured. Keys, values
and activations before the deleted token are reused, and a pass deletes a token from each of many windows.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from featureinterp.dataset.activations.arrays import ArrayFile, ArraySpec, array_writer, checksum, write_arrays
from featureinterp.dataset.activations.capture import (
    SequenceProgress,
    check_finite,
    check_length,
    remove_shards,
    tokens_digest,
)
from featureinterp.dataset.activations.store import HolisticActivations, index_checksum
from featureinterp.dataset.layout import Layout
from featureinterp.errors import DataFolderError
from featureinterp.subject.subject import Subject

_logger = logging.getLogger(__name__)

SHARD_SEQUENCES = 64
"""Sequences per group; after an interruption at most one group is measured again."""

Wanted = Mapping[str, Mapping[int, Sequence[int] | NDArray[np.integer]]]
"""Sequences to measure, by hook name and latent."""


def holistic_activations(
    subject: Subject, tokens: NDArray[np.int32], has_bos: bool, latents: Mapping[str, Sequence[int]]
) -> dict[str, NDArray[np.float32]]:
    """Measure the holistic activations of the given latents of each hook on every given sequence.

    Args:
        subject: the model and its SAEs.
        tokens: int32 [n, S], one batch, with BOS in column 0 if `has_bos`.
        has_bos: whether column 0 is BOS, which is neither deleted nor counted.
        latents: latents by hook name.

    Returns:
        By hook name, float32 [n, T, latents], in activation per token; may be negative. The last token is always 0.

    Raises:
        ActivationError: if an activation is NaN or infinite.
    """
    first = int(has_bos)
    n, length = len(tokens), tokens.shape[1] - first
    batch = torch.from_numpy(np.array(tokens))
    streams = subject.model.streams(batch, [*latents])
    clean = {hook: subject.saes[hook].encode(streams.pop(hook)[:, first:], chosen) for hook, chosen in latents.items()}
    made = {hook: np.zeros((n, length, len(chosen)), np.float32) for hook, chosen in latents.items()}
    for column, behind in subject.model.deletion_streams(batch, [*latents], first):
        token = column - first
        for hook, chosen in latents.items():
            fallen = clean[hook][:, token + 1 :] - subject.saes[hook].encode(behind.pop(hook), chosen)
            check_finite(fallen, hook, range(n))
            # Summed on the CPU: mps has no float64.
            made[hook][:, token] = (fallen.cpu().double().sum(dim=1) / (length - 1)).numpy()
    return made


def capture_holistic(
    subject: Subject,
    tokens: NDArray[np.int32],
    has_bos: bool,
    wanted: Wanted,
    folder: Path,
    progress: SequenceProgress | None = None,
) -> None:
    """Write `holistic_acts/{hook_name}.safetensors` below `folder` for every hook with wanted pairs.

    Intact files with these pairs are kept; an interrupted capture resumes. Sequences that several
    latents need are measured once. For the whole corpus, only sequences with nonzero effects are kept.

    Args:
        subject: the model and its SAEs.
        tokens: int32 [N, S], with BOS in column 0 if `has_bos`; may be memory-mapped.
        has_bos: whether column 0 is BOS.
        wanted: pairs to measure.
        folder: the data folder.
        progress: called as `progress(done, total)`, in sequences.

    Raises:
        ActivationError: if an activation is NaN or infinite.
        InputError: if the sequences exceed the model's context.
        StorageError: if a file cannot be written.
    """
    check_length(subject, tokens)
    layout = Layout(folder)
    corpus = f"{subject.model.fingerprint()} {tokens_digest(tokens)} {has_bos} {SHARD_SEQUENCES}"
    plan = {
        hook: {latent: _ascending(s) for latent, s in sorted(pairs.items()) if len(s)} for hook, pairs in wanted.items()
    }
    digests = {hook: _digest(f"{corpus} {subject.saes[hook].fingerprint()}", pairs) for hook, pairs in plan.items()}
    plan = {hook: pairs for hook, pairs in plan.items() if not _is_written(layout.holistic_of(hook), digests[hook])}
    if not plan:
        return
    groups = _sequence_groups(subject, plan, len(tokens))
    made_of = hashlib.sha256(" ".join(digests[hook] for hook in plan).encode()).hexdigest()[:16]
    paths = [layout.holistic / f".shards-{made_of}" / f"{number:06d}.safetensors" for number in range(len(groups))]
    done = 0
    for path, group in zip(paths, groups, strict=True):
        if not _is_intact(path):
            write_arrays(path, _measure_group(subject, tokens, has_bos, plan, group), {})
        done += len(group)
        if progress is not None:
            progress(done, sum(map(len, groups)))
    for hook, pairs in plan.items():
        target = _hook_file(hook, pairs, folder, len(tokens), digests[hook])
        _merge_hook([ArrayFile.open(path) for path in paths], target, tokens.shape[1] - has_bos)
    remove_shards(layout.holistic)


_Plan = Mapping[str, Mapping[int, NDArray[np.integer]]]


def _ascending(sequences: Sequence[int] | NDArray[np.integer]) -> NDArray[np.integer]:
    """Return the distinct sequences in order, without copying an array that is already sorted and unique."""
    array = np.asarray(sequences, dtype=np.int32)
    return array if (np.diff(array) > 0).all() else np.unique(array)


def _digest(source: str, pairs: Mapping[int, NDArray[np.integer]]) -> str:
    digest = hashlib.sha256(source.encode())
    for latent, sequences in pairs.items():
        digest.update(f"{latent} {len(sequences)} ".encode() + sequences.tobytes())
    return digest.hexdigest()


def _is_written(path: Path, digest: str) -> bool:
    """Return whether a file is complete and matches the digest; warn if it is damaged."""
    if not path.exists():
        return False
    try:
        found = HolisticActivations.open(path)
    except DataFolderError as error:
        _logger.warning("%s; it is created again", error.problem)
        return False
    if found.digest != digest:
        return False
    if not found.is_intact():
        _logger.warning("%s is damaged; it is created again", path)
        return False
    return True


def _is_intact(path: Path) -> bool:
    try:
        return ArrayFile.open(path).is_intact()
    except DataFolderError:
        return False


def _sequence_groups(subject: Subject, plan: _Plan, n_sequences: int) -> list[NDArray[np.integer]]:
    """Group sequences by the hooks that need them, so that a batch runs only to its deepest hook."""
    deepest_last = sorted(plan, key=lambda hook: subject.saes[hook].layer)
    wanted_by = np.zeros((len(plan), n_sequences), bool)
    for row, hook in enumerate(deepest_last):
        for sequences in plan[hook].values():
            wanted_by[row, sequences] = True
    order = np.lexsort(wanted_by)
    order = order[np.any(wanted_by, axis=0)[order]]
    return [order[start : start + SHARD_SEQUENCES] for start in range(0, len(order), SHARD_SEQUENCES)]


def _measure_group(
    subject: Subject, tokens: NDArray[np.int32], has_bos: bool, plan: _Plan, group: NDArray[np.integer]
) -> dict[str, NDArray]:
    """Measure the pairs of a group of sequences; returns latent, sequence and value arrays by hook name."""
    wanted = {
        hook: {latent: rows for latent, sequences in by_latent.items() if len(rows := _rows_in(group, sequences))}
        for hook, by_latent in plan.items()
    }
    latents = {hook: list(rows_of) for hook, rows_of in wanted.items() if rows_of}
    values = holistic_activations(subject, np.asarray(tokens[group]), has_bos, latents)
    arrays: dict[str, NDArray] = {}
    for hook, chosen in latents.items():
        rows = np.concatenate([wanted[hook][latent] for latent in chosen])
        columns = np.repeat(np.arange(len(chosen)), [len(wanted[hook][latent]) for latent in chosen])
        found = values[hook][rows, :, columns]
        whole = np.array([len(plan[hook][latent]) == len(tokens) for latent in chosen])
        kept = found.any(axis=1) | ~whole[columns]
        arrays |= {
            f"{hook}/latent": np.array(chosen, np.int32)[columns[kept]],
            f"{hook}/sequence": group[rows[kept]].astype(np.int32),
            f"{hook}/value": found[kept],
        }
    return arrays


def _rows_in(group: NDArray[np.integer], sequences: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the rows of a group that are among the given ascending, non-empty sequences."""
    place = np.minimum(np.searchsorted(sequences, group), len(sequences) - 1)
    return np.flatnonzero(sequences[place] == group)


@dataclass(frozen=True)
class _HookFile:
    """Output file of one hook's merged pairs."""

    hook_name: str
    path: Path
    latents: tuple[int, ...]
    metadata: dict[str, str]


def _hook_file(
    hook: str, pairs: Mapping[int, NDArray[np.integer]], folder: Path, n_sequences: int, digest: str
) -> _HookFile:
    whole = bool(pairs) and all(len(sequences) == n_sequences for sequences in pairs.values())
    metadata = {"digest": digest, "whole_corpus": str(whole).lower()}
    return _HookFile(hook, Layout(folder).holistic_of(hook), tuple(pairs), metadata)


def _merge_hook(parts: Sequence[ArrayFile], target: _HookFile, length: int) -> None:
    """Write every measured pair of a hook, latent by latent; one latent's pairs are in memory at a time."""
    name = target.hook_name
    files = [part for part in parts if f"{name}/latent" in part.specs]
    latents = [file.rows(f"{name}/latent", 0, file.specs[f"{name}/latent"].shape[0]) for file in files]
    chosen = np.array(target.latents, np.int32)
    shape = (len(files), len(chosen))
    begins = np.array([np.searchsorted(found, chosen, side="left") for found in latents]).reshape(shape)
    ends = np.array([np.searchsorted(found, chosen, side="right") for found in latents]).reshape(shape)
    indptr = np.concatenate([[0], np.cumsum((ends - begins).sum(axis=0, dtype=np.int64))])
    n_pairs = int(indptr[-1])
    specs = {
        "indptr": ArraySpec(indptr.shape, np.int64),
        "checksum": ArraySpec(chosen.shape, np.int64),
        "latents": ArraySpec(chosen.shape, np.int32),
        "sequence": ArraySpec((n_pairs,), np.int32),
        "value": ArraySpec((n_pairs, length), np.float32),
    }
    with array_writer(target.path, specs, target.metadata | index_checksum(chosen, indptr)) as writer:
        writer.write("indptr", 0, indptr)
        writer.write("latents", 0, chosen)
        for column in np.flatnonzero(np.diff(indptr)).tolist():
            spans = [(file, b[column], e[column]) for file, b, e in zip(files, begins, ends, strict=True)]
            sequence, value = (
                np.concatenate([file.rows(f"{name}/{part}", begin, end) for file, begin, end in spans if end > begin])
                for part in ("sequence", "value")
            )
            order = np.argsort(sequence)
            writer.write("sequence", int(indptr[column]), sequence[order])
            writer.write("value", int(indptr[column]), value[order])
            writer.write("checksum", column, np.array([checksum(value[order], checksum(sequence[order]))]))
