"""Redaction of keys, tokens and passwords.

A server may repeat a key in many forms: escaped in JSON, in JSON inside JSON, in a URL, in a web page.
One pattern per secret matches all of these, character by character.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

MARK = "[key]"
"""Replacement of a secret."""

SHORTEST = 8
"""Minimum characters of a secret: shorter values are placeholders such as `EMPTY`, and may occur in answers."""

_NAMES = re.compile(r"(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD)$", re.IGNORECASE)
"""Names of settings whose values are secret."""
_IN_ADDRESS = re.compile(r"(?<=://)[^\s/'\"<>]{1,500}@")
_IN_QUERY = re.compile(r"([?&](?:[a-z]+[-_])?(?:api-?key|key|token|secret|password)=)[^\s&'\"<>]+", re.IGNORECASE)
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;"}
_ESCAPES = ("\\", "%", "&")

_noted: set[str] = set()


def note(settings: Mapping[str, str | None]) -> None:
    """Register the secrets among settings outside the environment, from a `.env`."""
    _noted.update(_secret_values(settings.items()))


def without_secrets(text: str) -> str:
    """Return a text without passwords in URLs and without the values of secret settings.

    >>> without_secrets("no route to http://me:pass@10.0.0.1:3128/?api_key=abc")
    'no route to http://[key]@10.0.0.1:3128/?api_key=[key]'
    """
    text = _IN_QUERY.sub(rf"\1{MARK}", _IN_ADDRESS.sub(f"{MARK}@", text))
    return cut_out(text, *_noted, *_secret_values(os.environ.items()))


def cut_out(text: str, *secrets: str) -> str:
    r"""Redact secrets in every escaping; those shorter than `SHORTEST` are kept.

    >>> cut_out(r'{"error": "sk-12\/34+56 and sk-12%2F34\u002b56"}', "sk-12/34+56")
    '{"error": "[key] and [key]"}'
    """
    escaped = any(each in text for each in _ESCAPES)
    for secret in secrets:
        if len(secret) >= SHORTEST:
            text = text.replace(secret, MARK)
            if escaped:
                text = _pattern(secret).sub(MARK, text)
    return text


def _secret_values(settings: Iterable[tuple[str, str | None]]) -> set[str]:
    return {value.strip() for name, value in settings if value and _NAMES.search(name) and len(value) >= SHORTEST}


@lru_cache(maxsize=64)
def _pattern(secret: str) -> re.Pattern[str]:
    return re.compile("".join(map(_forms, secret)))


def _forms(character: str) -> str:
    """Return a pattern of all forms of a character: itself, JSON escapes, percent-encoded, HTML entities."""
    code, entity = ord(character), re.escape(_ENTITIES.get(character, character))
    itself = rf"\\{{0,8}}(?:{re.escape(character)}|(?i:u{code:04x}))"
    return rf"(?:{itself}|(?i:%(?:25){{0,3}}{code:02x}|&#x0*{code:x};|&#0*{code};|{entity}))"
