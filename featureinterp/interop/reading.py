"""Reading of other tools' JSON files, with exact error positions."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from featureinterp.codec import decode_json
from featureinterp.errors import DataFolderError
from featureinterp.files import read_file

Noun = TypeVar("Noun")


def read_json(path: Path, wanted: type[Noun]) -> Noun:
    """Decode a JSON file into the given type.

    Raises:
        DataFolderError: if it cannot be read, is not JSON, or a field is missing or invalid (with its path).
    """
    try:
        encoded = read_file(path)
    except FileNotFoundError as error:
        raise DataFolderError(f"there is no file {path}", "use an existing file") from error
    return decode_json(encoded, wanted, str(path))
