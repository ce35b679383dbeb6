"""Activation capture: one forward pass per window for all hooks.

The corpus is processed in shards. A finished shard survives an interruption, and the next run continues after
it and recreates damaged ones; at the end the shards of each hook are merged into one file grouped by latent
(see `activations` and `merging`). Memory is bounded by a shard while capturing and by `max_memory` while encoding and
merging, however long the corpus is.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from featureinterp.dataset.activations.arrays import ArrayFile, write_arrays
from featureinterp.dataset.activations.merging import MergeTarget, merge_shards
from featureinterp.dataset.activations.store import SparseActivations
from featureinterp.dataset.layout import Layout
from featureinterp.errors import ActivationError, DataFolderError, InputError
from featureinterp.subject.sae import SparseAutoencoder
from featureinterp.subject.subject import Subject

_logger = logging.getLogger(__name__)

SequenceProgress = Callable[[int, int], None]
"""Callback, called as `progress(done, total)`, in sequences."""

SMALL_SAE = 4096
"""Maximum latents of an SAE that is captured completely: this is cheap, and any latent can be examined later."""

_COLUMNS_PER_ENCODING = 64
"""Latents are encoded in multiples of this, because a matrix product of fewer columns may round differently."""


@dataclass(frozen=True)
class CaptureParams:
    """Latents to capture and memory limits."""

    latents: Mapping[str, Sequence[int]] | None = None
    """Selected latents by hook name; None for all."""
    batch_size: int = 64
    """Sequences per forward pass."""
    shard_sequences: int = 512
    """Sequences per shard: the unit that is repeated after an interruption and held in memory while capturing."""
    max_memory: int = 2**30
    """Memory limit in bytes of a batch's dense activations, and of merging."""

    def wanted(self, sae: SparseAutoencoder) -> NDArray[np.int32]:
        """Return the latents to capture, ascending: all of a small SAE, else the selected ones."""
        asked = None if self.latents is None else self.latents.get(sae.hook_name, ())
        if asked is None or sae.n_latents <= SMALL_SAE:
            return np.arange(sae.n_latents, dtype=np.int32)
        sae.check_latents(list(asked))
        return np.unique(np.asarray(asked, dtype=np.int32))


@dataclass(frozen=True)
class _Target:
    """Capture target of one hook."""

    sae: SparseAutoencoder
    latents: NDArray[np.int32]
    source: str
    """Hash of model, SAE and corpus."""
    path: Path
    shards: Path

    def shard(self, start: int) -> Path:
        return self.shards / f"{start:09d}.safetensors"

    def is_captured(self, start: int) -> bool:
        """Return whether a shard exists and is intact."""
        try:
            return ArrayFile.open(self.shard(start)).is_intact()
        except DataFolderError:
            return False

    def encode(self, stream: torch.Tensor) -> torch.Tensor:
        """Return the activations of the target's latents, [batch, tokens, latents]."""
        if len(self.latents) == self.sae.n_latents:
            return self.sae.encode(stream)
        padding = [self.latents[-1]] * (-len(self.latents) % _COLUMNS_PER_ENCODING)
        return self.sae.encode(stream, [*self.latents.tolist(), *padding])[..., : len(self.latents)]


def capture_activations(
    subject: Subject,
    tokens: NDArray[np.int32],
    has_bos: bool,
    folder: Path,
    params: CaptureParams | None = None,
    progress: SequenceProgress | None = None,
) -> None:
    """Write `sae_acts/{hook_name}.safetensors` below `folder` for every SAE of the subject.

    An intact file with the selected latents of this subject on these tokens is kept. A file that lacks
    some is created again, including those it had; an interrupted capture resumes.

    Args:
        subject: the model and its SAEs.
        tokens: int32 [N, S], with BOS in column 0 if `has_bos`; may be memory-mapped.
        has_bos: whether column 0 is BOS, whose activations are not kept.
        folder: the data folder.
        params: latents to capture and memory limits.
        progress: called as `progress(done, total)`, in sequences, after each batch.

    Raises:
        ActivationError: if an activation is NaN or infinite.
        InputError: if the sequences exceed the model's context.
        SubjectError: if a selected latent does not exist.
        StorageError: if a file cannot be written.
    """
    params = params or CaptureParams()
    check_length(subject, tokens)
    corpus = _corpus_of(subject, tokens, has_bos)
    asked = (_target(sae, corpus, folder, params) for sae in subject.saes.values())
    targets = [target for target in asked if target is not None]
    if not targets:
        return
    starts = range(0, len(tokens), params.shard_sequences)
    shards = _Shards(subject, tokens, has_bos, params, progress or (lambda _done, _total: None))
    for start in starts:
        shards.write(targets, range(start, min(start + params.shard_sequences, len(tokens))))
    for target in targets:
        metadata = {
            "source": target.source,
            "n_sequences": str(len(tokens)),
            "length": str(tokens.shape[1] - has_bos),
            "n_latents": str(target.sae.n_latents),
        }
        parts = [target.shard(start) for start in starts]
        merge_shards(parts, MergeTarget(target.path, target.latents, metadata), params.max_memory)
    remove_shards(folder / "sae_acts")


def check_length(subject: Subject, tokens: NDArray[np.int32]) -> None:
    """Raise InputError if the sequences exceed the model's context."""
    longest = subject.model.max_length
    if longest is not None and tokens.shape[1] > longest:
        raise InputError(
            f"sequences have {tokens.shape[1]} tokens; the context of model {subject.model.name!r} is {longest}",
            "cut the corpus into shorter sequences",
        )


def source_of(subject: Subject, sae: SparseAutoencoder, tokens: NDArray[np.int32], has_bos: bool) -> str:
    """Return the source hash of activations: of model, SAE and sequences."""
    return _source(_corpus_of(subject, tokens, has_bos), sae)


def _corpus_of(subject: Subject, tokens: NDArray[np.int32], has_bos: bool) -> str:
    return f"{subject.model.fingerprint()} {tokens_digest(tokens)} {has_bos}"


def _source(corpus: str, sae: SparseAutoencoder) -> str:
    return hashlib.sha256(f"{corpus} {sae.fingerprint()}".encode()).hexdigest()


def tokens_digest(tokens: NDArray[np.int32]) -> str:
    """Return a hash of the sequences."""
    digest = hashlib.sha256(str(tokens.shape).encode())
    for start in range(0, len(tokens), 65_536):
        digest.update(np.ascontiguousarray(tokens[start : start + 65_536]).tobytes())
    return digest.hexdigest()


def remove_shards(folder: Path) -> None:
    """Remove the shards of finished and of abandoned captures."""
    for shards in folder.glob(".shards-*"):
        shutil.rmtree(shards)


def check_finite(values: torch.Tensor, hook_name: str, sequences: Sequence[int]) -> None:
    """Raise ActivationError at the first sequence of [sequences, ...] with a NaN or infinite value."""
    if bool(torch.isfinite(values).all()):
        return
    bad = int((~torch.isfinite(values)).flatten(1).any(dim=1).nonzero()[0])
    raise ActivationError(
        f"an activation on {hook_name} is NaN or infinite in sequence {sequences[bad]}",
        "check the model's and the SAE's weights, and compute in float32",
    )


def _target(sae: SparseAutoencoder, corpus: str, folder: Path, params: CaptureParams) -> _Target | None:
    """Return the capture target of a hook; None if its file is complete."""
    path = Layout(folder).activations_of(sae.hook_name)
    source = _source(corpus, sae)
    latents = params.wanted(sae)
    try:
        there = SparseActivations.open(path) if path.exists() else None
    except DataFolderError as error:
        _logger.warning("%s; it is created again", error.problem)
        there = None
    if there is not None and there.source == source:
        if np.isin(latents, there.latents).all():
            if there.is_intact(latents):
                return None
            _logger.warning("%s is damaged; it is created again", path)
        latents = np.union1d(latents, there.latents)
    settings = f"{source} {latents.tolist()} {params.batch_size} {params.shard_sequences}"
    shards = folder / "sae_acts" / f".shards-{hashlib.sha256(settings.encode()).hexdigest()[:16]}"
    return _Target(sae, latents, source, path, shards)


@dataclass(frozen=True)
class _Shards:
    """Capture in shards of corpus rows."""

    subject: Subject
    tokens: NDArray[np.int32]
    has_bos: bool
    params: CaptureParams
    told: SequenceProgress

    def write(self, targets: Sequence[_Target], rows: range) -> None:
        """Write the missing or damaged shards of a range of rows, for every target."""
        missing = [target for target in targets if not target.is_captured(rows.start)]
        parts: dict[str, list[tuple[NDArray, ...]]] = {target.sae.hook_name: [] for target in missing}
        for start in range(rows.start, rows.stop, self.params.batch_size) if missing else ():
            batch = range(start, min(start + self.params.batch_size, rows.stop))
            tokens = torch.from_numpy(np.array(self.tokens[batch.start : batch.stop]))
            streams = self.subject.model.streams(tokens, [*parts])
            for target in missing:
                stream = streams.pop(target.sae.hook_name)[:, int(self.has_bos) :]
                check_finite(stream, target.sae.hook_name, batch)
                parts[target.sae.hook_name] += self._encoded(target, stream, batch)
            if batch.stop < rows.stop:
                self.told(batch.stop, len(self.tokens))
        for target in missing:
            column, *columns = (np.concatenate(part) for part in zip(*parts.pop(target.sae.hook_name), strict=True))
            _write_grouped(target.shard(rows.start), column, columns, len(target.latents))
        self.told(rows.stop, len(self.tokens))

    def _encoded(self, target: _Target, stream: torch.Tensor, batch: range) -> Iterator[tuple[NDArray, ...]]:
        """Encode a batch in chunks that fit the memory limit."""
        dense_bytes = stream.shape[1] * target.sae.n_latents * stream.element_size()
        size = max(1, self.params.max_memory // (8 * dense_bytes))
        for first in range(0, len(batch), size):
            activations = target.encode(stream[first : first + size])
            check_finite(activations, target.sae.hook_name, batch[first : first + size])
            yield _entries(activations, batch.start + first)


def _entries(activations: torch.Tensor, first_sequence: int) -> tuple[NDArray, ...]:
    """Return column, sequence, position and value of everything above 0 in [batch, tokens, columns]."""
    row, position, column = (activations > 0).nonzero(as_tuple=True)
    value = activations[row, position, column].float().cpu().numpy()
    sequence = row.to(torch.int32).cpu().numpy() + np.int32(first_sequence)
    return column.to(torch.int32).cpu().numpy(), sequence, position.to(torch.int16).cpu().numpy(), value


def _write_grouped(path: Path, column: NDArray, entries: Sequence[NDArray], n_columns: int) -> None:
    order = np.argsort(column, kind="stable")
    sequence, position, value = (entry[order] for entry in entries)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(column, minlength=n_columns))])
    write_arrays(path, {"indptr": indptr, "sequence": sequence, "position": position, "value": value}, {})
