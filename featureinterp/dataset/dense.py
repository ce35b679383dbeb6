"""The original's tensors: tokens, and activations of every token, zeros included, read by the block."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from featureinterp.dataset.arrays import write_arrays
from featureinterp.dataset.windows import Windows
from featureinterp.errors import DataFolderError

if TYPE_CHECKING:
    from torch import Tensor

ACTIVATIONS = "sae_acts"
_ROWS = 1024


def read_tokens(path: Path) -> Windows:
    """Read `tokens.pt`; every window counts as a document of its own.

    The first column is BOS where it holds the same token throughout, and no other column holds that.

    Raises:
        DataFolderError: if it cannot be read, or is no table of token ids.
    """
    tensor = _load(path)
    if tensor.ndim != 2 or tensor.is_floating_point() or min(tensor.shape) < 2:
        _refuse(path, tensor, "integers [windows, tokens]")
    tokens = tensor.numpy().astype(np.int32)
    bos = tokens[0, 0]
    has_bos = bool((tokens[:, 0] == bos).all() and not (tokens[:, 1:] == bos).any())
    return Windows(tokens, np.arange(len(tokens), dtype=np.int32), has_bos)


def write_sparse(path: Path, target: Path, windows: Windows) -> None:
    """Turn dense activations into a file that `SparseActivations` opens; column F is latent F.

    Raises:
        DataFolderError: if they cannot be read, are not of these windows, or not all finite numbers.
        StorageError: if the file cannot be written.
    """
    tensor = _load(path)
    n, length = windows.text_tokens.shape
    widths = {length, length + windows.has_bos}
    if tensor.ndim != 3 or not tensor.is_floating_point() or tensor.shape[0] != n or tensor.shape[1] not in widths:
        _refuse(path, tensor, f"floating point [{n}, {' or '.join(map(str, sorted(widths)))}, latents]")
    n_latents = tensor.shape[2]
    latent, *columns = (np.concatenate(column) for column in zip(*_entries(path, tensor, length), strict=True))
    order = np.argsort(latent, kind="stable")
    sequence, position, value = (column[order] for column in columns)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(latent, minlength=n_latents))])
    parts = [slice(begin, end) for begin, end in zip(indptr, indptr[1:], strict=False)]
    checksums = [_checksum(sequence[part], position[part], value[part]) for part in parts]
    arrays = {"latents": np.arange(n_latents, dtype=np.int32), "indptr": indptr, "checksum": np.array(checksums)}
    arrays |= {"sequence": sequence, "position": position, "value": value}
    sizes = {"n_sequences": n, "length": length, "n_latents": n_latents}
    write_arrays(target, arrays, {**{name: str(size) for name, size in sizes.items()}, "source": "imported"})


def _entries(path: Path, tensor: Tensor, length: int) -> Iterator[tuple[NDArray, ...]]:
    """Yield latent, sequence, position and value of everything above 0, block by block, without BOS."""
    for start in range(0, len(tensor), _ROWS):
        values = tensor[start : start + _ROWS, -length:].float().numpy()
        if not np.isfinite(values).all():
            raise DataFolderError(f"{path} holds a value that is NaN or infinite", "make it again in float32")
        sequence, position, latent = np.nonzero(values > 0)
        found = values[sequence, position, latent]
        yield latent.astype(np.int32), (sequence + start).astype(np.int32), position.astype(np.int16), found


def _checksum(*arrays: NDArray) -> int:
    found = 0
    for array in arrays:
        found = zlib.crc32(array.tobytes(), found)
    return found


def _load(path: Path) -> Tensor:
    """Read a tensor, or the only one of a dictionary, and nothing that could run code."""
    import torch

    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError, EOFError, ValueError, UnpicklingError) as error:
        told = str(error).strip().partition("\n")[0]
        raise DataFolderError(f"{path} cannot be read as a tensor: {told}", "it is damaged, or holds more") from error
    if isinstance(found, dict):
        tensors = [value for value in found.values() if isinstance(value, torch.Tensor)]
        found = tensors[0] if len(tensors) == 1 else found
    if not isinstance(found, torch.Tensor):
        keys = f" with the keys {', '.join(map(str, found))}"[:80] if isinstance(found, dict) else ""
        raise DataFolderError(f"{path} holds a {type(found).__name__}{keys}", "one tensor is wanted")
    return found


def _refuse(path: Path, tensor: Tensor, wanted: str) -> None:
    kind = str(tensor.dtype).removeprefix("torch.")
    raise DataFolderError(f"{path} holds {kind} {list(tensor.shape)}", f"{wanted} is wanted")
