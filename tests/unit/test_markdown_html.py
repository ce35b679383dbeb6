"""Findings in Markdown become HTML in which nothing but the subset's own marks is markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from featureinterp.analysis.markdown import plain, table
from featureinterp.display import visible
from featureinterp.report.pages.markdown_html import markdown_html


class Read(HTMLParser):
    """The elements and the text of a piece of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.cells: list[str] = []
        self.text = ""
        self.feed(str(html))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.cells:
            self.cells[-1] += data.rstrip("\n")


@pytest.mark.parametrize(
    ("markdown", "html"),
    [
        ("# One\n\n### Three", "<h2>One</h2>\n<h4>Three</h4>"),
        ("two\nlines", "<p>two lines</p>"),
        ("- a **b**\n- c\n  d", "<ul>\n<li>a <b>b</b></li>\n<li>c d</li>\n</ul>"),
        ("a `x < y` b", "<p>a <code>x &lt; y</code> b</p>"),
        ("1 * 2 * 3 and 2**3", "<p>1 * 2 * 3 and 2**3</p>"),
        ("[a](http://x) ![b](c) <i>d</i>", "<p>[a](http://x) ![b](c) &lt;i&gt;d&lt;/i&gt;</p>"),
        ("", ""),
    ],
)
def test_each_mark(markdown: str, html: str) -> None:
    assert str(markdown_html(markdown, top=2)) == html


def test_tables_keep_names_with_bars_in_one_cell() -> None:
    read = Read(markdown_html(table(["a|b".replace("|", "\\|"), "n"], [[plain("x|y <b>"), "−1.5"], ["z", "2"]])))
    assert read.cells == ["a|b", "n", "x|y <b>", "−1.5", "z", "2"]
    assert read.tags.count("tr") == 3
    assert str(markdown_html(table(["a", "n"], [["z", "2"]]))).count('class="number"') == 2


names = st.text(st.characters(codec="utf-8"), max_size=40)


@given(names)
@example("_a_ __b__ *c*")
@example("- - a")
@example("12. a")
@example("+")
@example("# a")
@example("[a](javascript:b) <https://c.d> ![e](f)")
def test_any_name_comes_out_as_it_is_wherever_it_stands(name: str) -> None:
    in_line, in_item, in_cell = (
        Read(markdown_html(markdown))
        for markdown in (plain(name), f"- {plain(name)}\n- b", table(["a"], [[plain(name)]]))
    )
    assert set(in_line.tags) <= {"p"}
    assert in_item.tags == ["ul", "li", "li"]
    assert in_cell.tags == ["div", "table", "thead", "tr", "th", "tbody", "tr", "td"]
    shown = visible(name).strip()
    assert (in_line.text.strip(), in_cell.cells[-1].strip()) == (shown, shown)
    assert in_item.text.split() == [*shown.split(), "b"]


@given(st.text(max_size=200))
def test_no_text_makes_an_element_that_is_not_in_the_subset(text: str) -> None:
    html = str(markdown_html(text))
    allowed = {
        "p",
        "ul",
        "ol",
        "li",
        "b",
        "code",
        "div",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        *(f"h{n}" for n in range(1, 7)),
    }
    assert set(Read(html).tags) <= allowed
    assert not re.search(r"\bon\w+=|javascript:", re.sub(r">[^<]*<|^[^<]*<", "><", html))
