"""Tokens and rules as text that is safe to show, and as small HTML fragments for notebooks.

Knows nothing of the package: strings and numbers in, strings out. A token may hold anything (control characters that
would drive a terminal, marks that reverse the reading direction, half a character), so nothing is shown before
`visible` has made it harmless and visible. The fragments carry inline styles with transparent colours, so they look
right in light and dark notebooks.
"""

from __future__ import annotations

import html
import math
import unicodedata
from collections.abc import Iterable, Sequence

TRUE_RGB = (230, 126, 34)
"""Orange: what the feature does."""
EXPECTED_RGB = (52, 132, 214)
"""Blue: what an explanation expects. The two stay apart for the colour-blind."""

_NAMED = {"\n": "↵", "\t": "⇥"}
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that print nothing of their own: controls, formats, halves, private and line separators."""


def visible(text: str) -> str:
    r"""Return text in which every character can be seen and none does anything.

    Newline and tab become ↵ and ⇥, other ASCII controls their Unicode pictures (ESC is ␛), further invisible
    characters their number.

    >>> visible(" a\n\x1b[31m")
    ' a↵␛[31m'
    >>> visible("\u202e")
    '⟨U+202E⟩'
    """
    return text if text.isascii() and text.isprintable() else "".join(map(_visible_character, text))


def visible_token(token: str) -> str:
    """Return a token as `visible` text; one of only spaces, which nobody would see, as ␣ for each.

    >>> visible_token("  ")
    '␣␣'
    """
    return "␣" * len(token) if token and not token.strip(" ") else visible(token) or "∅"


def _visible_character(character: str) -> str:
    code = ord(character)
    if character in _NAMED:
        return _NAMED[character]
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    if unicodedata.category(character) in _HIDDEN:
        return f"⟨U+{code:04X}⟩"
    return character


def tokens_html(tokens: Sequence[str], truth: Sequence[float], expected: Sequence[float] | None = None) -> str:
    """Return a line of tokens, the upper half tinted by the true level and the lower by the expected one.

    Args:
        tokens: the tokens of one window.
        truth: true level per token, 0..5.
        expected: expected level per token, 0..5; None tints the whole token by its true level.
    """
    others = expected if expected is not None else [None] * len(tokens)
    spans = (_token_html(*parts) for parts in zip(tokens, truth, others, strict=True))
    style = "font-family:monospace;line-height:1.9;white-space:pre-wrap;overflow-wrap:anywhere;margin:0.3em 0"
    return f'<div style="{style}">{"".join(spans)}</div>'


def _token_html(token: str, truth: float, expected: float | None) -> str:
    shown = html.escape(visible_token(token))
    upper = _tint(TRUE_RGB, truth)
    if expected is None:
        background, numbers = upper, f"true {truth:.1f}"
    else:
        background = f"linear-gradient({upper} 50%,{_tint(EXPECTED_RGB, expected)} 50%)"
        numbers = f"true {truth:.1f}, expected {expected:.1f}"
    if truth < 0.05 and (expected or 0.0) < 0.05:
        return f"<span>{shown}</span>"
    return f'<span style="background:{background};border-radius:2px" title="{numbers}">{shown}</span>'


def _tint(rgb: tuple[int, int, int], level: float) -> str:
    share = min(max(level, 0.0), 5.0) / 5 if math.isfinite(level) else 0.0
    return f"rgba({rgb[0]},{rgb[1]},{rgb[2]},{0.6 * share:.2f})"


def rules_html(rules: Iterable[tuple[int, str]]) -> str:
    """Return (strength 0..5, words) pairs as a list, each with its strength as filled dots and as a number."""
    items = (
        f'<li><span aria-hidden="true">{"●" * strength}{"○" * (5 - strength)}</span> '
        f"<b>{strength}</b> {html.escape(visible(words))}</li>"
        for strength, words in rules
    )
    return f'<ul style="list-style:none;padding:0;margin:0.3em 0">{"".join(items)}</ul>'


def section_html(title: str, *fragments: str, note: str = "") -> str:
    """Return a titled block around HTML fragments; title and note are escaped."""
    small = f'<div style="opacity:0.75;font-size:0.9em">{html.escape(visible(note))}</div>' if note else ""
    return f"<div><div><b>{html.escape(visible(title))}</b></div>{small}{''.join(fragments)}</div>"
