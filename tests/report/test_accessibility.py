"""Every kind of page for everybody: axe-core, the keyboard, narrow and wide screens, calm, and paper."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

OPEN_ALL = "document.querySelectorAll('details').forEach(details => { details.open = true; })"
CAN_BE_REACHED = """[...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex="0"]')]
    .filter(element => element.checkVisibility() && !element.disabled)"""
WHERE = """() => {
    const all = REACHED;
    const at = all.indexOf(document.activeElement);
    return [at, all.length, getComputedStyle(document.activeElement).outlineStyle];
}""".replace("REACHED", CAN_BE_REACHED)
SHIFTS = """
globalThis.shifted = 0;
new PerformanceObserver(list => {
    for (const shift of list.getEntries()) globalThis.shifted += shift.value;
}).observe({ type: 'layout-shift', buffered: true });
"""


def faults(page: "Page", rules: list[str] | None = None) -> list[str]:
    """Return what axe-core calls serious or critical, each with the elements it is about."""
    from axe_playwright_python.sync_playwright import Axe

    # preload would fetch style sheets, which the pages forbid
    options = {"resultTypes": ["violations"], "preload": False} | ({"runOnly": rules} if rules else {})
    found = Axe().run(page, options=options).response["violations"]
    return [
        f"{fault['id']}: {[node['html'][:200] for node in fault['nodes'][:3]]}"
        for fault in found
        if fault["impact"] in ("serious", "critical")
    ]


def test_axe_finds_no_serious_fault(page: "Page", pages: dict[str, Path]) -> None:
    for name, path in pages.items():
        page.goto(path.as_uri())
        page.evaluate(OPEN_ALL)
        assert faults(page) == [], name


@pytest.mark.parametrize("width", [400, 1600])
def test_axe_finds_no_text_without_contrast_in_the_dark(page: "Page", pages: dict[str, Path], width: int) -> None:
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": width, "height": 900})
    for name, path in pages.items():
        page.goto(path.as_uri())
        page.evaluate(OPEN_ALL)
        assert faults(page, ["color-contrast"]) == [], name


def test_axe_would_find_one(browser: "Browser", pages: dict[str, Path]) -> None:
    page = browser.new_page()
    page.goto(pages["index"].as_uri())
    page.evaluate(
        "document.querySelector('input[name=q]').closest('label').replaceWith(document.createElement('input'))"
    )
    assert [fault.split(":")[0] for fault in faults(page)] == ["label"]
    page.close()


@pytest.mark.parametrize("name", ["index", "best", "dead", "beside", "experiment"])
def test_the_keyboard_reaches_everything_and_shows_where_it_is(page: "Page", pages: dict[str, Path], name: str) -> None:
    page.goto(pages[name].as_uri())
    page.evaluate(OPEN_ALL)
    reached: set[int] = set()
    total = page.evaluate(WHERE)[1]
    for _ in range(total + 5):
        page.keyboard.press("Tab")
        at, _, outline = page.evaluate(WHERE)
        if at >= 0:
            assert outline != "none", page.evaluate("document.activeElement.outerHTML")
            reached.add(at)
    assert len(reached) == total


def test_headings_are_in_order_on_every_page(page: "Page", pages: dict[str, Path]) -> None:
    for name, path in pages.items():
        page.goto(path.as_uri())
        levels = page.eval_on_selector_all("h1, h2, h3, h4", "all => all.map(heading => Number(heading.tagName[1]))")
        assert levels.count(1) == 1, name
        assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False)), (name, levels)
        assert page.evaluate("document.documentElement.lang") == "en"


@pytest.mark.parametrize("width", [320, 400, 1200, 1600])
def test_no_page_is_wider_than_the_window(page: "Page", pages: dict[str, Path], width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    for name, path in pages.items():
        page.goto(path.as_uri())
        page.evaluate(OPEN_ALL)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name


@pytest.mark.parametrize("width", [400, 1200])
def test_the_table_is_not_cut_and_all_its_columns_can_be_scrolled_to(page: "Page", report: Path, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.goto((report / "index.html").as_uri())
    assert page.evaluate("list.scrollWidth - list.clientWidth") == 0
    assert page.evaluate("list.className") == ""
    page.click(".columns summary")
    for box in page.locator(".columns input").all():
        box.check()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("list.scrollWidth > list.clientWidth") == (page.evaluate("list.className") == "scroll")


@pytest.mark.parametrize("width", [400, 1600])
def test_nothing_moves_while_a_page_opens(browser: "Browser", pages: dict[str, Path], width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.add_init_script(SHIFTS)
    for name, path in pages.items():
        page.goto(path.as_uri())
        page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done, 50)))")
        assert page.evaluate("shifted") < 0.01, name
    page.evaluate("document.body.prepend(Object.assign(document.createElement('p'), {textContent: 'x '.repeat(4000)}))")
    # What is asserted above can be seen. Playwright's own waiting evaluates text in the page, which its policy forbids.
    page.evaluate(
        "() => new Promise(done => setTimeout(function look() { shifted > 0.01 ? done() : setTimeout(look) }))"
    )
    page.close()


def test_who_asks_for_calm_sees_no_transition(page: "Page", pages: dict[str, Path]) -> None:
    moving = """[...document.querySelectorAll('*')].filter(element => {
        const style = getComputedStyle(element);
        return style.transitionDuration !== '0s' || style.animationName !== 'none' || style.scrollBehavior !== 'auto';
    }).length"""
    for path in pages.values():
        page.emulate_media(reduced_motion="reduce")
        page.goto(path.as_uri())
        assert page.evaluate(moving) == 0
    page.emulate_media(reduced_motion="no-preference")
    assert page.evaluate(moving) == page.evaluate("document.querySelectorAll('a, button, summary').length")


def test_paper_is_white_and_has_no_controls(page: "Page", pages: dict[str, Path]) -> None:
    page.emulate_media(media="print", color_scheme="dark")
    for name, path in pages.items():
        page.goto(path.as_uri())
        colours = "(({backgroundColor, color}) => [backgroundColor, color])(getComputedStyle(document.documentElement))"
        assert page.evaluate(colours) == ["rgb(255, 255, 255)", "rgb(28, 30, 34)"], name
        assert page.locator("nav:visible, form:visible, .copy:visible, #more:visible").count() == 0, name
    page.goto(pages["index"].as_uri())
    assert page.pdf()[:5] == b"%PDF-"
