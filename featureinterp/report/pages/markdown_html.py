"""Markdown of findings as HTML: headings, lists, tables, bold and code.

The parser has no rule for links, images and HTML, so they remain text, whatever a name holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from featureinterp.display import visible

_PARSER = MarkdownIt("zero").enable(
    ["heading", "list", "table", "backticks", "emphasis", "entity", "escape", "newline"]  # by default none
)
_FRAME = Markup('<div class="scroll" tabindex="0" role="region" aria-label="{}">')


def markdown_html(text: str, top: int = 1) -> Markup:
    r"""Return Markdown as HTML.

    Args:
        text: Markdown from `analysis.markdown`, or written by hand.
        top: level of the heading that `#` becomes, 1..6.

    >>> print(markdown_html("# a < b\n\n**1** of 2"))
    <h1>a &lt; b</h1>
    <p><b>1</b> of 2</p>
    """
    parsed, shown = _PARSER.parse(text), []
    for child in (child for token in parsed for child in token.children or ()):
        _set_inline(child)
    for i, token in enumerate(parsed):
        if token.type.startswith("heading"):
            token.tag = f"h{min(top + int(token.tag[1:]) - 1, 6)}"
        elif token.type in ("th_open", "td_open"):
            column = {"scope": "col"} if token.tag == "th" else {}
            number = {"class": "number"} if token.attrGet("style") == "text-align:right" else {}
            token.attrs = {**column, **number}
        elif token.type == "table_open":
            token.attrs = {"class": "found"}
            shown.append(_html(_FRAME.format(_column_names(parsed[i:]))))
        shown.append(token)
        if token.type == "table_close":
            shown.append(_html(Markup("</div>\n")))
    return Markup(_PARSER.renderer.render(shown, _PARSER.options, {}).rstrip("\n"))


def _set_inline(token: Token) -> None:
    """Make the text of an inline element visible; emphasis other than `**` remains text."""
    if token.type in ("softbreak", "hardbreak"):
        token.type, token.content = "text", " "
    elif token.markup == "**":
        token.tag = "b"
    elif token.type not in ("text", "code_inline"):
        token.type, token.content = "text", token.markup
    else:
        token.content = visible(token.content)


def _column_names(table: Sequence[Token]) -> str:
    """Return the column names of a table as one label."""
    head = takewhile(lambda token: token.type != "thead_close", table)
    return " / ".join("".join(part.content for part in token.children) for token in head if token.children)


def _html(html: Markup) -> Token:
    return Token("html_block", "", 0, content=html)
