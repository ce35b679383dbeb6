"""Reading of other tools' JSON files, with exact error positions."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from featureinterp.codec import decode_json
from featureinterp.errors import DataFolderError
from featureinterp.files import read_file

Noun = TypeVar("Noun")


def read_json(path: Path, wanted: type[Noun]) -> Noun:
    """Read a file of JSON as what is wanted of it.

    Raises:
        DataFolderError: if it cannot be read, is no JSON, or a field is missing or wrong (with its path).
    """
    try:
        encoded = read_file(path)
    except FileNotFoundError as error:
        raise DataFolderError(f"there is no file {path}", "name a file that is there") from error
    return decode_json(encoded, wanted, str(path))
