"""Activations of one hook's latents as they lie on disk, grouped by latent.

A file of activations covers the whole corpus: the captured `latents` [F], their `indptr` [F+1] and `checksum` [F] and,
of everything above 0, `sequence`, `position` and `value`, sorted by (latent, sequence, position). Positions count from
0 without BOS. A file of holistic activations covers the measured pairs of latent and sequence: `indptr` [F+1],
`sequence` [pairs] and `value` [pairs, T]. Opening a file reads nothing but its header.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featureinterp.dataset.activations.arrays import ArrayFile, checksum
from featureinterp.errors import DataFolderError, InputError


@dataclass(frozen=True)
class LatentActivations:
    """Every activation above 0 of one latent, by sequence and then by position."""

    sequence: NDArray[np.int32]
    position: NDArray[np.int16]
    value: NDArray[np.float32]

    def checksum(self) -> int:
        """Return a checksum of the three arrays."""
        found = 0
        for array in (self.sequence, self.position, self.value):
            found = checksum(array, found)
        return found

    def sequence_maxima(self) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return the sequences that the latent is active on, ascending, and its maximum on each."""
        if len(self.sequence) == 0:
            return self.sequence, self.value
        starts = np.flatnonzero(np.diff(self.sequence, prepend=-1))
        return self.sequence[starts], np.maximum.reduceat(self.value, starts)


@dataclass(frozen=True)
class SparseActivations:
    """The activations of the captured latents of one hook, read from disk latent by latent."""

    path: Path
    source: str
    """Hash of the model, the SAE and the corpus that they were made from."""
    n_sequences: int
    length: int
    """Tokens per sequence, BOS not counted."""
    n_latents: int
    """Number of latents of the SAE, captured or not, dead ones included."""
    latents: NDArray[np.int32]
    """Those that were captured, ascending; the columns that follow are in their order."""
    indptr: NDArray[np.int64]
    checksum: NDArray[np.int64]
    """Of each captured latent's `sequence`, `position` and `value`."""
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
            n_sequences, length, n_latents = (int(file.metadata[n]) for n in ("n_sequences", "length", "n_latents"))
            names = ("latents", "indptr", "checksum", "sequence", "position", "value")
            arrays = (file.mapped(name) for name in names)
            return cls(path, file.metadata["source"], n_sequences, length, n_latents, *arrays)
        except (KeyError, ValueError) as error:
            raise DataFolderError(f"{path} holds no activations: {error}", "make the data folder again") from error

    def latent(self, index: int) -> LatentActivations:
        """Return everything about one latent; empty arrays if it never fires.

        Raises:
            InputError: if there is no such latent, or it was not captured.
            DataFolderError: if its checksum is wrong.
        """
        if not 0 <= index < self.n_latents:
            raise InputError(f"latent {index} does not exist", f"there are latents 0 to {self.n_latents - 1}")
        column = int(np.searchsorted(self.latents, index))
        if column == len(self.latents) or self.latents[column] != index:
            raise InputError(f"latent {index} was not captured in {self.path}", "ask for its activations first")
        part = slice(int(self.indptr[column]), int(self.indptr[column + 1]))
        found = LatentActivations(
            np.asarray(self.sequence[part]), np.asarray(self.position[part]), np.asarray(self.value[part])
        )
        if found.checksum() != self.checksum[column]:
            raise DataFolderError(
                f"{self.path} is damaged: the checksum of latent {index} is wrong",
                "give the command that made it again: damaged activations are made anew",
            )
        return found

    def is_intact(self, latents: NDArray[np.integer]) -> bool:
        """Say whether the captured activations of some latents are as they were written."""
        try:
            for latent in latents.tolist():
                self.latent(latent)
        except DataFolderError:
            return False
        return True

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

    path: Path
    digest: str
    """Hash of the model, the SAE, the corpus and the pairs asked for."""
    whole_corpus: bool
    """Whether every sequence was measured; those of which nothing is kept are 0 throughout."""
    latents: NDArray[np.int32]
    """Those measured, ascending; the columns that follow are in their order."""
    indptr: NDArray[np.int64]
    checksum: NDArray[np.int64]
    """Of each latent's `sequence` and `value`."""
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
            names = ("latents", "indptr", "checksum", "sequence", "value")
            digest, whole = file.metadata["digest"], file.metadata["whole_corpus"] == "true"
            return cls(path, digest, whole, *(file.mapped(name) for name in names))
        except KeyError as error:
            raise DataFolderError(f"{path} holds no holistic activations", "make the data folder again") from error

    def latent(self, index: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return the sequences kept for a latent, ascending, and the values on them [sequences, T].

        Raises:
            DataFolderError: if its checksum is wrong.
        """
        column = int(np.searchsorted(self.latents, index))
        if column == len(self.latents) or self.latents[column] != index:
            return self.sequence[:0], self.value[:0]
        part = slice(int(self.indptr[column]), int(self.indptr[column + 1]))
        sequence, value = np.asarray(self.sequence[part]), np.asarray(self.value[part])
        if checksum(value, checksum(sequence)) != self.checksum[column]:
            raise DataFolderError(
                f"{self.path} is damaged: the checksum of latent {index} is wrong",
                "give the command that made it again: damaged activations are made anew",
            )
        return sequence, value

    def is_intact(self) -> bool:
        """Say whether everything is as it was written."""
        try:
            for latent in self.latents.tolist():
                self.latent(latent)
        except DataFolderError:
            return False
        return True

    def max_activation(self, index: int) -> float:
        """Return the largest holistic activation measured for a latent; 0 if none is above."""
        return float(self.latent(index)[1].max(initial=0.0))

    def dense(self, index: int, sequences: Sequence[int] | NDArray[np.integer]) -> NDArray[np.float32]:
        """Return the values of a latent on the given sequences, in their order, float32 [sequences, T].

        Raises:
            InputError: if one of them was not measured.
            DataFolderError: if the latent's checksum is wrong.
        """
        kept, values = self.latent(index)
        wanted = np.asarray(sequences, dtype=np.int32)
        found = np.isin(wanted, kept)
        measured = found | (self.whole_corpus and bool(np.isin(index, self.latents)))
        if not measured.all():
            raise InputError(
                f"latent {index} was not measured on sequence {wanted[~measured][0]}",
                "ask for it when the holistic activations are captured",
            )
        made = np.zeros((len(wanted), self.value.shape[1]), np.float32)
        made[found] = values[np.searchsorted(kept, wanted[found])]
        return made
