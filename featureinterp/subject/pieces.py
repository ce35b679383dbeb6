"""Text of single vocabulary pieces.

A tokenizer's own `decode` drops or adds spaces at the edges of a text and replaces lone surrogates, so it
cannot show single tokens exactly; the vocabulary piece can. Four alphabets are in use: GPT-2's of bytes,
SentencePiece's with `▁` for a space, WordPiece's with `##` before a piece that continues a word, and the oldest
BPE's with `</w>` after a piece that ends one. The last two have no spaces, so a word's space is where `decode` puts it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from featureinterp.errors import InputError

_BYTE_PIECE = re.compile(r"<0x([0-9A-F]{2})>")
_CJK = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]")
"""Characters that WordPiece separates although there are no spaces between them."""

_NO_SPACE_BEFORE = frozenset(".,?!")
"""Characters without a space before them, as in the `decode` of WordPiece."""

_TRANSFORMER_LENS_EOS = "<|endoftext|>"


@cache
def _byte_of_character() -> dict[str, int]:
    """GPT-2's byte alphabet: printable bytes map to themselves, others to characters from U+0100 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


def byte_level_text(piece: str) -> str:
    r"""Decode a piece in GPT-2's byte alphabet; incomplete characters become bytes such as `\xe2`.

    >>> byte_level_text("Ġhello"), byte_level_text("âĢ")
    (' hello', '\\xe2\\x80')
    """
    alphabet = _byte_of_character()
    if any(character not in alphabet for character in piece):  # an added token, spelt as it is
        return piece
    return bytes(alphabet[character] for character in piece).decode("utf-8", errors="backslashreplace")


def sentencepiece_text(piece: str) -> str:
    r"""Decode a SentencePiece piece; an incomplete character becomes a byte such as `\xe2`.

    >>> sentencepiece_text("▁hello"), sentencepiece_text("<0xE2>")
    (' hello', '\\xe2')
    """
    if found := _BYTE_PIECE.fullmatch(piece):
        return bytes([int(found.group(1), 16)]).decode("utf-8", errors="backslashreplace")
    return piece.replace("▁", " ")


def wordpiece_text(piece: str) -> str:
    """Decode a WordPiece piece, with a space before a word.

    >>> wordpiece_text("walk"), wordpiece_text("##ing"), wordpiece_text(","), wordpiece_text("##")
    (' walk', 'ing', ',', ' ##')
    """
    if piece.startswith("##") and len(piece) > 2:
        return piece[2:]
    return piece if piece in _NO_SPACE_BEFORE or _CJK.match(piece) else f" {piece}"


def word_end_text(piece: str) -> str:
    """Decode a BPE piece with end-of-word marks, with a space after a word.

    >>> word_end_text("walk"), word_end_text("ing</w>")
    ('walk', 'ing ')
    """
    return piece.removesuffix("</w>") + " " * piece.endswith("</w>")


def continued_text(piece: str) -> str:
    """Decode a BPE piece with continuation marks, with a space after a word.

    >>> continued_text("walk@@"), continued_text("ing")
    ('walk', 'ing ')
    """
    return piece[:-2] if piece.endswith("@@") else f"{piece} "


_TEXT_BY_DECODER: dict[str, Callable[[str], str]] = {
    "ByteLevel": byte_level_text,
    "WordPiece": wordpiece_text,
    "BPEDecoder": word_end_text,
}
"""Decoders by the step in a fast tokenizer's decoder; other pieces are decoded as SentencePiece's."""

_PROBE = "Zxqvish tokenizers of words"
"""Words of several pieces and of one, to detect the marks of a tokenizer without a decoder."""

_TEXT_BY_MARK: dict[str, Callable[[str], str]] = {
    "</w>": word_end_text,
    "@@": continued_text,
    "Ġ": byte_level_text,
    " ##": wordpiece_text,
}


def token_texts(tokenizer: Any, ids: Iterable[int]) -> list[str]:  # noqa: ANN401 - of Hugging Face, imported elsewhere
    """Return the exact text of each token of a Hugging Face tokenizer; special tokens as spelled.

    Raises:
        InputError: if an id is not in the vocabulary.
    """
    numbers = [int(number) for number in ids]
    spelling = _spelling(tokenizer)
    special = frozenset(tokenizer.all_special_ids)
    pieces = _pieces(tokenizer, numbers)
    return [piece if number in special else spelling(piece) for number, piece in zip(numbers, pieces, strict=True)]


def begin_token_id(tokenizer: Any) -> int | None:  # noqa: ANN401 - of Hugging Face, imported elsewhere
    """Return the BOS id as in TransformerLens: BOS, else EOS, else `<|endoftext|>`.

    None if there is none. A vocabulary with an unknown token has its id for `<|endoftext|>`.
    """
    if tokenizer.bos_token_id is not None:
        return tokenizer.bos_token_id
    if tokenizer.eos_token_id is not None:
        return tokenizer.eos_token_id
    return tokenizer.convert_tokens_to_ids(_TRANSFORMER_LENS_EOS)


def _spelling(tokenizer: Any) -> Callable[[str], str]:
    """Return the decoder of the vocabulary's pieces."""
    if (backend := getattr(tokenizer, "backend_tokenizer", tokenizer)) is not tokenizer:
        decoder = repr(getattr(backend, "decoder", None))
        return next((text for name, text in _TEXT_BY_DECODER.items() if f"{name}(" in decoder), sentencepiece_text)
    probe = "".join(f" {piece}" for piece in tokenizer.tokenize(_PROBE))
    return next((text for mark, text in _TEXT_BY_MARK.items() if mark in probe), sentencepiece_text)


def _pieces(tokenizer: Any, numbers: list[int]) -> list[str]:  # noqa: ANN401 - of Hugging Face
    """Return the vocabulary piece of each id, for any tokenizer's behaviour on missing ids."""
    wrong = next((number for number in numbers if number < 0), None)
    try:
        pieces = tokenizer.convert_ids_to_tokens(numbers) if wrong is None else []
    except (IndexError, KeyError, OverflowError, ValueError):
        pieces, wrong = [], max(numbers)
    if wrong is None:
        wrong = next((number for number, piece in zip(numbers, pieces, strict=True) if piece is None), None)
    if wrong is not None:
        raise InputError(
            f"token id {wrong} is not in the tokenizer's vocabulary", "the tokens are another model's, or damaged"
        )
    return pieces
