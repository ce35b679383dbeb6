"""A feature's page in a real browser: rules light up tokens, causes on demand, links open lists, code copies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from featureinterp.report.pages.run_pages import write_report
from tests.report.features import SUMMARY, explained

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

OUTLINE = "token => getComputedStyle(token).outlineStyle + ' ' + getComputedStyle(token).outlineWidth"
GROUND = "token => getComputedStyle(token).backgroundColor"


def lit(page: Page) -> set[str]:
    return set(page.eval_on_selector_all(".sentence i.lit", "tokens => tokens.map(token => token.textContent)"))


@pytest.fixture(scope="module")
def with_causes(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a page whose first test sentence says what causes the activation."""
    result = explained(0, 3, 0.9)
    good = result.test_sequences[0]
    record = replace(good.record, holistic_expressions=(2.0, 0.0, -1.0), max_holistic_expression=2.0)
    causing = replace(result, test_sequences=(replace(good, record=record), *result.test_sequences[1:]))
    out = tmp_path_factory.mktemp("causes")
    write_report([causing], SUMMARY, out)
    return (out / "features" / "0-3.html").as_uri()


def test_a_rule_lights_up_the_tokens_it_claims_wherever_it_stands(page: Page, report: Path) -> None:
    page.goto((report / "features" / "0-3.html").as_uri())
    assert lit(page) == set()
    page.hover(".verdict [data-rule='0']")
    assert lit(page) == {"raise", "rise"}
    assert page.text_content("#lit") == "4 tokens highlighted below, 2 of them in the worst sentences."
    assert page.eval_on_selector("#breaks .sentence i.lit", OUTLINE) == "solid 2px"
    page.hover("h1")
    assert lit(page) == set()
    page.focus("#rules [data-rule='0']")
    assert lit(page) == {"raise", "rise"}
    page.focus(".verdict [data-rule='1']")
    assert lit(page) == set()
    assert page.text_content("#lit") == "The rule claims no token (none expected above level 1)."


def test_a_rule_that_is_chosen_stays_lit_until_it_is_chosen_again(page: Page, report: Path) -> None:
    page.goto((report / "features" / "0-3.html").as_uri())
    page.focus(".verdict [data-rule='0']")
    page.keyboard.press("Enter")
    page.focus("a[rel=up]")
    assert lit(page) == {"raise", "rise"}
    assert page.locator("[data-rule='0'][aria-pressed=true]").count() == page.locator("[data-rule='0']").count() == 4
    page.focus("#breaks .chip >> nth=0")
    page.keyboard.press("Space")
    page.focus("a[rel=up]")
    assert lit(page) == set()
    assert page.locator("[data-rule][aria-pressed=true]").count() == 0


def test_a_tap_lights_up_a_rule(page: Page, report: Path) -> None:
    page.goto((report / "features" / "0-3.html").as_uri())
    page.locator("#breaks .chip").first.dispatch_event("click")
    assert lit(page) == {"raise", "rise"}


def test_what_causes_the_activation_is_shown_on_demand(page: Page, with_causes: str) -> None:
    page.goto(with_causes)
    token = "#breaks .sentences i.c5"
    plain = page.eval_on_selector(token, GROUND)
    assert not page.is_visible(".causes-legend")
    page.click("#breaks .causes-toggle")
    assert page.is_visible(".causes-legend")
    assert page.text_content(token) == "we"
    assert page.eval_on_selector(token, GROUND) != plain
    assert page.eval_on_selector("#breaks .sentences i.held", OUTLINE).startswith("dashed")
    assert page.locator(".causes-toggle[aria-pressed=true]").count() == 2
    page.click(token)
    assert page.text_content("#readout") == "we cause 5.0"
    page.keyboard.press("Escape")
    page.locator(".causes-toggle").last.click()
    assert not page.is_visible(".causes-legend")
    assert page.eval_on_selector(token, GROUND) == plain


def test_where_causes_were_not_measured_the_page_says_how_to_get_them(page: Page, report: Path) -> None:
    page.goto((report / "features" / "0-3.html").as_uri())
    assert page.locator(".causes-toggle").count() == 0
    assert "--write-holistic-acts" in (page.text_content("#breaks") or "")


def test_a_sentence_that_a_rule_alone_explains_is_one_link_away(page: Page, report: Path) -> None:
    page.goto((report / "features" / "0-3.html").as_uri())
    assert page.locator("#rules .links a").all_text_contents() == ["1"]
    assert not page.is_visible("#w1")
    page.click("#rules .links a")
    page.locator("#w1").wait_for()
    assert "raise" in (page.text_content("#w1") or "")
    page.reload()
    assert page.is_visible("#w1")


def test_code_is_copied_as_it_stands(page: Page, report: Path) -> None:
    page.goto((report / "features" / "0-3.html").as_uri())
    page.evaluate("navigator.clipboard.writeText = async (text) => { window.copied = text; }")
    assert page.locator(".copy").count() == 3
    for number in range(3):
        page.click(f".copy >> nth={number}")
        assert page.evaluate("window.copied") == page.locator(".code code").nth(number).text_content()
        page.locator(".copy", has_text="Copied").first.wait_for()


def test_the_histogram_and_the_output_tokens_are_drawn(page: Page, report: Path) -> None:
    page.goto((report / "features" / "0-3.html").as_uri())
    boxes = page.locator(".histogram rect").all()
    assert len(boxes) == 41
    heights = [(box.bounding_box() or {"height": 0})["height"] for box in (boxes[0], boxes[20], boxes[-1])]
    assert heights[0] > 1.9 * heights[1] > heights[2] >= 1
    counts = page.locator(".histogram .count").all_text_contents()
    assert counts == ["355", "255", "155", "55", "1"]
    tokens = page.locator(".outputs code").all_text_contents()
    assert (tokens[0], tokens[9], tokens[10]) == (" up0", " up9", " down0")
