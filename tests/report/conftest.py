"""A report written once, and a Chromium to open it in."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from featureinterp.report.pages.run_pages import write_report
from tests.report.chromium import find_chromium
from tests.report.features import SUMMARY, all_kinds
from tests.report.screenshots import write_pages

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, Page

ARGUMENTS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
NOT_RUN = "The page tests were not run: there is no Chromium here (name one with FEATUREINTERP_CHROMIUM)."
_LEFT_OUT = pytest.StashKey[bool]()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the page tests out where there is no Chromium and say so at the end; in CI that is an error."""
    of_pages = [item for item in items if item.get_closest_marker("browser")]
    if not of_pages or find_chromium():
        return
    if os.environ.get("CI"):
        raise pytest.UsageError(NOT_RUN)
    config.stash[_LEFT_OUT] = True
    config.hook.pytest_deselected(items=of_pages)
    items[:] = [item for item in items if item not in of_pages]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say in one line that the page tests were left out."""
    if config.stash.get(_LEFT_OUT, False):
        terminalreporter.write_line(NOT_RUN)


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a report on every kind of feature."""
    return write_report(all_kinds(), SUMMARY, tmp_path_factory.mktemp("report")).parent


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One page of every kind, by name: those that pictures are taken of, and a hostile feature's."""
    found = write_pages(tmp_path_factory.mktemp("pages"), None, None, None)
    return found | {"hostile": found["index"].parent / "features" / "5-99.html"}


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """A headless Chromium; while it is there no other test of the process can run an event loop of its own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=ARGUMENTS.split())
        yield browser
        browser.close()


@pytest.fixture
def page(browser: "Browser") -> "Iterator[Page]":
    """A page on which any console message, failed request, dialog or outside request fails the test."""
    page = browser.new_page()
    problems: list[str] = []

    def on_dialog(dialog: "Dialog") -> None:
        problems.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    page.on("console", lambda message: problems.append(f"console {message.type}: {message.text}"))
    page.on("pageerror", lambda error: problems.append(f"error: {error}"))
    # A navigation that the next one overtakes is aborted, which is no fault of the page.
    page.on("requestfailed", lambda r: None if r.failure == "net::ERR_ABORTED" else problems.append(f"failed: {r.url}"))
    page.on("dialog", on_dialog)
    page.on(
        "request",
        lambda request: None if request.url.startswith(("file:", "data:")) else problems.append(request.url),
    )
    yield page
    page.close()
    assert problems == []
