"""Lines of text files, plain or compressed (Zstandard, gzip), with size limits.

A line is at most `LONGEST` characters. A compressed file may unpack to `UNPACKED_TIMES` its size and `UNPACKED_FLOOR`
bytes: text does not compress better than that, a decompression bomb does. Memory use is that of the longest
line.

Trap: Zstandard's own reader accepts a file that ends within a frame, and returns whatever a piece of input
unpacks to at once: up to 128 KiB for four bytes. So frames are tracked here, and input is passed in small pieces.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from featureinterp.errors import CorpusError

if TYPE_CHECKING:
    from collections.abc import Buffer  # pyright: ignore[reportAttributeAccessIssue] - Python 3.12

LONGEST = 2**25
"""Maximum characters of a line, and of a document."""

UNPACKED_TIMES = 200
UNPACKED_FLOOR = 2**26

_LARGEST_WINDOW = 2**27
"""Maximum window of a Zstandard frame, in bytes; the default limit of the `zstd` program."""
_PIECE = 2**10
_FETCH = "download or create it again"
_NOT_TEXT = "use a text file in UTF-8"


def read_lines(path: Path) -> Iterator[str]:
    """Yield a file's lines without line endings; .zst and .gz are decompressed.

    Raises:
        CorpusError: if it is damaged, truncated, not UTF-8 text, or exceeds the limit of a line or of unpacked bytes.
        OSError: if it cannot be opened.
    """
    with path.open("rb") as opened:
        chunks = _CHUNKS.get(path.suffix)
        raw = opened if chunks is None else io.BufferedReader(_Unpacked(path, chunks(path, opened)), 2**20)
        try:
            with io.TextIOWrapper(raw, encoding="utf-8-sig") as text:
                for number, line in enumerate(iter(partial(text.readline, LONGEST + 1), ""), start=1):
                    if len(line) > LONGEST:
                        raise too_long(f"line {number} of corpus file {path}")
                    if "\0" in line:
                        raise CorpusError(f"corpus file {path} is not text: it holds a zero byte", _NOT_TEXT)
                    yield line.rstrip("\n")
        except UnicodeDecodeError as error:
            raise CorpusError(
                f"corpus file {path} is not UTF-8 text: byte 0x{error.object[error.start]:02x} cannot be read",
                "convert it to UTF-8",
            ) from error


def too_long(where: str) -> CorpusError:
    """Return the error for a document above the size limit."""
    return CorpusError(
        f"{where} has more than {LONGEST:,} characters, the limit of one document",
        "cut it into documents: only the beginning of each is used",
    )


class _Unpacked(io.RawIOBase):
    """File interface over decompressed chunks, with a size limit."""

    def __init__(self, path: Path, chunks: Iterator[bytes]) -> None:
        self._path = path
        self._chunks = chunks
        self._most = UNPACKED_FLOOR + UNPACKED_TIMES * path.stat().st_size
        self._n = 0
        self._pending = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        if not self._pending:
            self._pending = memoryview(next(self._chunks, b""))
            self._n += len(self._pending)
            if self._n > self._most:
                raise CorpusError(
                    f"corpus file {self._path} unpacks to more than {self._most:,} bytes, {UNPACKED_TIMES} times its "
                    f"size and {UNPACKED_FLOOR:,}",
                    "it may be a decompression bomb; if you trust it, decompress it first",
                )
        view = memoryview(buffer)
        n = min(len(view), len(self._pending))
        view[:n], self._pending = self._pending[:n], self._pending[n:]
        return n


def _zstandard_chunks(path: Path, file: BinaryIO) -> Iterator[bytes]:
    from zstandard import ZstdDecompressor, ZstdError

    decompressor = ZstdDecompressor(max_window_size=_LARGEST_WINDOW)
    frame, is_within = decompressor.decompressobj(), False
    try:
        while piece := file.read(_PIECE):
            while piece:
                if frame.eof:
                    frame = decompressor.decompressobj()
                if made := frame.decompress(piece):
                    yield made
                is_within, piece = not frame.eof, frame.unused_data
    except ZstdError as error:
        if "too much memory" in str(error):
            raise CorpusError(
                f"corpus file {path} was compressed with a window of more than {_LARGEST_WINDOW:,} bytes",
                "decompress it with `zstd -d --long=31` first",
            ) from error
        raise _damaged(path, error) from error
    if is_within:
        raise CorpusError(f"corpus file {path} is cut short", _FETCH)


def _gzip_chunks(path: Path, file: BinaryIO) -> Iterator[bytes]:
    try:
        with gzip.GzipFile(fileobj=file) as plain:
            while chunk := plain.read(2**17):
                yield chunk
    except EOFError as error:
        raise CorpusError(f"corpus file {path} is cut short", _FETCH) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise _damaged(path, error) from error


_CHUNKS: Mapping[str, Callable[[Path, BinaryIO], Iterator[bytes]]] = {".zst": _zstandard_chunks, ".gz": _gzip_chunks}


def _damaged(path: Path, error: Exception) -> CorpusError:
    return CorpusError(f"corpus file {path} is damaged: {error}", _FETCH)
