"""The Markdown that findings are written in, as HTML: headings, paragraphs, lists, tables, bold and code. Nothing else.

Every other character is text: no link, no image and no HTML comes out of it, whatever a name holds.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator, Sequence

from markupsafe import Markup, escape

from featureinterp.display import visible

_INLINE = re.compile(r"\\(?P<literal>[!-/:-@\[-`{-~])|\*\*(?P<bold>(?:\\.|[^*\\])+)\*\*|`(?P<code>[^`]+)`")
_CELL = re.compile(r"(?:\\.|[^|\\])*")


def markdown_html(text: str, top: int = 1) -> Markup:
    r"""Return Markdown as HTML.

    Args:
        text: what was written with `experiment.markdown`, or by hand in the same subset.
        top: level of the heading that `#` becomes, 1..6.

    >>> print(markdown_html("# a < b\n\n**1** of 2"))
    <h1>a &lt; b</h1>
    <p><b>1</b> of 2</p>
    """
    blocks = [block.splitlines() for block in re.split(r"\n\s*\n", text.strip()) if block.strip()]
    return Markup("\n").join(element for block in blocks for element in _block(block, top))


def inline_html(text: str) -> Markup:
    r"""Return one line of Markdown as HTML: bold, code, escaped characters and entities.

    >>> print(inline_html(r"a\*b &lt;c&gt; `d`"))
    a*b &lt;c&gt; <code>d</code>
    """
    parts, end = [], 0
    for found in _INLINE.finditer(text):
        parts += [_text(text[end : found.start()]), _INLINE_HTML[found.lastgroup or ""](found[found.lastgroup or 0])]
        end = found.end()
    return Markup("").join([*parts, _text(text[end:])])


def _text(text: str) -> Markup:
    return escape(visible(html.unescape(text)))


_INLINE_HTML: dict[str, Callable[[str], Markup]] = {
    "literal": _text,
    "bold": lambda inside: Markup("<b>{}</b>").format(inline_html(inside)),
    "code": lambda inside: Markup("<code>{}</code>").format(_text(inside)),
}


def _block(lines: Sequence[str], top: int) -> Iterator[Markup]:
    """Yield the elements of lines that no empty line parts."""
    if heading := re.match(r"(#+) +(.*)", lines[0]):
        level = min(top + len(heading[1]) - 1, 6)
        yield Markup("<h{0}>{1}</h{0}>").format(level, inline_html(heading[2]))
        if rest := lines[1:]:
            yield from _block(rest, top)
    elif all(line.startswith("|") for line in lines) and len(lines) > 1:
        yield _table(lines)
    elif lines[0].startswith("- "):
        yield Markup("<ul>\n{}\n</ul>").format(Markup("\n").join(_items(lines)))
    else:
        yield Markup("<p>{}</p>").format(inline_html(" ".join(line.strip() for line in lines)))


def _items(lines: Sequence[str]) -> Iterator[Markup]:
    items: list[str] = []
    for line in lines:
        if line.startswith("- "):
            items.append(line[2:])
        else:
            items[-1] += " " + line.strip()
    return (Markup("<li>{}</li>").format(inline_html(item)) for item in items)


def _table(lines: Sequence[str]) -> Markup:
    """Return a table; cells under `---:` are numbers."""
    head, rule, *body = [_cells(line) for line in lines]
    right = [mark.endswith(":") for mark in rule]
    names = Markup("").join(
        Markup('<th scope="col"{}>{}</th>').format(_number(r), inline_html(c))
        for r, c in zip(right, head, strict=False)
    )
    rows = Markup("\n").join(
        Markup("<tr>{}</tr>").format(
            Markup("").join(
                Markup("<td{}>{}</td>").format(_number(r), inline_html(c)) for r, c in zip(right, row, strict=False)
            )
        )
        for row in body
    )
    frame = Markup('<div class="scroll" tabindex="0" role="region" aria-label="{}"><table class="found">')
    return frame.format(" / ".join(_plain(cell) for cell in head)) + Markup(
        "<thead><tr>{}</tr></thead>\n<tbody>\n{}\n</tbody></table></div>"
    ).format(names, rows)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in _CELL.findall(line.strip().strip("|")) if cell]


def _number(is_number: bool) -> Markup:
    return Markup(' class="number"' if is_number else "")


def _plain(cell: str) -> str:
    return inline_html(cell).striptags()
