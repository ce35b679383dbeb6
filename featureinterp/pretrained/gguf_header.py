"""The header of a GGUF file, read without trusting a count or a length in it.

A GGUF file (versions 2 and 3, little-endian) is a magic word, metadata as typed key-value pairs, a table of tensors,
and their data. Libraries reserve and loop as the header demands, so every number is compared here with the bytes that
the file has, before another reader sees it.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from featureinterp.errors import SubjectError
from featureinterp.files import check_regular

MAGIC = b"GGUF"
ARRAY_TYPE, STRING_TYPE = 9, 8

_VERSIONS = (2, 3)
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Format of each metadata type of a fixed width."""
_LARGEST_HEADER = 2**28
_MOST_ELEMENTS = 2**22
"""Limit of the elements of all arrays: Gemma 3, with the largest vocabulary, has a third of it."""
_LARGEST_STRING = 2**24
_MOST_DIMENSIONS = 4
_ALIGNMENT = 32
"""Alignment of tensor data where `general.alignment` is not set."""

_HINT = "download it again, and check its size and SHA-256"

Value = int | float | bool | str


@dataclass(frozen=True)
class GgufTensor:
    """An entry of the table of tensors."""

    name: str
    n_elements: int
    n_bytes: int


@dataclass(frozen=True)
class GgufHeader:
    """Metadata and tensors of a GGUF file."""

    metadata: Mapping[str, Value]
    """Scalars and strings; arrays are left out."""
    tensors: tuple[GgufTensor, ...]

    @property
    def architecture(self) -> str:
        """Name of the model family, as llama.cpp spells it."""
        return str(self.metadata["general.architecture"])

    @property
    def n_elements(self) -> int:
        """Number of weights in all tensors."""
        return sum(tensor.n_elements for tensor in self.tensors)


def read_gguf_header(path: Path) -> GgufHeader:
    """Read and check the header of a GGUF file.

    Raises:
        SubjectError: if it is not a GGUF file, has another version or byte order, is truncated or damaged, or its
            header exceeds the limits.
    """
    try:
        check_regular(path)
        with path.open("rb") as file:
            return _header(_Reader(file, path.stat().st_size))
    except OSError as error:
        raise SubjectError(f"{path} cannot be read: {error.strerror}", "use a readable GGUF file") from error
    except _Fault as fault:
        raise SubjectError(f"{path} {fault}", _HINT) from fault


class _Fault(Exception):
    """What is wrong with a file; its name is the subject of the sentence."""


class _Reader:
    """A file, read from its start to at most the limit of a header."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self.size, self.position, self.n_elements = file, size, 0, 0

    def take(self, n: int) -> bytes:
        end = self.position + n
        if end > self.size:
            raise _Fault(f"is truncated or damaged: its header asks for byte {end:,}, and it has {self.size:,}")
        if end > _LARGEST_HEADER:
            raise _Fault(f"has a header of more than {_LARGEST_HEADER:,} bytes, so it is damaged")
        self.position = end
        found = self._file.read(n)
        if len(found) < n:
            raise _Fault("became shorter while it was read")
        return found

    def number(self, code: str) -> int:
        return struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")))[0]

    def text(self) -> str:
        length = self.number("Q")
        if length > _LARGEST_STRING:
            raise _Fault(f"is damaged: its header holds a text of {length:,} bytes")
        try:
            return self.take(length).decode("utf-8")
        except UnicodeDecodeError as error:
            raise _Fault("is damaged: its header holds a text that is not UTF-8") from error

    def count_elements(self, n: int) -> None:
        self.n_elements += n
        if self.n_elements > _MOST_ELEMENTS:
            raise _Fault(f"is damaged: its header holds arrays of more than {_MOST_ELEMENTS:,} elements")


def _header(reader: _Reader) -> GgufHeader:
    if reader.size < len(MAGIC) or reader.take(len(MAGIC)) != MAGIC:
        raise _Fault("is not a GGUF file: it does not begin with 'GGUF'")
    version = reader.number("I")
    if version not in _VERSIONS:
        swapped = int.from_bytes(version.to_bytes(4, "little"), "big") in _VERSIONS
        told = "is big-endian" if swapped else f"has version {version}"
        raise _Fault(f"{told}; GGUF files of the versions 2 and 3, little-endian, can be read")
    n_tensors, n_entries = reader.number("Q"), reader.number("Q")
    metadata = _metadata(reader, n_entries)
    if not isinstance(metadata.get("general.architecture"), str):
        raise _Fault("names no architecture (general.architecture), so it is no language model")
    return GgufHeader(metadata, _tensors(reader, n_tensors, _alignment(metadata)))


def _metadata(reader: _Reader, n_entries: int) -> dict[str, Value]:
    found: dict[str, Value] = {}
    seen: set[str] = set()
    for _ in range(n_entries):
        key, kind = reader.text(), reader.number("I")
        if key in seen:
            raise _Fault(f"is damaged: its header holds {key!r} twice")
        seen.add(key)
        if kind == ARRAY_TYPE:
            _skip_array(reader)
        elif kind == STRING_TYPE:
            found[key] = reader.text()
        elif kind in _SCALARS:
            found[key] = reader.number(_SCALARS[kind])
        else:
            raise _Fault(f"is damaged: {key!r} has the unknown type {kind}")
    return found


def _skip_array(reader: _Reader) -> None:
    kind, n = reader.number("I"), reader.number("Q")
    reader.count_elements(n)
    if kind in _SCALARS:
        reader.take(n * struct.calcsize(f"<{_SCALARS[kind]}"))
    elif kind == STRING_TYPE:
        for _ in range(n):
            reader.take(reader.number("Q"))
    else:
        raise _Fault(f"is damaged: its header holds an array of the type {kind}")


def _alignment(metadata: Mapping[str, Value]) -> int:
    found = metadata.get("general.alignment", _ALIGNMENT)
    if not isinstance(found, int) or found < 1 or found & (found - 1):
        raise _Fault(f"is damaged: its alignment is {found!r}, not a power of two")
    return found


def _tensors(reader: _Reader, n_tensors: int, alignment: int) -> tuple[GgufTensor, ...]:
    found: dict[str, GgufTensor] = {}
    end = 0
    for _ in range(n_tensors):
        name, n_dimensions = reader.text(), reader.number("I")
        if name in found:
            raise _Fault(f"is damaged: it holds the tensor {name!r} twice")
        if not 1 <= n_dimensions <= _MOST_DIMENSIONS:
            raise _Fault(f"is damaged: the tensor {name!r} has {n_dimensions} dimensions")
        shape = [reader.number("Q") for _ in range(n_dimensions)]
        tensor = _tensor(name, shape, reader.number("I"))
        found[name] = tensor
        end = max(end, reader.number("Q") + tensor.n_bytes)
    if not found:
        raise _Fault("holds no tensors: it is a vocabulary alone, or damaged")
    needed = math.ceil(reader.position / alignment) * alignment + end
    if needed > reader.size:
        raise _Fault(f"is truncated or damaged: its tensors end at byte {needed:,}, and it has {reader.size:,}")
    return tuple(found.values())


def _tensor(name: str, shape: list[int], kind: int) -> GgufTensor:
    """Return an entry; the first number of its shape is the length of a row, which holds whole blocks of weights."""
    from gguf.constants import GGML_QUANT_SIZES

    sizes = {int(known): size for known, size in GGML_QUANT_SIZES.items()}.get(kind)
    if sizes is None:
        raise _Fault(f"holds the tensor {name!r} in the unknown format {kind}")
    block, block_bytes = sizes
    if min(shape) < 1 or shape[0] % block:
        raise _Fault(f"is damaged: the tensor {name!r} has the shape {shape}")
    n_elements = math.prod(shape)
    return GgufTensor(name, n_elements, n_elements // block * block_bytes)
