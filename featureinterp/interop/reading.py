"""JSON files that others wrote, read with errors that say what is wrong and where."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from featureinterp.codec import decode_json
from featureinterp.errors import DataFolderError

Noun = TypeVar("Noun")


def read_json(path: Path, wanted: type[Noun]) -> Noun:
    """Read a file of JSON as what is wanted of it.

    Raises:
        DataFolderError: if it cannot be read, is no JSON, or a field is missing or wrong (with its path).
    """
    try:
        encoded = path.read_bytes()
    except OSError as error:
        raise DataFolderError(
            f"{path} cannot be read: {error.strerror or error}", "name a file that is there"
        ) from error
    return decode_json(encoded, wanted, str(path))
