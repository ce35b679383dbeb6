"""Where an export goes: a folder that is there whole or not at all, with names that no text can turn into paths."""

from __future__ import annotations

import gzip
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from featureinterp.codec import json_safe
from featureinterp.errors import InputError, StorageError

_LONGEST_NAME = 80


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Give a temporary folder beside `out` to write to; it becomes `out` when the block ends well.

    A killed process can leave the temporary folder behind (`.name.pid.tmp`), never half of `out`.

    Raises:
        InputError: if `out` is there already and not an empty folder.
        StorageError: if writing fails; nothing is left then.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is there already", "name another folder, or delete it first")
    whole = out.resolve()
    temporary = whole.with_name(f".{whole.name}.{os.getpid()}.tmp")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        temporary.replace(whole)
    except OSError as error:
        raise StorageError(
            f"{out} could not be written: {error.strerror or error}", "make room or choose another folder"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def plain_name(text: str, otherwise: str) -> str:
    """Return text as a name for a file or a web address: letters of ASCII, digits, `.`, `_` and `-` only.

    Args:
        text: what is named.
        otherwise: the name where nothing of the text can stay.

    >>> plain_name("../../etc/<passwd>", "run")
    'etc-passwd'
    """
    return re.sub(r"[^A-Za-z0-9._]+", "-", text)[:_LONGEST_NAME].strip(".-") or otherwise


def json_line(row: Mapping[str, object]) -> bytes:
    """Return a row as one line of JSON; half characters become U+FFFD, numbers that JSON cannot say null."""
    return msgspec.json.encode(json_safe(row)) + b"\n"


def gzip_lines(rows: Iterable[Mapping[str, object]]) -> bytes:
    """Return rows as gzipped JSON lines, the same bytes whenever they are written."""
    return gzip.compress(b"".join(map(json_line, rows)), compresslevel=6, mtime=0)
