"""JSON that others wrote, read with errors that say what is wrong and where."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import msgspec

from featureinterp.errors import DataFolderError

Noun = TypeVar("Noun")

_HINT = "it is damaged or of another kind"


def file_bytes(path: Path) -> bytes:
    """Return a file's content.

    Raises:
        DataFolderError: if it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataFolderError(
            f"{path} cannot be read: {error.strerror or error}", "name a file that is there"
        ) from error


def decode_json(encoded: bytes, wanted: type[Noun] | Any, where: str) -> Noun:  # noqa: ANN401 - or a union of types
    """Return JSON as an object of the wanted type.

    Args:
        encoded: the JSON.
        wanted: what msgspec decodes to.
        where: what is being read, for the error.

    Raises:
        DataFolderError: if it is no JSON, or a field is missing or wrong (with its path).
    """
    try:
        return msgspec.json.decode(encoded, type=wanted)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DataFolderError(f"{where} cannot be read: {error}", _HINT) from error
