"""Safetensors files read and written in slices, for arrays larger than memory.

The files are plain safetensors, readable by any tool. Slices are read and written with ordinary file
access, not through a mapping, because pages of a mapping count as the process's memory.

Every written array has a checksum: one over the whole file (`write_arrays`), or one per group of rows that is
read at a time and one over their index (`activations`). A header is compared with the file's size before
anything is allocated.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO

import msgspec
import numpy as np
from numpy.typing import DTypeLike, NDArray

from featureinterp.errors import DataFolderError
from featureinterp.files import atomic_path, check_regular

_DTYPE_NAMES = {"int16": "I16", "int32": "I32", "int64": "I64", "float32": "F32"}
_DTYPES = {code: np.dtype(name) for name, code in _DTYPE_NAMES.items()}
_REMAKE = "make the data folder again"
_BLOCK_BYTES = 2**24
_LARGEST_HEADER = 2**20
"""Maximum bytes of a header; that of a file with an array per hook has a few thousand."""

CHECKSUM = "checksum"
"""Metadata key of the CRC-32 over all arrays, in file order."""


class _Entry(msgspec.Struct):
    """Header entry of an array."""

    dtype: str
    shape: list[Annotated[int, msgspec.Meta(ge=0)]]
    data_offsets: tuple[Annotated[int, msgspec.Meta(ge=0)], Annotated[int, msgspec.Meta(ge=0)]]


@dataclass(frozen=True)
class ArraySpec:
    """Shape and number type of one array of a file."""

    shape: tuple[int, ...]
    dtype: DTypeLike

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return self.shape[1:]

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return np.dtype(self.dtype).itemsize * math.prod(self.row_shape)


@dataclass(frozen=True)
class ArrayFile:
    """A safetensors file, read by the slice."""

    path: Path
    metadata: Mapping[str, str]
    specs: Mapping[str, ArraySpec]
    offsets: Mapping[str, int]
    """Byte offset of each array in the file."""

    @classmethod
    def open(cls, path: Path) -> ArrayFile:
        """Read the header.

        Raises:
            DataFolderError: if the file is missing, damaged or truncated, or its header exceeds the file.
        """
        try:
            check_regular(path)
            size = path.stat().st_size
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                if length > size:
                    raise ValueError("not a safetensors file")
                if length > _LARGEST_HEADER:
                    raise ValueError(f"a header of {length} bytes; the limit is {_LARGEST_HEADER}")
                header = msgspec.json.decode(file.read(length), type=dict[str, msgspec.Raw])
            metadata = msgspec.json.decode(header.pop("__metadata__", b"{}"), type=dict[str, str])
            entries = {name: msgspec.json.decode(entry, type=_Entry) for name, entry in header.items()}
            specs = {name: _spec(name, entry) for name, entry in entries.items()}
            end = _end(entries)
        except (OSError, ValueError, RecursionError) as error:
            told = (error.strerror or error) if isinstance(error, OSError) else error
            raise DataFolderError(f"{path} cannot be read as arrays: {told}", _REMAKE) from error
        if size < 8 + length + end:
            raise DataFolderError(f"{path} is cut short: {size} of {8 + length + end} bytes", _REMAKE)
        return cls(path, metadata, specs, {name: 8 + length + e.data_offsets[0] for name, e in entries.items()})

    def check(self, name: str, dtype: DTypeLike, dimensions: int, length: int | None = None) -> ArraySpec:
        """Return the specification of a required array.

        Args:
            name: name of the array.
            dtype: required dtype.
            dimensions: required number of dimensions.
            length: required number of rows, if known.

        Raises:
            DataFolderError: if it is missing, or has another dtype or shape.
        """
        spec = self.specs.get(name)
        if spec is None:
            raise DataFolderError(f"{self.path} holds no array {name!r}", _REMAKE)
        if np.dtype(spec.dtype) != dtype or len(spec.shape) != dimensions or length not in (None, spec.shape[0]):
            wanted = ", ".join([str(length) if length is not None else "rows", *["columns"] * (dimensions - 1)])
            told = f"{self.path} holds {name!r} as {np.dtype(spec.dtype)} {list(spec.shape)}"
            raise DataFolderError(f"{told}; expected {np.dtype(dtype)} [{wanted}]", _REMAKE)
        return spec

    def check_intact(self) -> None:
        """Verify the checksum of `write_arrays` and raise DataFolderError on a mismatch; reads the file once."""
        if not self.is_intact():
            raise DataFolderError(f"{self.path} is damaged: its checksum is wrong", _REMAKE)

    def is_intact(self) -> bool:
        """Return whether the checksum of `write_arrays` matches."""
        found = 0
        for name, spec in self.specs.items():
            rows = max(1, _BLOCK_BYTES // max(1, spec.row_bytes))
            for start in range(0, spec.shape[0], rows):
                found = checksum(self.rows(name, start, min(start + rows, spec.shape[0])), found)
        return self.metadata.get(CHECKSUM) == str(found)

    def mapped(self, name: str) -> NDArray:
        """Return a read-only, memory-mapped view of one array."""
        spec = self.specs[name]
        if 0 in spec.shape:
            return np.empty(spec.shape, spec.dtype)
        return np.memmap(self.path, spec.dtype, "r", self.offsets[name], spec.shape)

    def rows(self, name: str, start: int, stop: int) -> NDArray:
        """Read rows `start` to `stop` of one array into memory."""
        spec = self.specs[name]
        count = (stop - start) * math.prod(spec.row_shape)
        where = self.offsets[name] + start * spec.row_bytes
        return np.fromfile(self.path, spec.dtype, count, offset=where).reshape(stop - start, *spec.row_shape)


def _spec(name: str, entry: _Entry) -> ArraySpec:
    """Parse an entry; ValueError unless type, shape and offsets agree."""
    if entry.dtype not in _DTYPES:
        raise ValueError(f"{name!r} has dtype {entry.dtype!r}; supported: {', '.join(_DTYPES)}")
    spec = ArraySpec(tuple(entry.shape), _DTYPES[entry.dtype])
    if not spec.shape:
        raise ValueError(f"{name!r} is a scalar; expected an array")
    begin, end = entry.data_offsets
    wanted = math.prod(spec.shape) * _DTYPES[entry.dtype].itemsize
    if end - begin != wanted:
        raise ValueError(
            f"{name!r} claims {list(spec.shape)} numbers, which take {wanted} bytes, and has {end - begin}"
        )
    return spec


def _end(entries: Mapping[str, _Entry]) -> int:
    """Return the end offset of the last array; ValueError if two overlap."""
    places = sorted(entry.data_offsets for entry in entries.values() if entry.data_offsets[0] != entry.data_offsets[1])
    if any(after[0] < before[1] for before, after in zip(places, places[1:], strict=False)):
        raise ValueError("two arrays overlap")
    return max((entry.data_offsets[1] for entry in entries.values()), default=0)


@dataclass(frozen=True)
class ArrayWriter:
    """Writer of a file whose rows can be written in any order; unwritten rows are 0."""

    file: BinaryIO
    specs: Mapping[str, ArraySpec]
    offsets: Mapping[str, int]

    def write(self, name: str, start: int, values: NDArray) -> None:
        """Write `values` as the rows of one array from row `start` on."""
        spec = self.specs[name]
        self.file.seek(self.offsets[name] + start * spec.row_bytes)
        self.file.write(np.ascontiguousarray(values, dtype=spec.dtype).tobytes())


@contextmanager
def array_writer(path: Path, specs: Mapping[str, ArraySpec], metadata: Mapping[str, str]) -> Iterator[ArrayWriter]:
    """Write a safetensors file in pieces, atomically: it appears at `path` when the block succeeds.

    Raises:
        StorageError: if it cannot be written; an existing file is unchanged.
    """
    order = _file_order(specs)
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    ends = np.cumsum([0, *(specs[name].row_bytes * specs[name].shape[0] for name in order)]).tolist()
    for name, begin, end in zip(order, ends, ends[1:], strict=False):
        code = _DTYPE_NAMES[np.dtype(specs[name].dtype).name]
        header[name] = {"dtype": code, "shape": list(specs[name].shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    begin = 8 + len(text)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(begin + ends[-1])
        yield ArrayWriter(file, specs, {name: begin + end for name, end in zip(order, ends, strict=False)})


def _file_order(specs: Mapping[str, ArraySpec]) -> list[str]:
    """Return the names ordered by item size, widest first, which keeps every array aligned."""
    return sorted(specs, key=lambda name: -np.dtype(specs[name].dtype).itemsize)


def checksum(array: NDArray, before: int = 0) -> int:
    """Return the CRC-32 of an array's bytes, continuing a previous value."""
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, before)


def checksum_of(arrays: Sequence[NDArray]) -> int:
    """Return the CRC-32 of the bytes of several arrays, one after the other."""
    found = 0
    for array in arrays:
        found = checksum(array, found)
    return found


def write_arrays(path: Path, arrays: Mapping[str, NDArray], metadata: Mapping[str, str]) -> None:
    """Write arrays atomically as one safetensors file with a checksum.

    Raises:
        StorageError: if it cannot be written; an existing file is unchanged.
    """
    specs = {name: ArraySpec(array.shape, array.dtype) for name, array in arrays.items()}
    found = checksum_of([arrays[name] for name in _file_order(specs)])
    with array_writer(path, specs, {**metadata, CHECKSUM: str(found)}) as writer:
        for name, array in arrays.items():
            writer.write(name, 0, array)
