"""Pictures of the pages, to be looked at: each at two widths, in light and dark, whole.

    python -m tests.report.screenshots OUT [--run RUN] [--beside RUN] [--experiment FOLDER] [--bench ADDRESS]

Without runs the pages are those of the tests: features made by hand, one of every kind. A bench is one that
`featureinterp serve` has told the address of.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from featureinterp.analysis.runs import run_summary
from featureinterp.experiment.result import FeatureResult, RunSummary
from featureinterp.experiment.store import RunStore
from featureinterp.report.feature_row import FeatureRow
from featureinterp.report.pages.compared_run import ComparedRun
from featureinterp.report.pages.experiment_pages import write_experiment
from featureinterp.report.pages.run_pages import file_name, write_report
from tests.report import experiments
from tests.report.chromium import find_chromium
from tests.report.features import SUMMARY, all_kinds

if TYPE_CHECKING:
    from playwright.sync_api import Browser

WIDTHS = (400, 1600)
THEMES: Sequence[Literal["light", "dark"]] = ("light", "dark")


def telling_pages(results: Sequence[FeatureResult], index: Path) -> dict[str, Path]:
    """Return the page of a run, that of its best feature, and those of one that failed and one that is dead."""
    taken: set[str] = set()
    pages = {result.key: index.parent / "features" / f"{file_name(result.key, taken)}.html" for result in results}
    scored = [result for result in results if FeatureRow.of(result).score().value is not None]
    chosen = {"best": max(scored, key=lambda result: float(FeatureRow.of(result).score()), default=None)}
    for status in ("failed", "dead"):
        chosen[status] = next((result for result in results if result.status == status), None)
    return {"index": index} | {name: pages[result.key] for name, result in chosen.items() if result is not None}


def write_pages(folder: Path, run: Path | None, beside: Path | None, experiment: Path | None) -> dict[str, Path]:
    """Write the pages to take pictures of and return them by name."""
    with ExitStack() as stack:
        store = stack.enter_context(RunStore.open(run)) if run else None
        other = stack.enter_context(RunStore.open(beside)) if beside else None
        results = list(store.results()) if store else all_kinds()
        summary = run_summary(store) if store else SUMMARY
        found = {result.key: result for result in all_kinds()}
        stands_beside = (
            ComparedRun(run_summary(other).title, other.get) if other else ComparedRun("the same again", found.get)
        )
        pages = telling_pages(results, write_report(results, summary, folder / "run"))
        pair = telling_pages(results, write_report(results, summary, folder / "beside", stands_beside))
    pages |= {"beside index": pair["index"], "beside": pair["best"]}
    return pages | {
        "experiment": write_experiment(experiment or experiments.complementary(folder), folder / "experiment"),
        "empty": write_report([], RunSummary("A run of nothing"), folder / "empty"),
    }


def take(browser: Browser, pages: Mapping[str, str], out: Path) -> None:
    """Write a picture of every page at every width and theme."""
    for width in WIDTHS:
        for theme in THEMES:
            page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
            for name, address in pages.items():
                page.goto(address)
                page.screenshot(path=out / f"{name.replace(' ', '-')}-{width}-{theme}.png", full_page=True)
            page.close()


def main() -> None:
    """Take the pictures."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to write to")
    for name in ("run", "beside", "experiment"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--bench")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        found = write_pages(Path(folder), args.run, args.beside, args.experiment)
        pages = {name: path.as_uri() for name, path in found.items()} | ({"bench": args.bench} if args.bench else {})
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox", "--headless"])
        take(browser, pages, args.out)
        browser.close()
    print(f"{len(list(args.out.glob('*.png')))} pictures in {args.out}")


if __name__ == "__main__":
    main()
