"""Arrays on disk that never have to be in memory as a whole: safetensors written and read by the slice.

The files are plain safetensors and open with any reader of them. Slices are read and written with ordinary file
access, not through a mapping, because pages of a mapping count as the process's memory.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from featureinterp.errors import DataFolderError
from featureinterp.files import atomic_path, check_regular

_DTYPE_NAMES = {"int16": "I16", "int32": "I32", "int64": "I64", "float32": "F32"}
_DTYPES = {code: np.dtype(name) for name, code in _DTYPE_NAMES.items()}
_REMAKE = "make the data folder again"
_BLOCK_BYTES = 2**24


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
    """Byte at which each array begins in the file."""

    @classmethod
    def open(cls, path: Path) -> ArrayFile:
        """Read the header.

        Raises:
            DataFolderError: if the file is missing, damaged or cut short.
        """
        try:
            check_regular(path)
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                if length > path.stat().st_size:
                    raise ValueError("it is no safetensors file")
                header = json.loads(file.read(length))
            metadata = header.pop("__metadata__", {})
            specs = {name: ArraySpec(tuple(e["shape"]), _DTYPES[e["dtype"]]) for name, e in header.items()}
            offsets = {name: 8 + length + entry["data_offsets"][0] for name, entry in header.items()}
            end = max((8 + length + entry["data_offsets"][1] for entry in header.values()), default=0)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataFolderError(f"{path} cannot be read as arrays: {error}", _REMAKE) from error
        if path.stat().st_size < end:
            raise DataFolderError(f"{path} is cut short: {path.stat().st_size} of {end} bytes", _REMAKE)
        return cls(path, metadata, specs, offsets)

    def is_intact(self) -> bool:
        """Say whether the arrays are those that `write_arrays` wrote, by its checksum."""
        found = 0
        for name, spec in self.specs.items():
            rows = max(1, _BLOCK_BYTES // max(1, spec.row_bytes))
            for start in range(0, spec.shape[0], rows):
                found = checksum(self.rows(name, start, min(start + rows, spec.shape[0])), found)
        return self.metadata.get("checksum") == str(found)

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
        return np.fromfile(self.path, spec.dtype, count, offset=where).reshape(-1, *spec.row_shape)


@dataclass(frozen=True)
class ArrayWriter:
    """A file under way whose rows can be written in any order; rows never written are 0."""

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
    """Write a safetensors file piece by piece; it appears at `path` whole, when the block ends well.

    Raises:
        StorageError: if it cannot be written; what was at `path` stays.
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
    """Return the names, those of wide numbers first, which keeps every array aligned."""
    return sorted(specs, key=lambda name: -np.dtype(specs[name].dtype).itemsize)


def checksum(array: NDArray, before: int = 0) -> int:
    """Return the CRC-32 of an array's bytes, continuing that of what came before."""
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, before)


def write_arrays(path: Path, arrays: Mapping[str, NDArray], metadata: Mapping[str, str]) -> None:
    """Write whole arrays as one safetensors file with a checksum, all or nothing.

    Raises:
        StorageError: if it cannot be written; what was at `path` stays.
    """
    specs = {name: ArraySpec(array.shape, array.dtype) for name, array in arrays.items()}
    found = 0
    for name in _file_order(specs):
        found = checksum(arrays[name], found)
    with array_writer(path, specs, {**metadata, "checksum": str(found)}) as writer:
        for name, array in arrays.items():
            writer.write(name, 0, array)
