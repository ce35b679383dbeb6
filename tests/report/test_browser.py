"""The pages opened from disk in a real browser: nothing breaks, sorting and filtering work, hostile text is text."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from featureinterp.display import visible_token
from featureinterp.report.feature_row import FeatureRow
from featureinterp.report.pages.index import index_script
from featureinterp.report.pages.run_pages import write_report
from tests.report.features import HOSTILE_TOKENS, LONG_TOKEN, SUMMARY, explained

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser


def rows(page: "Page") -> list[str]:
    """Return layer/latent of the rows that are drawn, in order."""
    return page.eval_on_selector_all(
        "#features tbody tr", "rows => rows.map(row => row.cells[0].textContent + '/' + row.cells[1].textContent)"
    )


def sort(page: "Page", column: str) -> str | None:
    page.click(f"#features th.{column} button")
    return page.get_attribute(f"#features th.{column}", "aria-sort")


IN_ORDER = ["0/3", "0/12", "1/4", "1/7", "2/5", "2/6", "5/99"]


def test_every_page_opens_without_a_complaint(page: "Page", report: Path) -> None:
    for path in [report / "index.html", *sorted((report / "features").glob("*.html"))]:
        page.goto(path.as_uri())
        assert page.locator("h1").count() == 1
        assert page.evaluate("getComputedStyle(document.body).maxWidth") != "none"  # the style sheet is in force


def test_the_guard_of_these_tests_works(browser: "Browser", report: Path) -> None:
    page = browser.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto((report / "index.html").as_uri())
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=alert(1)>')")
    page.wait_for_timeout(200)
    page.close()
    assert any("Content Security Policy" in text for text in said)


def test_sorting_by_score_puts_undefined_ones_last_both_ways(page: "Page", report: Path) -> None:
    page.goto((report / "index.html").as_uri())
    assert rows(page) == IN_ORDER
    assert page.get_attribute("#features th.layer", "aria-sort") == "ascending"
    undefined = ["1/4", "2/5", "2/6", "5/99"]
    assert sort(page, "score") == "descending"
    assert rows(page) == ["0/3", "1/7", "0/12", *undefined]
    assert sort(page, "score") == "ascending"
    assert rows(page) == ["0/12", "1/7", "0/3", *undefined]
    assert page.get_attribute("#features th.layer", "aria-sort") == "none"


def test_numbers_sort_as_numbers_and_words_as_words(page: "Page", report: Path) -> None:
    page.goto((report / "index.html").as_uri())
    assert sort(page, "latent") == "ascending"
    assert rows(page) == ["0/3", "1/4", "2/5", "2/6", "1/7", "0/12", "5/99"]
    page.fill("input[name=q]", "0/")
    assert sort(page, "words") == "ascending"
    assert rows(page) == ["0/12", "0/3"]  # "numbers" before "the token"


def test_headers_sort_from_the_keyboard(page: "Page", report: Path) -> None:
    page.goto((report / "index.html").as_uri())
    page.focus("#features th.latent button")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "status"
    page.keyboard.press("Enter")
    assert page.get_attribute("#features th.status", "aria-sort") == "ascending"
    assert rows(page)[0] == "1/4"


def test_filters_narrow_the_list(page: "Page", report: Path) -> None:
    page.goto((report / "index.html").as_uri())
    page.fill("input[name=q]", "CAPITALISED")
    assert rows(page) == ["1/7"]
    page.fill("input[name=q]", "2/5")
    assert rows(page) == ["2/5"]
    page.fill("input[name=q]", "")
    page.select_option("select[name=layer]", "2")
    assert rows(page) == ["2/5", "2/6"]
    page.select_option("select[name=status]", "failed")
    assert rows(page) == ["2/6"]
    page.click("button[type=reset]")
    assert rows(page) == IN_ORDER
    page.fill("input[name=min]", "0.5")
    assert rows(page) == ["0/3", "1/7"]
    assert page.text_content("#count") == "2 of 7 features"
    page.fill("input[name=max]", "0.7")
    assert rows(page) == ["1/7"]
    page.fill("input[name=min]", "")
    assert rows(page) == ["0/12", "1/7"]


def test_the_words_of_the_search_may_be_tokens(page: "Page", report: Path) -> None:
    page.goto((report / "index.html").as_uri())
    page.fill("input[name=q]", "RAISING capitalised")
    assert rows(page) == ["1/7"]
    page.fill("input[name=q]", "{{7*7}} onmouseover")
    assert rows(page) == ["5/99"]


def test_columns_are_chosen_and_kept_in_the_address(page: "Page", report: Path) -> None:
    def heads() -> list[str]:
        return page.eval_on_selector_all(
            "#features th", "heads => heads.filter(th => th.offsetParent).map(th => th.className)"
        )

    page.goto((report / "index.html").as_uri())
    usual = ["layer", "latent", "status", "words", "judgement", "score", "lookup", "false_positives", "density"]
    assert heads() == usual
    page.click(".columns summary")
    page.check("input[value=tokens]")
    page.uncheck("input[value=density]")
    page.uncheck("input[value=status]")
    chosen = ["layer", "latent", "words", "tokens", "judgement", "score", "lookup", "false_positives"]
    assert heads() == chosen
    assert page.text_content("#features tbody tr:first-child td.tokens") == " raise  raising "
    assert page.locator("#features tbody tr:first-child td").count() == len(chosen)
    page.reload()
    assert heads() == chosen
    page.click("button[type=reset]")
    assert heads() == chosen
    page.evaluate("location.hash = '#columns=constructor+rules'")
    page.locator("#features th.words").wait_for(state="hidden")
    assert heads() == ["latent", "rules"]


def test_the_state_is_in_the_address_and_survives_a_reload(page: "Page", report: Path) -> None:
    page.goto((report / "index.html").as_uri())
    page.fill("input[name=q]", "raise & <b>")
    assert rows(page) == []
    page.fill("input[name=q]", "words ending")
    page.fill("input[name=min]", "0.2")
    sort(page, "score")
    before = rows(page)
    assert before == ["0/3", "1/7", "0/12"]
    address = page.url
    assert "sort=score" in address.split("#")[1]
    page.reload()
    assert (rows(page), page.url) == (before, address)
    assert page.input_value("input[name=q]") == "words ending"
    assert page.get_attribute("#features th.score", "aria-sort") == "descending"
    page.evaluate("location.hash = '#layer=2'")
    page.locator("#count", has_text="2 of 7").wait_for()
    assert page.input_value("input[name=q]") == ""


def test_an_address_that_makes_no_sense_is_harmless(page: "Page", report: Path) -> None:
    page.goto((report / "index.html").as_uri() + "#sort=constructor&layer=nowhere&min=abc&order=up&columns=__proto__")
    assert rows(page) == []
    assert page.input_value("input[name=min]") == ""
    page.goto((report / "index.html").as_uri())
    page.evaluate("location.hash = '#layer=nowhere'")
    page.locator("#count", has_text="0 of 7").wait_for()
    page.click("button[type=reset]")
    assert rows(page) == IN_ORDER


def test_hostile_tokens_are_shown_as_text(page: "Page", report: Path) -> None:
    page.goto((report / "features" / "5-99.html").as_uri())
    shown = page.eval_on_selector_all(".sentence i", "tokens => tokens.map(token => token.textContent)")
    for token in HOSTILE_TOKENS:
        assert visible_token(token).strip(" ") in shown
    assert page.locator("img").count() == 0
    page.goto((report / "index.html").as_uri() + "#q=5/99")
    assert "<script>alert(1)</script>" in (page.text_content("#features td.words") or "")
    assert page.evaluate("document.scripts.length") == 2


def test_from_the_list_to_a_feature_and_on(page: "Page", report: Path) -> None:
    page.goto((report / "index.html").as_uri())
    page.click("#features tbody a >> nth=1")
    assert page.url.endswith("features/0-12.html")
    page.click("a[rel=next]")
    assert page.url.endswith("features/1-4.html")
    page.click("a[rel=up]")
    assert page.url.endswith("index.html")


def test_the_numbers_of_a_token_by_mouse_and_by_keyboard(page: "Page", report: Path) -> None:
    page.goto((report / "features" / "0-3.html").as_uri())
    page.click("#breaks .sentences .sentence >> nth=0 >> i >> nth=0")
    assert page.text_content("#readout") == "raising true 4.0, expected 0.0"
    page.keyboard.press("ArrowRight")
    assert page.text_content("#readout") == "now true 0.0, expected 0.0"
    page.keyboard.press("Escape")
    assert page.text_content("#readout") == ""


def test_bars_show_levels_and_errors_differ_without_colour(page: "Page", report: Path) -> None:
    page.goto((report / "features" / "0-3.html").as_uri())

    def style(token: str, bar: str | None, name: str) -> str:
        script = "(token, [bar, name]) => getComputedStyle(token, bar)[name]"
        return page.eval_on_selector(f"#breaks .sentences {token}", script, [bar, name])

    heights = [style(*bar, "height") for bar in (("i.t5.e5", "::before"), ("i.t5.e5", "::after"), ("i.t4", "::before"))]
    assert heights == ["12px", "12px", "10px"]
    assert style("i.t4.e0", "::after", "height") == "0px"
    assert [style(f"i.{mark}", None, "textDecorationStyle") for mark in ("miss", "alarm")] == ["dashed", "wavy"]
    assert "gradient" in style("i.miss", "::before", "backgroundImage")
    assert style("i.t5.e5", "::before", "backgroundImage") == "none"


@pytest.mark.parametrize("width", [320, 400, 1600])
def test_no_page_is_wider_than_the_window(page: "Page", report: Path, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    for path in (report / "index.html", report / "features" / "0-3.html", report / "features" / "5-99.html"):
        page.goto(path.as_uri())
        page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path.name
    assert LONG_TOKEN in (page.text_content("body") or "")


def test_dark_and_light(page: "Page", report: Path) -> None:
    ground = "getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"
    page.emulate_media(color_scheme="dark")
    page.goto((report / "index.html").as_uri())
    assert max(page.evaluate(ground)) < 40
    page.emulate_media(color_scheme="light")
    assert min(page.evaluate(ground)) > 230


def test_thousands_of_features_stay_quick(page: "Page", tmp_path: Path) -> None:
    index = write_report([], SUMMARY, tmp_path)
    many = [FeatureRow.of(explained(k % 12, k, (k * 37 % 100) / 100)) for k in range(5000)]
    (tmp_path / "features.js").write_bytes(index_script(many, [str(k) for k in range(5000)]))
    page.goto(index.as_uri())
    assert 0 < len(rows(page)) < 1000  # drawn in chunks
    assert page.text_content("#count") == "5,000 of 5,000 features"
    script = "button => { const start = performance.now(); button.click(); return performance.now() - start; }"
    assert page.eval_on_selector("#features th.score button", script) < 1000
    assert page.text_content("#features tbody tr:first-child td.score span") == "0.99"
    before = len(rows(page))
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    page.locator("#features tbody tr").nth(before).wait_for()
