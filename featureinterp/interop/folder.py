"""What an export writes: names that no text can turn into paths, and lines of JSON."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Mapping

import msgspec

from featureinterp.codec import json_safe

_LONGEST_NAME = 80


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
