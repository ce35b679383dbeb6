"""Texts made to break out of a page, in every place a text can stand: opened, pointed at, searched, sorted."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from featureinterp.experiment.result import FeatureKey, RunSummary
from featureinterp.report.pages.compared_run import ComparedRun
from featureinterp.report.pages.experiment_pages import write_experiment
from featureinterp.report.pages.run_pages import write_report
from tests.report.experiments import HOSTILE, explained, failed, write_run
from tests.report.features import HOSTILE_TOKENS, hostile, without_explanation

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

WORDS = "".join(HOSTILE_TOKENS)
ELEMENTS = "[...new Set([...document.querySelectorAll('*')].map(element => element.localName))]"
NEVER = {"img", "iframe", "object", "embed", "style", "base", "font"}
"""Elements that no run's page has, and that a text would have made."""
ACTIVE = """[...document.querySelectorAll('*')].flatMap(element => [...element.attributes]
    .filter(({name, value}) => /^on|^style$|^srcdoc$/.test(name) || /^\\s*javascript:/i.test(value) && name !== 'value')
    .map(({name, value}) => `${element.localName} ${name}=${value.slice(0, 80)}`))"""


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first page of a run in which every text is hostile: names, settings, words, reasons, hooks, tokens."""
    results = [
        hostile(),
        replace(hostile(), key=FeatureKey("javascript:alert(1)", 5, 99)),
        replace(hostile(), key=FeatureKey("../../index.html?<b>", 5, 99)),
        replace(without_explanation(6, 1, "dead", WORDS), key=FeatureKey("data:text/html,<script>alert(1)", 6, 1)),
    ]
    summary = RunSummary(
        WORDS, WORDS, WORDS, WORDS, {WORDS: WORDS, "javascript:alert(1)": "x"}, False, {"waiting": 1}, WORDS
    )
    beside = ComparedRun(WORDS, {result.key: result for result in results}.get)
    return write_report(results, summary, tmp_path_factory.mktemp("hostile"), beside)


def assert_inert(page: "Page", scripts: int) -> None:
    """Everything that a text could have added is absent; dialogs, messages and requests fail by the fixture."""
    assert not NEVER & set(page.evaluate(ELEMENTS))
    assert page.evaluate(ACTIVE) == []
    assert page.evaluate("document.scripts.length") == scripts
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert "{{7*7}}" in (page.text_content("body") or "")


@pytest.mark.parametrize("width", [400, 1600])
def test_nothing_comes_out_of_the_list(page: "Page", index: Path, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(index.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    for box in page.locator(".columns input").all():
        box.check()
    for button in page.locator("#features th button").all():
        button.click()
    assert_inert(page, scripts=2)
    assert page.locator("#features tbody tr").count() == 4
    assert page.eval_on_selector_all("#features a", "all => all.map(a => new URL(a.href).protocol)") == ["file:"] * 4


def test_nothing_comes_out_of_a_search_or_an_address(page: "Page", index: Path) -> None:
    page.goto(index.as_uri() + "#q=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E&layer=javascript%3Aalert(1)&sort=%3Cb%3E")
    assert page.input_value("input[name=q]") == "<img src=x onerror=alert(1)>"
    assert page.locator("#features tbody tr").count() == 1
    assert_inert(page, scripts=2)
    page.goto("about:blank")
    page.goto(index.as_uri() + "#columns=__proto__+toString+%3Cb%3E&q=%00%ff&min=%22%3E")
    assert_inert(page, scripts=2)
    page.select_option("select[name=layer]", "javascript:alert(1)")
    page.fill("input[name=q]", "")
    assert page.locator("#features tbody tr").count() == 1


@pytest.mark.parametrize("width", [400, 1600])
def test_nothing_comes_out_of_a_feature(page: "Page", index: Path, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    paths = sorted((index.parent / "features").glob("*.html"))
    assert len(paths) == 4
    for path in paths:
        page.goto(path.as_uri())
        page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
        assert_inert(page, scripts=1)
    page.goto(paths[0].as_uri())
    for token in page.locator("#breaks .sentence").nth(1).locator("i").all()[:40]:
        token.dispatch_event("click")
    assert_inert(page, scripts=1)


def test_nothing_comes_out_of_an_experiment(page: "Page", tmp_path: Path) -> None:
    unlucky = replace(explained(0, 2, 0.5), key=FeatureKey("javascript:alert(1)", 0, 2), explainer=HOSTILE)
    results = [explained(0, 1, 0.5), replace(failed(0, 3), reason=HOSTILE), unlucky]
    folder = write_run(tmp_path, ("complementary", HOSTILE, HOSTILE), results, {"explainer": HOSTILE})
    opened = write_experiment(folder, tmp_path / "out")
    page.goto(opened.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    assert page.evaluate("document.scripts.length") == 0
    assert page.evaluate(ACTIVE) == []
    assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert "<script>alert(1)</script>" in (page.text_content("body") or "")


def test_these_tests_would_see_what_came_out(page: "Page", index: Path) -> None:
    page.goto(index.as_uri())
    added = "<a href='javascript:alert(1)'>x</a><font>y</font>"
    page.evaluate("html => document.body.insertAdjacentHTML('beforeend', html)", added)
    assert page.evaluate(ACTIVE) == ["a href=javascript:alert(1)"]
    assert NEVER & set(page.evaluate(ELEMENTS)) == {"font"}
