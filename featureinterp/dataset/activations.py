"""Activations of one hook's latents as they lie on disk, grouped by latent.

A file of activations covers the whole corpus: `indptr` [F+1] and, of everything above 0, `sequence`, `position` and
`value`, sorted by (latent, sequence, position). Positions count from 0 without BOS. A file of holistic activations
covers the measured pairs of latent and sequence: `indptr` [F+1], `sequence` [pairs] and `value` [pairs, T]. Opening a
file reads nothing but its header.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featureinterp.dataset.arrays import ArrayFile
from featureinterp.errors import DataFolderError, InputError


@dataclass(frozen=True)
class LatentActivations:
    """Every activation above 0 of one latent, by sequence and then by position."""

    sequence: NDArray[np.int32]
    position: NDArray[np.int16]
    value: NDArray[np.float32]

    def sequence_maxima(self) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return the sequences that the latent is active on, ascending, and its maximum on each."""
        if len(self.sequence) == 0:
            return self.sequence, self.value
        starts = np.flatnonzero(np.diff(self.sequence, prepend=-1))
        return self.sequence[starts], np.maximum.reduceat(self.value, starts)


@dataclass(frozen=True)
class SparseActivations:
    """The activations of all latents of one hook, read from disk latent by latent."""

    n_sequences: int
    length: int
    """Tokens per sequence, BOS not counted."""
    indptr: NDArray[np.int64]
    sequence: NDArray[np.int32]
    position: NDArray[np.int16]
    value: NDArray[np.float32]

    @classmethod
    def open(cls, path: Path) -> SparseActivations:
        """Open a file that `capture_activations` wrote.

        Raises:
            DataFolderError: if it is missing or damaged.
        """
        file = ArrayFile.open(path)
        try:
            n_sequences, length = int(file.metadata["n_sequences"]), int(file.metadata["length"])
            names = ("indptr", "sequence", "position", "value")
            return cls(n_sequences, length, *(file.mapped(name) for name in names))
        except (KeyError, ValueError) as error:
            raise DataFolderError(f"{path} holds no activations: {error}", "make the data folder again") from error

    @property
    def n_latents(self) -> int:
        """Number of latents, dead ones included."""
        return len(self.indptr) - 1

    def latent(self, index: int) -> LatentActivations:
        """Return everything about one latent; empty arrays if it never fires.

        Raises:
            InputError: if there is no such latent.
        """
        if not 0 <= index < self.n_latents:
            raise InputError(f"latent {index} does not exist", f"there are latents 0 to {self.n_latents - 1}")
        part = slice(int(self.indptr[index]), int(self.indptr[index + 1]))
        return LatentActivations(
            np.asarray(self.sequence[part]), np.asarray(self.position[part]), np.asarray(self.value[part])
        )

    def max_activation(self, index: int) -> float:
        """Return a latent's largest activation over the corpus; 0 if it never fires."""
        return float(self.latent(index).value.max(initial=0.0))

    def dense(self, index: int, sequences: Sequence[int] | NDArray[np.integer]) -> NDArray[np.float32]:
        """Return a latent's activations on the given sequences, in their order, float32 [sequences, tokens]."""
        latent = self.latent(index)
        wanted = np.asarray(sequences, dtype=np.int32)
        first = np.searchsorted(latent.sequence, wanted, side="left")
        counts = np.searchsorted(latent.sequence, wanted, side="right") - first
        rows = np.repeat(np.arange(len(wanted)), counts)
        begins = np.repeat(np.cumsum(counts) - counts, counts)
        entries = np.repeat(first, counts) + np.arange(len(rows)) - begins
        made = np.zeros((len(wanted), self.length), dtype=np.float32)
        made[rows, latent.position[entries]] = latent.value[entries]
        return made


@dataclass(frozen=True)
class HolisticActivations:
    """Measured pairs of latent and sequence of one hook, read from disk latent by latent."""

    indptr: NDArray[np.int64]
    sequence: NDArray[np.int32]
    """Of each pair; ascending within a latent."""
    value: NDArray[np.float32]
    """float32 [pairs, T]"""

    @classmethod
    def open(cls, path: Path) -> HolisticActivations:
        """Open a file that `capture_holistic` wrote.

        Raises:
            DataFolderError: if it is missing or damaged.
        """
        file = ArrayFile.open(path)
        try:
            return cls(file.mapped("indptr"), file.mapped("sequence"), file.mapped("value"))
        except KeyError as error:
            raise DataFolderError(f"{path} holds no holistic activations", "make the data folder again") from error

    def latent(self, index: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return the sequences measured for a latent, ascending, and the values on them [sequences, T]."""
        part = slice(int(self.indptr[index]), int(self.indptr[index + 1]))
        return np.asarray(self.sequence[part]), np.asarray(self.value[part])

    def max_activation(self, index: int) -> float:
        """Return the largest holistic activation measured for a latent; 0 if none is above."""
        return float(self.latent(index)[1].max(initial=0.0))

    def dense(self, index: int, sequences: Sequence[int] | NDArray[np.integer]) -> NDArray[np.float32]:
        """Return the values of a latent on the given sequences, in their order, float32 [sequences, T].

        Raises:
            InputError: if one of them was not measured.
        """
        measured, values = self.latent(index)
        wanted = np.asarray(sequences, dtype=np.int32)
        rows = np.searchsorted(measured, wanted)
        found = np.isin(wanted, measured)
        if not found.all():
            raise InputError(
                f"latent {index} was not measured on sequence {wanted[~found][0]}",
                "ask for it when the holistic activations are captured",
            )
        return values[rows]
