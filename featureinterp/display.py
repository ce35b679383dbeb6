"""Tokens and rules as text that is safe to show, and as small HTML fragments for notebooks.

Independent of the package: strings and numbers in, strings out. A token may hold anything (control characters that
would control a terminal, marks that reverse the reading direction, a lone surrogate), so nothing is shown before
`visible` has made it harmless and visible. The fragments have inline styles with transparent colours, so they look
right in light and dark notebooks, and errors are underlined, so that they are visible without colour.
"""

from __future__ import annotations

import html
import logging
import math
import unicodedata
import warnings
from collections.abc import Iterable, Mapping, Sequence

TRUE_RGB = (230, 126, 34)
"""Orange: true activations."""
EXPECTED_RGB = (52, 132, 214)
"""Blue: expected activations. The two are distinguishable for the colour-blind."""
ERRORS = "above: true, below: expected; dashes: missed, waves: false alarm"
"""Legend of a line of tokens."""

_OPACITY = 0.45
"""Opacity of the strongest tint: text on it keeps a contrast of 4.5 in light and dark notebooks."""
_UNDERLINES = {"missed": "dashed 1.5px", "false alarm": "wavy 1px"}

_NAMED = {"\n": "↵", "\t": "⇥"}
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories without a visible form: controls, formats, surrogates, private and line separators."""


def visible(text: str) -> str:
    r"""Return text with invisible and control characters escaped.

    Newline and tab become ↵ and ⇥, other ASCII controls their Unicode pictures (ESC is ␛), further invisible
    characters their code point.

    >>> visible(" a\n\x1b[31m")
    ' a↵␛[31m'
    >>> visible("\u202e")
    '⟨U+202E⟩'
    """
    return text if text.isascii() and text.isprintable() else "".join(map(_visible_character, text))


def visible_lines(text: str) -> str:
    r"""Return `visible` text with line breaks and tabs kept.

    >>> visible_lines("a\n\tb\x1b[2J")
    'a\n\tb␛[2J'
    """
    return "\n".join("\t".join(map(visible, line.split("\t"))) for line in text.split("\n"))


def is_hidden(character: str) -> bool:
    """Return whether a character has no visible form: a control, a format, a lone surrogate, a line separator."""
    return unicodedata.category(character) in _HIDDEN


def make_log_lines_visible() -> None:
    """Escape invisible characters in all log lines and warnings."""
    logging.setLogRecordFactory(_VisibleRecord)
    warnings.formatwarning = _visible_warning


class _VisibleRecord(logging.LogRecord):
    def getMessage(self) -> str:
        return visible_lines(super().getMessage())


_format_warning = warnings.formatwarning


def _visible_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    return visible_lines(_format_warning(message, category, filename, lineno, line))


def visible_token(token: str) -> str:
    """Return a token as `visible` text; spaces of a blank token become ␣.

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
    if is_hidden(character):
        return f"⟨U+{code:04X}⟩"
    return character


def tokens_html(
    tokens: Sequence[str],
    truth: Sequence[float],
    expected: Sequence[float] | None = None,
    claimed: Sequence[bool] | None = None,
) -> str:
    """Return a line of tokens, the upper half tinted by the true level and the lower by the expected one.

    Args:
        tokens: the tokens of one window.
        truth: true level per token, 0..5.
        expected: expected level per token, 0..5; None tints the whole token by its true level.
        claimed: whether each token is claimed, which decides misses and false alarms; None marks neither.
    """
    others = expected if expected is not None else [None] * len(tokens)
    claims = claimed if claimed is not None else [None] * len(tokens)
    spans = (_token_html(*parts) for parts in zip(tokens, truth, others, claims, strict=True))
    style = "font-family:monospace;line-height:1.9;white-space:pre-wrap;overflow-wrap:anywhere;margin:0.3em 0"
    return f'<div style="{style}">{"".join(spans)}</div>'


def _token_html(token: str, truth: float, expected: float | None, claimed: bool | None) -> str:
    shown = html.escape(visible_token(token))
    upper, fault = _tint(TRUE_RGB, truth), "" if claimed is None else _fault(truth, claimed)
    if expected is None:
        background, numbers = upper, f"true {truth:.1f}"
    else:
        background = f"linear-gradient({upper} 50%,{_tint(EXPECTED_RGB, expected)} 50%)"
        numbers = f"true {truth:.1f}, expected {expected:.1f}"
    if truth < 0.05 and (expected or 0.0) < 0.05 and not fault:
        return f"<span>{shown}</span>"
    style = f"background:{background};border-radius:2px"
    if fault:
        style += f";text-decoration:underline {_UNDERLINES[fault]};text-underline-offset:0.2em"
        numbers = f"{fault}: {numbers}"
    return f'<span style="{style}" title="{numbers}">{shown}</span>'


def _fault(truth: float, claimed: bool) -> str:
    if truth > 0:
        return "" if claimed else "missed"
    return "false alarm" if claimed else ""


def _tint(rgb: tuple[int, int, int], level: float) -> str:
    share = min(max(level, 0.0), 5.0) / 5 if math.isfinite(level) else 0.0
    return f"rgba({rgb[0]},{rgb[1]},{rgb[2]},{_OPACITY * share:.3g})"


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
    small = f'<div style="font-size:0.9em">{_text(note)}</div>' if note else ""
    return f"<div><div><b>{_text(title)}</b></div>{small}{''.join(fragments)}</div>"


def folded_html(title: str, *fragments: str) -> str:
    """Return HTML fragments that open on a click on the title; empty without fragments."""
    if not fragments:
        return ""
    style = "margin:0.3em 0"
    return f'<details style="{style}"><summary>{_text(title)}</summary>{"".join(fragments)}</details>'


def table_html(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return rows of text as a table; the first cell of each names its row."""
    cell = "text-align:left;vertical-align:top;padding:0.1em 1em 0.1em 0;border:0;background:none"
    top = "".join(f'<th scope="col" style="{cell}">{_text(name)}</th>' for name in head)
    body = "".join(
        f'<tr style="background:none"><th scope="row" style="{cell};font-weight:normal">{_text(first)}</th>'
        + "".join(f'<td style="{cell}">{_text(value)}</td>' for value in values)
        + "</tr>"
        for first, *values in rows
    )
    style = "border-collapse:collapse;margin:0.3em 0;font-size:0.9em"
    return f'<table style="{style}"><thead><tr style="background:none">{top}</tr></thead><tbody>{body}</tbody></table>'


def tree_html(parents: Mapping[int, int | None], words: Mapping[int, tuple[str, str]], best: int | None = None) -> str:
    """Return a search tree as indented lines; the path to the best node is bold and marked, the best with a star.

    Args:
        parents: the parent of each node, None or unknown for a root.
        words: text of each node: a head, which is bold on the path, and the rest.
        best: the chosen node.
    """
    path = ancestry(parents, best)
    lines = []
    for node, depth in tree_order(parents):
        mark = "★" if node == best else "▸" if node in path else "·"
        head, rest = map(_text, words[node])
        told = f"<b>{mark} {head}</b>" if node in path else f"{mark} {head}"
        lines.append(f'<div style="padding-left:{1.2 * depth:.1f}em">{told}{rest}</div>')
    return f'<div style="margin:0.3em 0">{"".join(lines)}</div>'


def ancestry(parents: Mapping[int, int | None], node: int | None) -> set[int]:
    """Return a node of a tree and its ancestors; empty for None or an unknown node.

    >>> sorted(ancestry({0: None, 1: None, 2: 0, 3: 2}, 3))
    [0, 2, 3]
    """
    path: set[int] = set()
    while node is not None and node in parents and node not in path:
        path.add(node)
        node = parents[node]
    return path


def tree_order(parents: Mapping[int, int | None]) -> list[tuple[int, int]]:
    """Return the nodes of a tree with their depths in depth-first order, siblings by number.

    >>> tree_order({0: None, 1: None, 2: 0, 3: 7})
    [(0, 0), (2, 1), (1, 0), (3, 0)]
    """
    children: dict[int | None, list[int]] = {}
    for node in sorted(parents, reverse=True):
        parent = parents[node]
        children.setdefault(parent if parent in parents else None, []).append(node)
    order, waiting = [], [(node, 0) for node in children.get(None, [])]
    while waiting:
        node, depth = waiting.pop()
        order.append((node, depth))
        waiting += [(child, depth + 1) for child in children.get(node, [])]
    return order


def _text(text: str) -> str:
    return html.escape(visible(text))
