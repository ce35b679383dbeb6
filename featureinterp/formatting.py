"""Activations as levels 0..5 and as `token<TAB>level` lines."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from featureinterp.errors import ActivationError
from featureinterp.record import scale_to_levels


def discretise(values: Sequence[float], maximum: float) -> NDArray[np.int64]:
    """Return whole levels floor(5·value/maximum) clipped to 0..5, int64 [tokens].

    5 is the maximum itself; if the maximum is not positive, all levels are 0.

    Raises:
        ActivationError: if a value or the maximum is NaN or infinite.

    >>> discretise([0.0, 0.9, 2.0], maximum=2.0).tolist()
    [0, 2, 5]
    """
    if not (np.isfinite(maximum) and np.isfinite(np.asarray(values, dtype=np.float64)).all()):
        raise ActivationError("an activation is NaN or infinite", "check the model's and the SAE's weights and dtype")
    return np.floor(scale_to_levels(values, maximum)).astype(np.int64)


def escape(token: str) -> str:
    r"""Escape a token to one line of valid Unicode; reversible.

    A backslash escapes tabs, line breaks, other control characters, lone surrogates and itself.

    >>> escape(" a\t\n\\")
    ' a\\t\\n\\\\'
    """
    return token.translate(_ESCAPES)


def one_line(words: str) -> str:
    r"""Return a rule's words on one line of valid Unicode: without line breaks and lone surrogates.

    >>> one_line("'a'\nor \ud83d")
    "'a' or \\ud83d"
    """
    return " ".join(words.splitlines()).encode("utf-8", "backslashreplace").decode()


def format_record(tokens: Sequence[str], levels: Sequence[int]) -> str:
    """Return tokens one per line as `token<TAB>level`, with escaped line breaks."""
    return "\n".join(f"{escape(token)}\t{level}" for token, level in zip(tokens, levels, strict=True))


class _Escapes(dict[int, str]):
    """Replacements of characters for `str.translate`."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        breaks = unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        self[code] = character.encode("unicode_escape").decode() if breaks or character == "\\" else character
        return self[code]


_ESCAPES = _Escapes()
