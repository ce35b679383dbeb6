"""Readers of the formats of packaged texts: each returns a file's paragraphs, in plain text."""

from __future__ import annotations

import gzip
import json
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path

_BLOCKS = frozenset(
    ("p", "div", "li", "dt", "dd", "h1", "h2", "h3", "h4", "h5", "h6", "tr", "blockquote", "pre", "section")
)
_LEFT_OUT = frozenset(("script", "style", "nav", "head", "table", "pre"))
_TAGS_OF_DICTIONARIES = re.compile(r"\s*\[(?:1913 Webster|Webster 1913[^\]]*|PJC|WordNet[^\]]*|syn:[^\]]*)\]|[{}]")
_WIDE_CODE = re.compile(r"[A-Z]<<+\s+(.*?)\s+>>+", re.DOTALL)
_CODE = re.compile(r"([A-Z])<((?:[^<>]|(?<=[-=])>)*)>")
_SPACES = re.compile(r"\s+")


def _one_line(text: str) -> str:
    return _SPACES.sub(" ", text).strip()


class _HtmlParagraphs(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.paragraphs: list[str] = []
        self._pieces: list[str] = []
        self._left_out = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        self._left_out += tag in _LEFT_OUT
        self._end_paragraph(tag)

    def handle_endtag(self, tag: str) -> None:
        self._end_paragraph(tag)
        self._left_out = max(self._left_out - (tag in _LEFT_OUT), 0)

    def handle_data(self, data: str) -> None:
        if not self._left_out:
            self._pieces.append(data.replace("¶", ""))  # links to headings

    def _end_paragraph(self, tag: str) -> None:
        if tag in _BLOCKS or tag in _LEFT_OUT:
            self.paragraphs.append(_one_line("".join(self._pieces)))
            self._pieces.clear()


def html(data: bytes) -> list[str]:
    """Read a page; tables and preformatted parts are left out."""
    parser = _HtmlParagraphs()
    parser.feed(data.decode("utf-8", errors="replace"))
    parser.close()
    return parser.paragraphs


def plain(data: bytes) -> list[str]:
    """Read a text whose paragraphs are divided by empty lines; the wrapping of lines is removed."""
    return [_one_line(part) for part in re.split(r"\n\s*\n", data.decode("utf-8", errors="replace").replace("\r", ""))]


def lines(data: bytes) -> list[str]:
    """Read a text whose paragraphs are divided by empty lines and keep their lines (poems, plays)."""
    text = data.decode("utf-8", errors="replace").replace("\r", "")
    return [part.strip("\n") for part in re.split(r"\n\s*\n", text)]


def fortunes(data: bytes) -> list[str]:
    """Read a file of quotations, divided by lines with a percent sign."""
    return [part.strip() for part in data.decode("utf-8", errors="replace").replace("\t", " ").split("\n%\n")]


def dictionary(data: bytes) -> list[str]:
    """Read the articles of a dictd dictionary: a line that is not indented begins one."""
    text = gzip.decompress(data).decode("utf-8", errors="replace")
    articles = re.split(r"\n(?=\S)", text)
    return [_one_line(_TAGS_OF_DICTIONARIES.sub("", article)) for article in articles]


def pod(data: bytes) -> list[str]:
    """Read Perl's documentation: its prose, without verbatim parts and commands."""
    text = data.decode("utf-8", errors="replace").replace("E<gt>", ">").replace("E<lt>", "<")
    parts = text.split("\n\n")
    prose = (part for part in parts if part and not part.startswith((" ", "\t", "=", "\n")))
    return [_one_line(_CODE.sub(r"\2", _WIDE_CODE.sub(r"\1", part))) for part in prose]


def speeches(data: bytes) -> list[str]:
    """Read the JSON list of parties with their speeches."""
    return [
        _one_line(line) for party in json.loads(data) for speech in party["speeches"] for line in speech.split("\n")
    ]


def r_strings(data: bytes) -> list[str]:
    """Read the strings of the objects in an R database of lazily loaded data; empty strings end paragraphs.

    The database is a series of zlib streams, each after four bytes; in R's serialization a string is a word of flags
    with the type 9 in its low byte, its length, and its bytes.
    """
    paragraphs: list[str] = []
    for block in _zlib_streams(data):
        strings = (_string_at(block, found.start()) for found in re.finditer(rb"\x00\x04[\x00\x20]\x09", block))
        paragraphs += _joined(text for text in strings if text is not None)
    return paragraphs


def _zlib_streams(data: bytes) -> Iterator[bytes]:
    at = 0
    while at + 4 < len(data):
        stream = zlib.decompressobj()
        yield stream.decompress(data[at + 4 :])
        at = len(data) - len(stream.unused_data)


def _string_at(block: bytes, at: int) -> str | None:
    (length,) = struct.unpack(">i", block[at + 4 : at + 8])
    text = block[at + 8 : at + 8 + length]
    return text.decode("utf-8", errors="replace") if 0 <= length < 1000 and text.isascii() else None


def _joined(texts: Iterable[str]) -> Iterator[str]:
    """Join the lines of each paragraph."""
    pieces: list[str] = []
    for text in [*texts, ""]:
        if text:
            pieces.append(text)
        elif pieces:
            yield _one_line(" ".join(pieces))
            pieces = []


def paragraphs(path: Path, reader: Callable[[bytes], list[str]]) -> list[str]:
    """Return the paragraphs of a file that are not empty."""
    return [text for text in reader(path.read_bytes()) if text.strip()]
