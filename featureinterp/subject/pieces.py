"""From vocabulary pieces to the text they stand for, one piece at a time.

A tokenizer's own `decode` drops or adds spaces at the edges of a text and replaces half characters, so it
cannot show single tokens faithfully; the vocabulary piece can.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Any

_BYTE_PIECE = re.compile(r"<0x([0-9A-F]{2})>")


@cache
def _byte_of_character() -> dict[str, int]:
    """GPT-2's alphabet: printable bytes stand for themselves, the others for characters from U+0100 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


def piece_text(piece: str, byte_level: bool) -> str:
    r"""Return the text of one vocabulary piece; bytes that are no whole character stand as `\xe2`.

    Args:
        piece: As the vocabulary spells it.
        byte_level: Whether it is spelt in GPT-2's byte alphabet, and not in SentencePiece's way.

    >>> piece_text("Ġhello", byte_level=True), piece_text("▁hello", byte_level=False)
    (' hello', ' hello')
    >>> piece_text("âĢ", byte_level=True), piece_text("<0xE2>", byte_level=False)
    ('\\xe2\\x80', '\\xe2')
    """
    if byte_level:
        alphabet = _byte_of_character()
        if any(character not in alphabet for character in piece):  # an added token, spelt as it is
            return piece
        return bytes(alphabet[character] for character in piece).decode("utf-8", errors="backslashreplace")
    if found := _BYTE_PIECE.fullmatch(piece):
        return bytes([int(found.group(1), 16)]).decode("utf-8", errors="backslashreplace")
    return piece.replace("▁", " ")


def token_texts(tokenizer: Any, ids: Iterable[int]) -> list[str]:  # noqa: ANN401 - of Hugging Face, imported elsewhere
    """Return the exact text that each token of a Hugging Face tokenizer stands for; special ones as spelt."""
    numbers = [int(number) for number in ids]
    byte_level = "ByteLevel" in repr(getattr(tokenizer, "backend_tokenizer", tokenizer).decoder)
    special = frozenset(tokenizer.all_special_ids)
    pieces = tokenizer.convert_ids_to_tokens(numbers)
    return [
        piece if number in special else piece_text(piece, byte_level)
        for number, piece in zip(numbers, pieces, strict=True)
    ]
