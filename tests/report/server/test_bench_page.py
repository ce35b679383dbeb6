"""The served pages in a browser: a sentence is tried, rules are edited, and nothing is blocked but what must be."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from featureinterp.experiment.result import FeatureResult
from tests.report.server.conftest import DEAD
from tests.report.server.running import Running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
SENTENCE = "if you == 'g' else <img src=x onerror=alert(1)>"


@pytest.fixture
def problems() -> list[str]:
    return []


@pytest.fixture
def page(browser: "Browser", problems: list[str]) -> "Iterator[Page]":
    """A page on which any console message or failed request is noted, and fails a test that does not expect it."""
    page = browser.new_page()
    page.on("console", lambda message: problems.append(f"console {message.type}: {message.text}"))
    page.on("pageerror", lambda error: problems.append(f"error: {error}"))
    page.on("dialog", lambda dialog: problems.append(f"dialog: {dialog.message}"))
    page.on("requestfailed", lambda r: None if r.failure == "net::ERR_ABORTED" else problems.append(f"failed: {r.url}"))
    yield page
    page.close()
    assert problems == []


def feature_page(result: FeatureResult) -> str:
    return f"/features/{result.key.layer}-{result.key.latent}.html"


def try_sentence(page: "Page", text: str) -> None:
    page.fill("#sentence", text)
    page.press("#sentence", "Control+Enter")
    page.wait_for_selector("#answer[aria-busy=false] .sentence, #answer[aria-busy=false] .failure", timeout=60_000)


def test_both_activations_of_a_typed_sentence(page: "Page", server: Running, results: list[FeatureResult]) -> None:
    result = results[0]
    wanted = server.post(
        "/api/activations", {"layer": result.key.layer, "latent": result.key.latent, "text": SENTENCE}
    ).json
    page.goto(server.url + feature_page(result))
    try_sentence(page, SENTENCE)
    assert page.text_content("#answer .sentence") == "".join(t["lead"] + t["shown"] for t in wanted["tokens"])
    page.click("#answer summary")
    rows = page.eval_on_selector_all(
        "#answer tbody tr", "rows => rows.map(row => [...row.children].map(cell => cell.textContent))"
    )
    assert [float(row[2]) for row in rows] == pytest.approx([t["level"] for t in wanted["tokens"]], abs=0.051)
    assert [float(row[3]) for row in rows] == pytest.approx([t["expected"] for t in wanted["tokens"]], abs=0.051)
    assert page.locator("#bench img").count() == 0


def test_the_score_follows_an_edited_rule(page: "Page", server: Running, results: list[FeatureResult]) -> None:
    result = results[-1]
    page.goto(server.url + feature_page(result))
    edited = page.locator(".tried tbody tr").first.locator(".edited")
    assert edited.text_content() == "same"
    height = page.evaluate("document.querySelector('.edit').offsetHeight")
    page.fill("#rule-list li:first-child textarea", "punctuation")
    page.locator(".tried .edited .value").first.wait_for(timeout=60_000)
    rules = page.eval_on_selector_all(
        "#rule-list li",
        "items => items.map(item => ({activates_on: item.querySelector('textarea').value,"
        " strength: Number(item.querySelector('select').value)}))",
    )
    address = {"layer": result.key.layer, "latent": result.key.latent}
    [main, *_] = server.post("/api/score", {"feature": address, "rules": rules}).json["sources"]
    assert float(edited.locator(".value").text_content() or "") == pytest.approx(main["edited"]["value"], abs=0.0051)
    assert "instead of" in (page.text_content("#rules-status") or "")
    assert page.evaluate("document.querySelector('.edit').offsetHeight") == height
    page.click("#add-rule")
    page.locator("#rules-status", has_text="A rule is empty").wait_for()
    page.click("#reset-rules")
    page.locator("#rules-status", has_text="updates as you type").wait_for()
    assert edited.text_content() == "same"


def test_edited_rules_decide_what_is_expected(page: "Page", server: Running, results: list[FeatureResult]) -> None:
    page.goto(server.url + feature_page(results[0]))
    for _ in range(page.locator("#rule-list li").count() - 1):
        page.click("#rule-list li:last-child button")
    page.fill("#rule-list textarea", "any token")
    page.select_option("#rule-list select", "3")
    try_sentence(page, "one two")
    assert page.locator("#answer .sentence i.e3").count() == 2
    page.locator(".tried .edited .value, .tried .edited .undefined").first.wait_for()


def test_features_that_fire_are_listed_on_the_index(
    page: "Page", server: Running, results: list[FeatureResult]
) -> None:
    record = next(pair.record for pair in results[0].test_sequences if pair.record.source is None)
    page.goto(server.url)
    page.fill("#sentence", "".join(record.tokens))
    page.click("#try button")
    page.locator("#answer .firing tbody tr").first.wait_for(timeout=60_000)
    page.click("#answer .firing tbody a >> nth=0")
    page.wait_for_url("**/features/*.html")


def test_a_dead_feature_says_so(page: "Page", server: Running) -> None:
    page.goto(f"{server.url}/features/{DEAD.layer}-{DEAD.latent}.html")
    try_sentence(page, "a b")
    assert "never fired on the corpus" in (page.text_content("#answer") or "")
    assert page.locator("#rules").count() == 0


def test_a_refusal_is_a_sentence(
    page: "Page", server: Running, results: list[FeatureResult], problems: list[str]
) -> None:
    page.goto(server.url + feature_page(results[0]))
    try_sentence(page, "word " * 2000)
    assert "the model’s context is 127".replace("’", "'") in (page.text_content("#answer .failure") or "")
    assert all("422" in problem for problem in problems)  # the browser itself tells of the status
    problems.clear()


def test_the_policy_blocks_what_is_inline(page: "Page", server: Running, problems: list[str]) -> None:
    page.goto(server.url)
    page.evaluate(
        "() => { const s = document.createElement('script'); s.textContent = 'window.broken = 1';"
        " document.body.append(s); document.body.setAttribute('style', 'display: none'); }"
    )
    assert page.evaluate("window.broken") is None
    assert page.evaluate("getComputedStyle(document.body).display") == "block"
    assert len(problems) == 2 and all("Content Security Policy" in problem for problem in problems)
    problems.clear()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_the_pages(page: "Page", server: Running, results: list[FeatureResult], scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page.emulate_media(color_scheme=scheme)
    for path in ("/", "/docs", feature_page(results[0]), f"/features/{DEAD.layer}-{DEAD.latent}.html"):
        page.goto(server.url + path)
        if path.startswith("/features"):
            try_sentence(page, SENTENCE)
        found = Axe().run(page).response["violations"]
        grave = [each["id"] for each in found if each["impact"] in ("serious", "critical")]
        assert grave == [], (path, [node["html"] for each in found for node in each["nodes"]][:5])


@pytest.mark.parametrize("width", [320, 1600])
def test_no_served_page_is_wider_than_the_window(
    page: "Page", server: Running, results: list[FeatureResult], width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    for path in ("/", "/docs", feature_page(results[0])):
        page.goto(server.url + path)
        if path.startswith("/features"):
            try_sentence(page, SENTENCE)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
