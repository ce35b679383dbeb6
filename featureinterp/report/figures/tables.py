"""LaTeX tables with booktabs rules, in which every name is text and never a command."""

from __future__ import annotations

from collections.abc import Sequence

from featureinterp.display import visible

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "…": r"\ldots{}",
    "−": r"$-$",
    "–": "--",
    "²": r"$^2$",
    **{character: "\\" + character for character in "{}_%$#&"},
}
_LAST_LATIN = 0x17F
"""LaTeX sets letters up to here without further packages."""


def latex_escape(text: str) -> str:
    r"""Return text that LaTeX sets as it stands; a character that it has no letter for becomes a question mark.

    >>> print(latex_escape("50% of a_b costs $1"))
    50\% of a\_b costs \$1
    """
    return "".join(_SPECIAL.get(c, c if ord(c) <= _LAST_LATIN else "?") for c in visible(text))


def booktabs(head: Sequence[str], blocks: Sequence[Sequence[Sequence[str]]], columns: str, about: Sequence[str]) -> str:
    """Return a table for a document that uses the package booktabs.

    Args:
        head: names of the columns, as LaTeX.
        blocks: rows of cells, as LaTeX; a rule parts one block from the next.
        columns: how they are aligned, such as `llr`.
        about: lines put above the table as a comment.
    """
    lines = [f"% {visible(line)}" for line in (*about, r"needs \usepackage{booktabs}")]
    lines += [rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}", r"\toprule", _row(head), r"\midrule"]
    for place, block in enumerate(blocks):
        lines += [r"\midrule"] * (place > 0) + [_row(cells) for cells in block]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _row(cells: Sequence[str]) -> str:
    guard = "{}" if cells[0][:1] in ("[", "*") else ""  # after a row's end these would be read as its options
    return guard + " & ".join(cells) + r" \\"
