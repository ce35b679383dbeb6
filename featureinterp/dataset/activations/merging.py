"""Merging of shards into one file grouped by latent, within a memory limit.

A shard holds the activations of the captured latents on a part of the corpus: `indptr` [latents + 1] and
`sequence`, `position`, `value`. Latents are merged range by range; a latent that fills the memory is copied shard by
shard. Every latent has its own checksum, so that reading one verifies it without reading the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featureinterp.dataset.activations.arrays import ArrayFile, ArraySpec, ArrayWriter, array_writer, checksum
from featureinterp.dataset.activations.store import index_checksum

COLUMNS: Mapping[str, type[np.number]] = {"sequence": np.int32, "position": np.int16, "value": np.float32}
"""Fields of an activation, in the order of a latent's checksum."""

_ENTRY_BYTES = 48
"""Bytes per activation while sorting."""
_POINTER_BYTES = 32
"""Bytes per latent and shard."""


@dataclass(frozen=True)
class MergeTarget:
    """Output file of a merge."""

    path: Path
    latents: NDArray[np.int32]
    """Latent of each column of the shards."""
    metadata: Mapping[str, str]


def merge_shards(parts: Sequence[Path], target: MergeTarget, max_memory: int) -> None:
    """Merge shards, given in the order of their sequences, into one file grouped by latent.

    Args:
        parts: shards, in the order of their sequences.
        target: output file.
        max_memory: memory limit in bytes; a single latent may exceed it.

    Raises:
        StorageError: if it cannot be written.
    """
    files = [ArrayFile.open(part) for part in parts]
    n_columns = len(target.latents)
    indptr = np.zeros(n_columns + 1, np.int64)
    for file in files:
        indptr += file.rows("indptr", 0, n_columns + 1)
    specs = {name: ArraySpec((int(indptr[-1]),), dtype) for name, dtype in COLUMNS.items()}
    specs |= {
        "indptr": ArraySpec(indptr.shape, np.int64),
        "checksum": ArraySpec((n_columns,), np.int64),
        "latents": ArraySpec((n_columns,), np.int32),
    }
    metadata = {**target.metadata, **index_checksum(target.latents, indptr)}
    with array_writer(target.path, specs, metadata) as writer:
        writer.write("indptr", 0, indptr)
        writer.write("latents", 0, target.latents)
        for first, last in _ranges(indptr, len(files), max_memory):
            merge = _append_latent if last - first == 1 else _merge_latents
            writer.write("checksum", first, np.array(merge(files, first, last, int(indptr[first]), writer)))


def _ranges(indptr: NDArray[np.int64], n_files: int, max_memory: int) -> Iterator[tuple[int, int]]:
    """Split the latents into ranges that fit the memory limit (at least one latent each)."""
    taken = indptr * _ENTRY_BYTES + np.arange(len(indptr)) * n_files * _POINTER_BYTES
    first, n_columns = 0, len(indptr) - 1
    while first < n_columns:
        last = int(np.searchsorted(taken, taken[first] + max_memory, side="right")) - 1
        last = min(max(last, first + 1), n_columns)
        yield first, last
        first = last


def _append_latent(files: Sequence[ArrayFile], first: int, last: int, start: int, writer: ArrayWriter) -> list[int]:
    """Copy one latent shard by shard, which are in the order of their sequences; returns its checksum."""
    found = 0
    for name in COLUMNS:
        place = start
        for file in files:
            begin, end = file.rows("indptr", first, last + 1).tolist()
            values = file.rows(name, begin, end)
            writer.write(name, place, values)
            found = checksum(values, found)
            place += end - begin
    return [found]


def _merge_latents(files: Sequence[ArrayFile], first: int, last: int, start: int, writer: ArrayWriter) -> list[int]:
    """Merge the shards' entries of a range of latents; within a latent the shards keep their order."""
    pointers = [file.rows("indptr", first, last + 1) for file in files]
    latents = np.concatenate([np.repeat(np.arange(last - first, dtype=np.int32), np.diff(p)) for p in pointers])
    order = np.argsort(latents, kind="stable")
    ends = np.cumsum(np.bincount(latents, minlength=last - first)).tolist()
    found = [0] * (last - first)
    for name in COLUMNS:
        columns = [file.rows(name, int(p[0]), int(p[-1])) for file, p in zip(files, pointers, strict=True)]
        values = np.concatenate(columns)[order]
        writer.write(name, start, values)
        for index, (begin, end) in enumerate(zip([0, *ends], ends, strict=False)):
            found[index] = checksum(values[begin:end], found[index])
    return found
