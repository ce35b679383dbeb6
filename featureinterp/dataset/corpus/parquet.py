"""One column of a parquet file, row by row, with bounded memory.

Trap: a page declares its own unpacked size and number of values: a file of 100 bytes may
declare two billion. The library allocates what is declared, so the page headers are checked here first.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from featureinterp.dataset.corpus.documents import Document, as_document, choose_column
from featureinterp.errors import CorpusError

if TYPE_CHECKING:
    from pyarrow.parquet import ColumnChunkMetaData, ParquetFile

LARGEST_PAGE = 2**28
"""Maximum unpacked bytes of a page; writers make pages of about 2^20."""

VALUES_FLOOR, VALUES_PER_BYTE = 2**24, 64
"""Maximum values of a file: a constant, and a number per byte of the file."""

_ROWS = 1024
_BATCH = 2**26
"""Maximum bytes of a batch, if every row takes a page."""
_USUAL_HEAD, _LARGEST_HEAD = 2**12, 2**20
_DEEPEST = 16


def parquet_rows(path: Path, wanted: str) -> Iterator[Document]:
    """Yield the documents of a file, row group by row group.

    Args:
        path: the file.
        wanted: the column; see `choose_column`.

    Raises:
        CorpusError: if it is damaged, has no such column, or declares more than it can hold.
        OSError: if it cannot be opened.
    """
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file, path.open("rb") as raw:
            column, before = choose_column(file.schema_arrow.names, wanted, f"corpus file {path}"), 0
            for group in range(file.num_row_groups):
                rows = _Pages(path, raw).rows_at_a_time(file, group, column)
                for batch in file.iter_batches(rows, row_groups=[group], columns=[column]):
                    for row, value in enumerate(batch.column(0), start=before + 1):
                        yield as_document(_plain(value), f"{column!r} in row {row} of corpus file {path}")
                    before += len(batch)
    except (ArrowException, MemoryError, OSError, UnicodeDecodeError) as error:
        told = str(error).partition("\n")[0]
        raise CorpusError(f"{path} cannot be read as parquet: {told}", "download or create it again") from error


def _plain(value: Any) -> object:  # noqa: ANN401 - a scalar of any type of arrow
    """Convert a value to Python, or to numpy for a list of numbers."""
    if not value.is_valid or not hasattr(value, "values"):
        return value.as_py()
    return value.values.to_numpy(zero_copy_only=False)


class _Pages:
    """Page headers of a file."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        self._most_values = VALUES_FLOOR + VALUES_PER_BYTE * path.stat().st_size

    def rows_at_a_time(self, file: ParquetFile, group: int, column: str) -> int:
        """Return the batch size of a row group in rows; CorpusError for implausible sizes."""
        chunks = file.metadata.row_group(group)
        largest = 1
        for index in range(chunks.num_columns):
            chunk = chunks.column(index)
            if chunk.path_in_schema == column or chunk.path_in_schema.startswith(f"{column}."):
                largest = max(largest, self._largest_page(chunk))
        return max(1, min(_ROWS, _BATCH // largest))

    def _largest_page(self, chunk: ColumnChunkMetaData) -> int:
        first = chunk.data_page_offset
        if chunk.has_dictionary_page and chunk.dictionary_page_offset is not None:
            first = min(first, chunk.dictionary_page_offset)
        place, end, largest, values = first, first + chunk.total_compressed_size, 0, 0
        while place < end:
            size, compressed, n_values, head = self._head(place)
            largest, values = max(largest, size), values + n_values
            if size > LARGEST_PAGE:
                self._refuse(f"a page of {size:,} bytes, at most {LARGEST_PAGE:,} are read")
            if values > self._most_values:
                self._refuse(f"{values:,} values, at most {self._most_values:,} fit in a file of its size")
            place += head + compressed
        return largest

    def _head(self, place: int) -> tuple[int, int, int, int]:
        """Return a page's unpacked and packed size, number of values, and header size."""
        try:
            fields, length = self._fields(place)
            counts = (fields.get(kind) for kind in (5, 7, 8))
            n_values = sum(count.get(1, 0) for count in counts if isinstance(count, dict))
            size, compressed = fields[2], fields[3]
            if min(size, compressed, n_values) < 0:
                raise ValueError("a number below 0")
        except (IndexError, KeyError, TypeError, ValueError, OSError) as error:
            raise CorpusError(f"{self._path} cannot be read as parquet: a page is damaged", "fetch it again") from error
        return size, compressed, n_values, length

    def _fields(self, place: int, n_bytes: int = _USUAL_HEAD) -> tuple[dict[int, Any], int]:
        self._file.seek(place)
        head = _CompactThrift(self._file.read(n_bytes))
        try:
            return head.struct(), head.place
        except IndexError:
            if n_bytes == _LARGEST_HEAD:
                raise
        return self._fields(place, _LARGEST_HEAD)

    def _refuse(self, claim: str) -> None:
        raise CorpusError(f"{self._path} claims {claim}", "write it again with pages of ordinary size")


class _CompactThrift:
    """Parser of Thrift's compact protocol that keeps integers and structs only."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.place = 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """Parse a struct into fields by number; IndexError or ValueError if invalid."""
        fields, number = {}, 0
        while kind := self._byte():
            number = number + (kind >> 4) if kind >> 4 else self._integer()
            fields[number] = self._value(kind & 15, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:  # noqa: ANN401 - an integer, a struct, or None
        if depth > _DEEPEST:
            raise ValueError("nested values")
        if kind in (4, 5, 6):
            return self._integer()
        if kind == 12:
            return self.struct(depth + 1)
        if kind in (9, 10):
            size = self._byte()
            for _ in range(size >> 4 if size >> 4 < 15 else self._varint()):
                self._value(3 if size & 15 in (1, 2) else size & 15, depth + 1)
        elif kind in (3, 7, 8):
            self._skip({3: 1, 7: 8}.get(kind) or self._varint())
        elif kind not in (1, 2):
            raise ValueError(f"a value of kind {kind}")
        return None

    def _byte(self) -> int:
        self.place += 1
        return self._data[self.place - 1]

    def _skip(self, n: int) -> None:
        self.place += n
        if self.place > len(self._data):
            raise IndexError("it ends inside a value")

    def _varint(self) -> int:
        value, shift = 0, 0
        while shift < 64:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
        raise ValueError("a number of more than 64 bits")

    def _integer(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
