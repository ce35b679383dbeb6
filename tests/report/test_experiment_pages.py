"""The pages of an experiment: figures, findings, runs, and a way from every point to its features."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from featureinterp.analysis.findings import findings, write_findings
from featureinterp.analysis.read_experiment import read_experiment, read_experiments
from featureinterp.cli.pages import write_pages
from featureinterp.display import visible
from featureinterp.errors import DataFolderError, InputError
from featureinterp.experiment import store, stored
from featureinterp.experiment.result import FeatureKey, FeatureResult
from featureinterp.report.figures.files import draw_experiment
from featureinterp.report.pages.experiment_pages import png_size, write_experiment
from tests.report import experiments
from tests.report.experiments import HOSTILE, MAKERS, explained, failed, write_run
from tests.report.test_pages import Page as ParsedPage

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment of two subjects, one with a hostile name; one of its runs is not finished."""
    root = tmp_path_factory.mktemp("experiment")
    experiments.complementary(root)
    experiments.complementary(root, HOSTILE, ("tree",))
    waiting = [experiments.key(4, latent) for latent in range(3)]
    results = [explained(0, 1, 0.5), failed(0, 2), explained(0, 3, None)]
    return write_run(root, ("complementary", HOSTILE, "one-shot"), results, {"explainer": "one-shot"}, waiting)


@pytest.fixture(scope="module")
def page(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_experiment(folder, tmp_path_factory.mktemp("page"))


def test_every_link_and_picture_is_a_file_beside_the_page(page: Path) -> None:
    parsed = ParsedPage(page)
    targets = [attributes["href"] for attributes in parsed.all("a")] + [img["src"] for img in parsed.all("img")]
    targets += [source["srcset"] for source in parsed.all("source")]
    for target in targets:
        if not target.startswith("#"):
            assert (page.parent / target).is_file(), target
    assert len(parsed.all("img")) == 6
    assert {Path(target).suffix for target in targets if target.startswith("figures/")} == {".png", ".pdf"}


def test_pictures_are_told_in_words_with_their_numbers(page: Path) -> None:
    alts = [img["alt"] for img in ParsedPage(page).all("img")]
    assert all(len(alt) > 100 for alt in alts)
    [alt] = [alt for alt in alts if alt.startswith("test score, one-shot") and "tree: 0.51 at layer 0, 0.59" in alt]
    assert "rules, tree: 2.00 at layer 0, 2.00 at layer 4" in alt


def test_every_feature_of_every_run_is_linked_under_its_layer(page: Path) -> None:
    text = page.read_text()
    links = re.findall(r'href="(runs/[^"/]+)/features/(\d+)-(\d+)\.html" aria-label="([^"]+)">([^<]+)<', text)
    assert len(links) == 3 * 12 + 3
    told = {(layer, latent): words for run, layer, latent, _, words in links if run == "runs/docs_tiny_tree"}
    assert told["2", "3"] == f"{0.3 + 0.04 + 0.15 + 0.1 + 0.03:.2f}"
    assert [words for *_, words in links if words in ("failed", "undefined")] == ["failed", "undefined"]
    assert text.count("Layer 2: 4 features") == 2
    assert "not finished" in text


def test_the_page_holds_what_was_found_and_what_is_missing(page: Path, folder: Path) -> None:
    shown = " ".join(ParsedPage(page).everything.split())
    assert "one-shot: 3 of 6 features are not finished" in shown
    sentences = [line[2:] for line in findings(read_experiments(folder)).splitlines() if line.startswith("- docs_tiny")]
    assert sentences
    assert all(" ".join(re.sub(r"\*\*|\\", "", sentence).split()) in shown for sentence in sentences)
    assert shown.count("Findings") == 1
    assert "featureinterp experiment complementary" in shown


def test_hostile_names_are_text(page: Path) -> None:
    parsed = ParsedPage(page)
    assert parsed.all("script") == []
    assert visible(HOSTILE).splitlines()[0] in parsed.everything
    for _, attributes in parsed.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]


def test_each_run_has_its_report(page: Path) -> None:
    runs = sorted((page.parent / "runs").iterdir())
    assert len(runs) == 4
    assert all((run / "index.html").is_file() for run in runs)
    title = ParsedPage(page.parent / "runs" / "docs_tiny_one-shot" / "index.html").everything
    assert "one-shot, docs_tiny" in title


@pytest.mark.parametrize("name", ["explainers", "polysemanticity", "layers"])
def test_every_experiment_has_a_page(name: str, tmp_path: Path) -> None:
    parsed = ParsedPage(write_experiment(MAKERS[name](tmp_path), tmp_path / "out"))
    assert parsed.all("img")
    assert ("tables/explainers.tex" in [a["href"] for a in parsed.all("a")]) == (name == "explainers")


def test_an_experiment_without_figures_still_has_a_page(tmp_path: Path) -> None:
    folder = write_run(tmp_path, ("layers", "docs", "tree"), [failed(0, 2)], {"explainer": "tree"})
    parsed = ParsedPage(write_experiment(folder, tmp_path / "out"))
    assert "none of 1 features has an explanation" in parsed.everything
    assert not parsed.all("img")


def test_what_is_no_experiment_has_no_page(tmp_path: Path) -> None:
    with pytest.raises(DataFolderError, match="there is no run"):
        write_experiment(tmp_path, tmp_path / "out")
    write_run(tmp_path, ("", "docs", "tree"), [explained(0, 1, 0.5)], {"explainer": "tree"})
    with pytest.raises(InputError, match="are of no experiment"):
        write_experiment(tmp_path, tmp_path / "out")


def test_a_folder_of_an_unknown_experiment_has_a_page_of_what_each_run_can_tell(tmp_path: Path) -> None:
    results = [explained(0, latent, 0.1 * latent) for latent in range(6)]
    folder = write_run(tmp_path, ("of <others>", "docs", "mine"), results, {"explainer": "tree"})
    parsed = ParsedPage(write_experiment(folder, tmp_path / "out"))
    assert not parsed.all("img")
    shown = " ".join(parsed.everything.split())
    assert "of <others>" in shown
    assert "Incomplete" not in shown
    for side in ("random negatives", "token table"):
        assert re.search(rf"between mine( on similar negatives)? and (mine on )?{side}|than (mine on )?{side}", shown)
    assert len([a for a in parsed.all("a") if "/features/" in a["href"]]) == len(results)


@pytest.mark.parametrize("name", ["explainers", "layers"])
def test_each_result_is_decoded_once(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = MAKERS[name](tmp_path)
    decoded: Counter[tuple[Path, FeatureKey]] = Counter()

    def counting(key: FeatureKey, row: Sequence[Any], path: Path) -> FeatureResult:
        decoded[path, key] += 1
        return stored.read_result(key, row, path)

    monkeypatch.setattr(store, "read_result", counting)
    n = sum(len(found) for found in [read_experiment(folder).scores.groupby(["variant", "hook_name", "latent"])])
    assert n == len(decoded) > 5
    assert set(decoded.values()) == {1}, "reading decodes each result once"
    decoded.clear()
    write_experiment(folder, tmp_path / "out")
    assert (len(decoded), set(decoded.values())) == (n, {1}), "so does the page with the pages of its runs"
    decoded.clear()
    read = read_experiment(folder)
    write_findings(tmp_path, [read])
    draw_experiment(read, tmp_path / "figures", tmp_path / "tables")
    assert (len(decoded), set(decoded.values())) == (n, {1}), "so do summary and figures together"
    decoded.clear()
    [run] = sorted(folder.rglob("run.sqlite"))[:1]
    write_pages(run.parent, tmp_path / "run")
    assert len(decoded) > 1
    assert set(decoded.values()) == {1}, "so does the page of one run"


def test_a_damaged_result_is_counted_on_the_page_although_it_is_found_last(tmp_path: Path) -> None:
    results = [explained(0, latent, 0.5) for latent in range(3)]
    folder = write_run(tmp_path, ("complementary", "docs", "tree"), results, {"explainer": "tree"})
    with closing(sqlite3.connect(folder / "docs" / "tree" / "run.sqlite")) as connection, connection:
        connection.execute("UPDATE feature SET result = x'00' WHERE latent = 2")
    page = write_experiment(folder, tmp_path / "out")
    assert "docs, tree: 1 of 3 features are not finished" in ParsedPage(page).everything
    of_run = ParsedPage(page.parent / "runs" / "docs_tree" / "index.html").everything
    assert "This run is not finished" in of_run


@pytest.mark.browser
@pytest.mark.parametrize(("width", "drawn"), [(320, "_column.png"), (1400, ".png")])
def test_the_page_opens_from_disk_without_a_complaint(browser: Browser, page: Path, width: int, drawn: str) -> None:
    problems: list[str] = []
    opened = browser.new_page(viewport={"width": width, "height": 900})
    opened.on("console", lambda message: problems.append(message.text))
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("requestfailed", lambda request: problems.append(request.url))
    opened.on("request", lambda r: None if r.url.startswith(("file:", "data:")) else problems.append(r.url))
    opened.goto(page.as_uri())
    opened.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    pictures = opened.eval_on_selector_all("img", "all => all.map(img => [img.naturalWidth, img.currentSrc])")
    assert all(size > 900 and source.endswith(drawn) for size, source in pictures)
    assert drawn == "_column.png" or not any("_column" in source for _, source in pictures)
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    opened.click("details a >> nth=0")
    assert opened.locator("h1").count() == 1
    assert "/features/" in opened.url
    opened.close()
    assert problems == []


def test_the_page_knows_the_size_of_its_pictures(tmp_path: Path) -> None:
    """As matplotlib reads them: the page leaves their place free before they come."""
    for width, height in ((3, 2), (30, 1)):
        figure = Figure((width, height), dpi=100)
        figure.savefig(tmp_path / "drawn.png")
        assert (
            png_size(tmp_path / "drawn.png")
            == imread(tmp_path / "drawn.png").shape[1::-1]
            == (width * 100, height * 100)
        )
