"""Stored activations of one hook's latents, grouped by latent.

A file of activations covers the whole corpus: the captured `latents` [F], their `indptr` [F+1] and `checksum` [F] and,
of everything above 0, `sequence`, `position` and `value`, sorted by (latent, sequence, position). Positions count from
0 without BOS. A file of holistic activations covers the measured pairs of latent and sequence: `indptr` [F+1],
`sequence` [pairs] and `value` [pairs, T].

Opening a file reads its header and its index, `latents` and `indptr`, whose checksum is in the metadata
(`index`, missing in files of older versions); a latent's checksum and ranges are verified when the latent is read. So
reading a latent verifies it, without reading the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featureinterp.dataset.activations.arrays import ArrayFile, checksum, checksum_of
from featureinterp.errors import DataFolderError, InputError

_INDEX = "index"
_REMAKE = "make the data folder again"
_MADE_ANEW = "repeat the command that created it: damaged activations are captured again"


def index_checksum(latents: NDArray[np.int32], indptr: NDArray[np.int64]) -> dict[str, str]:
    """Return the checksum entry of a file's index."""
    return {_INDEX: str(checksum_of([latents, indptr]))}


def _check_index(file: ArrayFile, n_entries: int, n_latents: int | None) -> None:
    """Raise DataFolderError unless latents ascend and their offsets cover the entries in order."""
    n = file.check("latents", np.int32, 1).shape[0]
    file.check("indptr", np.int64, 1, n + 1)
    file.check("checksum", np.int64, 1, n)
    latents, indptr = file.rows("latents", 0, n), file.rows("indptr", 0, n + 1)
    wanted = file.metadata.get(_INDEX)
    within = n == 0 or (latents[0] >= 0 and (n_latents is None or latents[-1] < n_latents))
    ascend = (np.diff(latents) > 0).all() and (np.diff(indptr) >= 0).all()
    covers = indptr[0] == 0 and indptr[-1] == n_entries
    if not (within and ascend and covers) or wanted not in (None, str(checksum_of([latents, indptr]))):
        raise DataFolderError(f"{file.path} is damaged: its index is wrong", _MADE_ANEW)


def _sizes(metadata: Mapping[str, str], path: Path, *names: str) -> list[int]:
    texts = [metadata.get(name, "") for name in names]
    if not all(text.isascii() and text.isdigit() and len(text) < 12 for text in texts):
        raise DataFolderError(f"{path} holds no activations: its header lacks {', '.join(names)}", _REMAKE)
    return [int(text) for text in texts]


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

    def fits(self, n_sequences: int, length: int) -> bool:
        """Return whether the entries are sorted and within the given number of sequences and tokens."""
        order = self.sequence.astype(np.int64) * length + self.position
        inside = (self.sequence < n_sequences).all() and (self.position >= 0).all() and (self.position < length).all()
        ascend = (np.diff(order, prepend=-1) > 0).all()
        return bool(inside and ascend and np.isfinite(self.value).all() and (self.value > 0).all())

    def sequence_maxima(self) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return the sequences that the latent is active on, ascending, and its maximum on each."""
        if len(self.sequence) == 0:
            return self.sequence, self.value
        starts = np.flatnonzero(np.diff(self.sequence, prepend=-1))
        return self.sequence[starts], np.maximum.reduceat(self.value, starts)


@dataclass(frozen=True)
class SparseActivations:
    """Activations of the captured latents of one hook, read from disk one latent at a time."""

    path: Path
    source: str
    """Hash of the model, the SAE and the corpus that the activations were computed from."""
    n_sequences: int
    length: int
    """Tokens per sequence, BOS not counted."""
    n_latents: int
    """Number of latents of the SAE, including dead ones and those not captured."""
    latents: NDArray[np.int32]
    """int32 [F]: captured latents, ascending; the following arrays are in this order."""
    indptr: NDArray[np.int64]
    checksum: NDArray[np.int64]
    """Checksum of each captured latent's `sequence`, `position` and `value`."""
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
        n_sequences, length, n_latents = _sizes(file.metadata, path, "n_sequences", "length", "n_latents")
        n = file.check("sequence", np.int32, 1).shape[0]
        file.check("position", np.int16, 1, n)
        file.check("value", np.float32, 1, n)
        _check_index(file, n, n_latents)
        names = ("latents", "indptr", "checksum", "sequence", "position", "value")
        source = file.metadata.get("source", "")
        return cls(path, source, n_sequences, length, n_latents, *(file.mapped(name) for name in names))

    @classmethod
    def of(cls, latents: Sequence[LatentActivations], n_sequences: int, length: int) -> SparseActivations:
        """Hold activations that are in memory: those of latents 0, 1, ... of a hook.

        Args:
            latents: each sorted by sequence and position.
            n_sequences: sequences of the corpus.
            length: tokens of each, BOS not counted.
        """
        n = len(latents)
        return cls(
            path=Path("memory"),
            source="",
            n_sequences=n_sequences,
            length=length,
            n_latents=n,
            latents=np.arange(n, dtype=np.int32),
            indptr=np.cumsum([0, *(len(each.sequence) for each in latents)]),
            checksum=np.array([each.checksum() for each in latents], dtype=np.int64),
            sequence=np.concatenate([np.zeros(0, np.int32), *(each.sequence for each in latents)]),
            position=np.concatenate([np.zeros(0, np.int16), *(each.position for each in latents)]),
            value=np.concatenate([np.zeros(0, np.float32), *(each.value for each in latents)]),
        )

    def latent(self, index: int) -> LatentActivations:
        """Return the activations of one latent; empty arrays if it never fires.

        Raises:
            InputError: if the latent does not exist or was not captured.
            DataFolderError: if its checksum is wrong.
        """
        if not 0 <= index < self.n_latents:
            raise InputError(f"latent {index} does not exist", f"there are latents 0 to {self.n_latents - 1}")
        column = int(np.searchsorted(self.latents, index))
        if column == len(self.latents) or self.latents[column] != index:
            raise InputError(
                f"latent {index} was not captured in {self.path}",
                "capture it first: `featureinterp records --write-sae-acts --latents`",
            )
        part = slice(int(self.indptr[column]), int(self.indptr[column + 1]))
        found = LatentActivations(
            np.asarray(self.sequence[part]), np.asarray(self.position[part]), np.asarray(self.value[part])
        )
        if found.checksum() != self.checksum[column]:
            raise DataFolderError(f"{self.path} is damaged: the checksum of latent {index} is wrong", _MADE_ANEW)
        if not found.fits(self.n_sequences, self.length):
            raise DataFolderError(f"{self.path} holds invalid activations of latent {index}", _MADE_ANEW)
        return found

    def is_intact(self, latents: NDArray[np.integer]) -> bool:
        """Return whether the checksums of the given latents match."""
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
    """Holistic activations of one hook by latent and sequence, read from disk one latent at a time."""

    path: Path
    digest: str
    """Hash of the model, the SAE, the corpus and the requested pairs."""
    whole_corpus: bool
    """Whether every sequence was measured; sequences without an entry are 0 throughout."""
    latents: NDArray[np.int32]
    """Measured latents, ascending; the following arrays are in this order."""
    indptr: NDArray[np.int64]
    checksum: NDArray[np.int64]
    """Checksum of each latent's `sequence` and `value`."""
    sequence: NDArray[np.int32]
    """Sequence of each pair; ascending within a latent."""
    value: NDArray[np.float32]
    """float32 [pairs, T]: holistic activations of each pair."""

    @classmethod
    def open(cls, path: Path) -> HolisticActivations:
        """Open a file that `capture_holistic` wrote.

        Raises:
            DataFolderError: if it is missing or damaged.
        """
        file = ArrayFile.open(path)
        n = file.check("sequence", np.int32, 1).shape[0]
        file.check("value", np.float32, 2, n)
        _check_index(file, n, None)
        if "digest" not in file.metadata:
            raise DataFolderError(f"{path} holds no holistic activations: its header lacks digest", _REMAKE)
        whole = file.metadata.get("whole_corpus") == "true"
        names = ("latents", "indptr", "checksum", "sequence", "value")
        return cls(path, file.metadata["digest"], whole, *(file.mapped(name) for name in names))

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
            raise DataFolderError(f"{self.path} is damaged: the checksum of latent {index} is wrong", _MADE_ANEW)
        if not ((np.diff(sequence, prepend=-1) > 0).all() and np.isfinite(value).all()):
            raise DataFolderError(f"{self.path} holds invalid activations of latent {index}", _MADE_ANEW)
        return sequence, value

    def is_intact(self) -> bool:
        """Return whether all checksums match."""
        try:
            for latent in self.latents.tolist():
                self.latent(latent)
        except DataFolderError:
            return False
        return True

    def max_activation(self, index: int) -> float:
        """Return the largest holistic activation of a latent, at least 0."""
        return float(self.latent(index)[1].max(initial=0.0))

    def dense(self, index: int, sequences: Sequence[int] | NDArray[np.integer]) -> NDArray[np.float32]:
        """Return the values of a latent on the given sequences, in their order, float32 [sequences, T].

        Raises:
            InputError: if a sequence was not measured.
            DataFolderError: if the latent's checksum is wrong.
        """
        kept, values = self.latent(index)
        wanted = np.asarray(sequences, dtype=np.int32)
        found = np.isin(wanted, kept)
        measured = found | (self.whole_corpus and bool(np.isin(index, self.latents)))
        if not measured.all():
            raise InputError(
                f"latent {index} was not measured on sequence {wanted[~measured][0]}",
                "include it when the holistic activations are captured",
            )
        made = np.zeros((len(wanted), self.value.shape[1]), np.float32)
        made[found] = values[np.searchsorted(kept, wanted[found])]
        return made
