"""Blockwise reader of the original's dense tensors: tokens, activations, holistic activations."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from featureinterp.dataset.activations.arrays import checksum_of, write_arrays
from featureinterp.dataset.activations.store import index_checksum
from featureinterp.dataset.corpus.windows import Windows
from featureinterp.errors import DataFolderError
from featureinterp.files import check_regular

if TYPE_CHECKING:
    from torch import Tensor

ACTIVATIONS, HOLISTIC = "sae_acts", "holistic_acts"
_BLOCK = 2**24
"""Approximate number of values per block."""
_MOST_IDS = 2**31
_LARGEST_STRUCTURE = 2**20
"""Maximum bytes of the description of a file's tensors; a tensor takes a few hundred."""

_DAMAGED = (OSError, RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError, AssertionError)
"""Torch's own errors for a damaged file."""


def read_tokens(path: Path) -> Windows:
    """Read `tokens.pt`; every window counts as a document of its own.

    The first column is BOS if it holds one token throughout, and no other column holds that token.

    Raises:
        DataFolderError: if it cannot be read, or is not a table of token ids.
    """
    tensor = _load(path)
    is_integer = not (tensor.is_floating_point() or tensor.is_complex() or str(tensor.dtype) == "torch.bool")
    if tensor.ndim != 2 or not is_integer or min(tensor.shape) < 2:
        _refuse(path, tensor, "integers [windows, tokens]")
    for wrong in (int(tensor.min()), int(tensor.max())):
        if not 0 <= wrong < _MOST_IDS:
            raise DataFolderError(f"{path} has the token id {wrong}", f"ids are 0 to {_MOST_IDS - 1}")
    tokens = tensor.numpy().astype(np.int32)
    bos = tokens[0, 0]
    has_bos = bool((tokens[:, 0] == bos).all() and not (tokens[:, 1:] == bos).any())
    return Windows(tokens, np.arange(len(tokens), dtype=np.int32), has_bos)


def write_sparse(path: Path, target: Path, windows: Windows) -> None:
    """Convert dense activations to a `SparseActivations` file; column F is latent F.

    Raises:
        DataFolderError: if they cannot be read, belong to other windows, or are not all finite.
        StorageError: if the file cannot be written.
    """
    tensor = _load_dense(path, windows)
    write_entries(target, _entries(path, tensor, windows.text_tokens.shape[1]), windows, tensor.shape[2])


def write_entries(target: Path, entries: Iterable[tuple[NDArray, ...]], windows: Windows, n_latents: int) -> None:
    """Write a `SparseActivations` file.

    Args:
        target: output file.
        entries: blocks of latent, sequence, position and value; within a latent ordered by sequence, then position.
        windows: windows of the activations.
        n_latents: number of latents of the SAE.

    Raises:
        StorageError: if the file cannot be written.
    """
    n, length = windows.text_tokens.shape
    arrays = _by_latent(entries, ("sequence", "position", "value"), n_latents)
    sizes = {"n_sequences": n, "length": length, "n_latents": n_latents}
    metadata = {name: str(size) for name, size in sizes.items()} | index_checksum(arrays["latents"], arrays["indptr"])
    write_arrays(target, arrays, metadata | {"source": "imported"})


def write_holistic(path: Path, beside: Path, target: Path, windows: Windows) -> None:
    """Convert the original's dense holistic activations to a `HolisticActivations` file.

    Args:
        path: holistic activations of the original.
        beside: the corresponding activations, which the conversion needs.
        target: output file.
        windows: windows of both.

    Raises:
        DataFolderError: if one cannot be read, belongs to other windows, or is not all finite.
        StorageError: if the file cannot be written.
    """
    if not beside.exists():
        raise DataFolderError(f"{path} comes without {beside.parent.name}/{beside.name}", "they are read together")
    tensor, activations = _load_dense(path, windows), _load_dense(beside, windows)
    if tensor.shape[2] != activations.shape[2]:
        _refuse(path, tensor, f"{activations.shape[2]} latents, as in {beside.parent.name}")
    pairs = _holistic_pairs(path, tensor, beside, activations, windows.text_tokens.shape[1])
    arrays = _by_latent(pairs, ("sequence", "value"), tensor.shape[2])
    index = index_checksum(arrays["latents"], arrays["indptr"])
    write_arrays(target, arrays, index | {"digest": "imported", "whole_corpus": "true"})


def own_holistic(values: NDArray[np.floating], activations: NDArray[np.floating]) -> NDArray[np.float64]:
    """Convert the original's holistic activations of windows.

    The original subtracts the mean over the remaining T-1 tokens from the mean over all T; with S the sum of a window's
    activations its value is h[t] + S/T - (S - a[t])/(T-1).

    Args:
        values: holistic activations of the original, [..., T].
        activations: activations of the same windows without BOS, [..., T].
    """
    length = activations.shape[-1]
    total = activations.sum(axis=-1, keepdims=True, dtype=np.float64)
    return values - total / length + (total - activations) / (length - 1)


def _entries(path: Path, tensor: Tensor, length: int) -> Iterator[tuple[NDArray, ...]]:
    """Yield latent, sequence, position and value of everything above 0, block by block, without BOS."""
    for start, values in _blocks(path, tensor, length):
        sequence, latent, position = np.nonzero(values > 0)
        found = values[sequence, latent, position]
        yield latent.astype(np.int32), (sequence + start).astype(np.int32), position.astype(np.int16), found


def _holistic_pairs(
    path: Path, tensor: Tensor, beside: Path, activations: Tensor, length: int
) -> Iterator[tuple[NDArray, ...]]:
    """Yield latent, sequence and values of every pair with a nonzero holistic activation, block by block."""
    blocks = zip(_blocks(path, tensor, length), _blocks(beside, activations, length), strict=True)
    for (start, theirs), (_, plain) in blocks:
        # Without activations and effects, the values are exactly 0.
        sequence, latent = np.nonzero(theirs.any(axis=2) | plain.any(axis=2))
        values = own_holistic(theirs[sequence, latent], plain[sequence, latent]).astype(np.float32)
        yield latent.astype(np.int32), (sequence + start).astype(np.int32), values


def _blocks(path: Path, tensor: Tensor, length: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield the first row of each block and its values, float32 [rows, latents, T], without BOS."""
    rows = max(1, _BLOCK // (length * tensor.shape[2]))
    for start in range(0, len(tensor), rows):
        values = tensor[start : start + rows, -length:].float().numpy()
        if not np.isfinite(values).all():
            raise DataFolderError(f"{path} holds a value that is NaN or infinite", "make it again in float32")
        yield start, values.swapaxes(1, 2)


def _by_latent(entries: Iterable[tuple[NDArray, ...]], names: Sequence[str], n_latents: int) -> dict[str, NDArray]:
    """Return entries (latent first) grouped by latent, with the offsets and checksums of the groups."""
    latent, *columns = (np.concatenate(column) for column in zip(*entries, strict=True))
    order = np.argsort(latent, kind="stable")
    columns = [column[order] for column in columns]
    indptr = np.concatenate([[0], np.cumsum(np.bincount(latent, minlength=n_latents))])
    parts = [slice(begin, end) for begin, end in zip(indptr, indptr[1:], strict=False)]
    checksums = np.array([checksum_of([column[part] for column in columns]) for part in parts])
    groups = {"latents": np.arange(n_latents, dtype=np.int32), "indptr": indptr, "checksum": checksums}
    return groups | dict(zip(names, columns, strict=True))


def _load_dense(path: Path, windows: Windows) -> Tensor:
    """Read a value for every token of every window and every latent, with or without BOS."""
    tensor = _load(path)
    n, length = windows.text_tokens.shape
    widths = {length, length + windows.has_bos}
    if tensor.ndim != 3 or not tensor.is_floating_point() or tensor.shape[0] != n or tensor.shape[1] not in widths:
        _refuse(path, tensor, f"floating point [{n}, {' or '.join(map(str, sorted(widths)))}, latents]")
    return tensor


def _load(path: Path) -> Tensor:
    """Load a tensor (or a dictionary with a single one) with `weights_only`."""
    import torch

    try:
        check_regular(path)
        _check_container(path)
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (*_DAMAGED, UnpicklingError, zipfile.BadZipFile) as error:
        told = str(error).strip().partition("\n")[0]
        raise DataFolderError(
            f"{path} cannot be read as a tensor: {told}", "it is damaged, or holds more than a tensor"
        ) from error
    if isinstance(found, dict):
        tensors = [value for value in found.values() if isinstance(value, torch.Tensor)]
        found = tensors[0] if len(tensors) == 1 else found
    if not isinstance(found, torch.Tensor):
        keys = f" with the keys {', '.join(map(str, found))}"[:80] if isinstance(found, dict) else ""
        raise DataFolderError(f"{path} holds a {type(found).__name__}{keys}", "expected one tensor")
    if found.layout != torch.strided or found.device.type != "cpu":
        _refuse(path, found, "a tensor that holds all its numbers")
    if found.numel() * found.element_size() > path.stat().st_size:
        _refuse(path, found, "no more than fits in the file")
    return found


def _check_container(path: Path) -> None:
    """Raise ValueError if a file unpacks to more than its size (never written by torch)."""
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            return  # from the oldest versions, or not a tensor: torch reports it
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    packed = next((entry for entry in entries if entry.compress_type != zipfile.ZIP_STORED), None)
    if packed is not None:
        raise ValueError(f"its part {packed.filename!r} is compressed")
    structure = max((entry.file_size for entry in entries if entry.filename.endswith(".pkl")), default=0)
    if structure > _LARGEST_STRUCTURE or sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise ValueError("its parts exceed the size of the file")


def _refuse(path: Path, tensor: Tensor, wanted: str) -> None:
    kind = str(tensor.dtype).removeprefix("torch.")
    raise DataFolderError(f"{path} holds {kind} {list(tensor.shape)}", f"expected {wanted}")
