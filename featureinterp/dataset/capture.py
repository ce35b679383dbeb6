"""Write the activations of all latents on a whole corpus: one pass over the model for all hooks.

The corpus goes through in shards. A finished shard stays when the process is killed, and the next run goes on behind
it; at the end the shards of each hook are merged into one file grouped by latent (see `activations`). Memory is bounded
by a shard while capturing and by `merge_entries` while merging, however long the corpus is.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from featureinterp.dataset.arrays import ArrayFile, ArraySpec, ArrayWriter, array_writer, write_arrays
from featureinterp.errors import ActivationError, DataFolderError, InputError
from featureinterp.subject.subject import Subject

Progress = Callable[[int, int], None]
"""Told how many sequences are done, and of how many."""


@dataclass(frozen=True)
class CaptureParams:
    """How much is in memory at a time."""

    batch_size: int = 64
    """Sequences per forward pass."""
    shard_sequences: int = 512
    """Sequences per shard: what is done again after a kill, and what is in memory while capturing."""
    merge_entries: int = 1_000_000
    """Activations in memory while merging."""


def activations_path(folder: Path, hook_name: str) -> Path:
    """Return where a data folder keeps the activations of a hook."""
    return folder / "sae_acts" / f"{hook_name}.safetensors"


def capture_activations(
    subject: Subject,
    tokens: NDArray[np.int32],
    has_bos: bool,
    folder: Path,
    params: CaptureParams | None = None,
    progress: Progress | None = None,
) -> None:
    """Write `sae_acts/{hook_name}.safetensors` below `folder` for every SAE of the subject.

    Files that already hold these activations of this subject on these tokens are left as they are; a capture that
    was interrupted goes on.

    Args:
        subject: The model and its SAEs.
        tokens: int32 [N, S], with BOS in column 0 where `has_bos`; may be memory-mapped.
        has_bos: Whether column 0 is BOS, whose activations are not kept.
        folder: The data folder.
        params: How much to hold in memory.
        progress: Told the number of sequences done after each shard.

    Raises:
        ActivationError: if an activation is NaN or infinite.
        InputError: if the sequences are longer than the model takes.
        StorageError: if a file cannot be written.
    """
    params = params or CaptureParams()
    check_length(subject, tokens)
    digest = corpus_digest(subject, tokens, has_bos, repr(params))
    missing = [hook for hook in subject.saes if not is_written(activations_path(folder, hook), digest)]
    if not missing:
        return
    shards = folder / "sae_acts" / f".shards-{digest[:16]}"
    starts = range(0, len(tokens), params.shard_sequences)
    for start in starts:
        rows = range(start, min(start + params.shard_sequences, len(tokens)))
        paths = {hook: _shard_path(shards, hook, start) for hook in missing}
        if not all(path.exists() for path in paths.values()):
            _write_shard(subject, tokens, has_bos, rows, paths, params.batch_size)
        if progress is not None:
            progress(rows.stop, len(tokens))
    metadata = {"digest": digest, "n_sequences": str(len(tokens)), "length": str(tokens.shape[1] - has_bos)}
    for hook in missing:
        parts = [_shard_path(shards, hook, start) for start in starts]
        merge_shards(parts, activations_path(folder, hook), metadata, params.merge_entries)
    remove_shards(folder / "sae_acts")


def check_length(subject: Subject, tokens: NDArray[np.int32]) -> None:
    """Raise InputError if the sequences are longer than the model takes."""
    if tokens.shape[1] > subject.model.max_length:
        raise InputError(
            f"sequences have {tokens.shape[1]} tokens, model {subject.model.name!r} takes {subject.model.max_length}",
            "cut the corpus into shorter sequences",
        )


def corpus_digest(subject: Subject, tokens: NDArray[np.int32], has_bos: bool, settings: str) -> str:
    """Return a hash of everything that decides what is captured."""
    digest = hashlib.sha256(f"{subject.fingerprint()} {tokens.shape} {has_bos} {settings}".encode())
    for start in range(0, len(tokens), 65_536):
        digest.update(np.ascontiguousarray(tokens[start : start + 65_536]).tobytes())
    return digest.hexdigest()


def is_written(path: Path, digest: str) -> bool:
    """Say whether a file is there and was made from what the digest stands for."""
    try:
        return ArrayFile.open(path).metadata.get("digest") == digest
    except DataFolderError:
        return False


def remove_shards(folder: Path) -> None:
    """Remove the shards of finished and of abandoned captures."""
    for shards in folder.glob(".shards-*"):
        shutil.rmtree(shards)


def check_finite(values: torch.Tensor, hook_name: str, sequences: Sequence[int]) -> None:
    """Raise ActivationError, naming the first sequence of [sequences, ...] with a value that is no finite number."""
    if bool(torch.isfinite(values).all()):
        return
    bad = int((~torch.isfinite(values)).flatten(1).any(dim=1).nonzero()[0])
    raise ActivationError(
        f"an activation on {hook_name} is NaN or infinite in sequence {sequences[bad]}",
        "check the model's and the SAE's weights, and compute in float32",
    )


def _shard_path(shards: Path, hook_name: str, start: int) -> Path:
    return shards / hook_name / f"{start:09d}.safetensors"


def _write_shard(
    subject: Subject, tokens: NDArray[np.int32], has_bos: bool, rows: range, paths: Mapping[str, Path], batch_size: int
) -> None:
    """Capture the activations of some rows and write one shard per hook."""
    parts: dict[str, list[tuple[NDArray, ...]]] = {hook: [] for hook in paths}
    for start in range(rows.start, rows.stop, batch_size):
        batch = range(start, min(start + batch_size, rows.stop))
        streams = subject.model.residual_stream(torch.from_numpy(np.array(tokens[batch.start : batch.stop])), [*paths])
        for hook in paths:
            stream = streams.pop(hook)[:, int(has_bos) :]
            check_finite(stream, hook, batch)
            activations = subject.saes[hook].encode(stream)
            check_finite(activations, hook, batch)
            parts[hook].append(_entries(activations, start))
    for hook, path in paths.items():
        latent, *columns = (np.concatenate(column) for column in zip(*parts.pop(hook), strict=True))
        _write_grouped(path, latent, columns, subject.saes[hook].n_latents)


def _entries(activations: torch.Tensor, first_sequence: int) -> tuple[NDArray, ...]:
    """Return latent, sequence, position and value of everything above 0 in [batch, tokens, latents]."""
    row, position, latent = (activations > 0).nonzero(as_tuple=True)
    value = activations[row, position, latent].float().cpu().numpy()
    sequence = row.to(torch.int32).cpu().numpy() + np.int32(first_sequence)
    return latent.to(torch.int32).cpu().numpy(), sequence, position.to(torch.int16).cpu().numpy(), value


def _write_grouped(path: Path, latent: NDArray, columns: Sequence[NDArray], n_latents: int) -> None:
    order = np.argsort(latent, kind="stable")
    sequence, position, value = (column[order] for column in columns)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(latent, minlength=n_latents))])
    write_arrays(path, {"indptr": indptr, "sequence": sequence, "position": position, "value": value}, {})


_COLUMNS: Mapping[str, type[np.number]] = {"sequence": np.int32, "position": np.int16, "value": np.float32}


def merge_shards(parts: Sequence[Path], path: Path, metadata: Mapping[str, str], merge_entries: int) -> None:
    """Merge shards, given in the order of their sequences, into one file grouped by latent.

    Raises:
        StorageError: if it cannot be written.
    """
    files = [ArrayFile.open(part) for part in parts]
    n_latents = files[0].specs["indptr"].shape[0] - 1
    indptr = np.zeros(n_latents + 1, np.int64)
    for file in files:
        indptr += file.rows("indptr", 0, n_latents + 1)
    specs = {name: ArraySpec((int(indptr[-1]),), dtype) for name, dtype in _COLUMNS.items()}
    with array_writer(path, {"indptr": ArraySpec(indptr.shape, np.int64), **specs}, metadata) as writer:
        writer.write("indptr", 0, indptr)
        for first, last in _latent_ranges(indptr, merge_entries):
            if last - first == 1:
                _append_latent(files, first, int(indptr[first]), writer)
            else:
                _merge_latents(files, first, last, int(indptr[first]), writer)


def _latent_ranges(indptr: NDArray[np.int64], merge_entries: int) -> Iterator[tuple[int, int]]:
    """Cut the latents into ranges of at most `merge_entries` activations, or of one latent that has more."""
    first, n_latents = 0, len(indptr) - 1
    while first < n_latents:
        last = int(np.searchsorted(indptr, indptr[first] + merge_entries, side="right")) - 1
        last = min(max(last, first + 1), n_latents)
        yield first, last
        first = last


def _append_latent(files: Sequence[ArrayFile], latent: int, start: int, writer: ArrayWriter) -> None:
    """Copy one latent shard by shard: shards are in the order of their sequences."""
    for file in files:
        begin, end = file.rows("indptr", latent, latent + 2).tolist()
        for name in _COLUMNS:
            writer.write(name, start, file.rows(name, begin, end))
        start += end - begin


def _merge_latents(files: Sequence[ArrayFile], first: int, last: int, start: int, writer: ArrayWriter) -> None:
    """Bring the shards' entries of a range of latents together; within a latent the shards keep their order."""
    pointers = [file.rows("indptr", first, last + 1) for file in files]
    latents = np.concatenate([np.repeat(np.arange(last - first, dtype=np.int32), np.diff(p)) for p in pointers])
    order = np.argsort(latents, kind="stable")
    for name in _COLUMNS:
        columns = [file.rows(name, int(p[0]), int(p[-1])) for file, p in zip(files, pointers, strict=True)]
        writer.write(name, start, np.concatenate(columns)[order])
