"""Texts of windows: token strings and their sentence."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

TokenStrings = Callable[[Sequence[int]], Sequence[str]]
"""Function from token ids to their texts."""


def texts_of(tokens: NDArray[np.int32], token_strings: TokenStrings) -> tuple[tuple[str, ...], ...]:
    """Return the text of each token of [windows, T]."""
    distinct, where = np.unique(tokens, return_inverse=True)
    strings = np.array(token_strings(distinct.tolist()), dtype=object)
    return tuple(tuple(row) for row in strings[where.reshape(tokens.shape)])


_PARTS_OF_CHARACTERS = re.compile(r"(?:\\x[89a-f][0-9a-f])+")


def sentence_of(tokens: Sequence[str]) -> str:
    r"""Return the text of a window; byte tokens are joined to characters.

    Only for text beyond ASCII: in other text `\xe2` is those four characters.

    >>> sentence_of(("don", "\\xe2\\x80", "\\x99", "t \\xe8"))
    'don’t �'
    """
    return _PARTS_OF_CHARACTERS.sub(_whole, "".join(tokens))


def _whole(found: re.Match[str]) -> str:
    return bytes.fromhex(found[0].replace("\\x", "")).decode(errors="replace")
