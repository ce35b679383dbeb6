"""A second run beside a report: both explanations, both scores, the paired difference; whatever is missing is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from featureinterp.core import Score, SequenceSimulation
from featureinterp.experiment.result import FeatureResult, RunSummary
from featureinterp.report.pages.compared_run import ComparedRun, RowPair, compare_feature, compare_with_run
from featureinterp.report.pages.run_pages import write_report
from featureinterp.scoring import score_by_source
from tests.report.features import all_kinds, explained, hostile, scores, without_explanation

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def other_way(result: FeatureResult, words: str = "words for calling out", factor: float = 0.5) -> FeatureResult:
    """The same feature explained by another method, which expects less of every token."""
    if result.explanation is None:
        return result
    rule = replace(result.explanation.rules[0], activates_on=words)
    sequences = tuple(
        replace(
            pair,
            simulation=SequenceSimulation(
                pair.record.tokens,
                tuple(factor * level for level in pair.simulation.expected_activations[:-1]) + (0.5,),
            ),
        )
        for pair in result.test_sequences
    )
    found = {source: replace(of, correlation=of.correlation) for source, of in score_by_source(sequences).items()}
    return replace(
        result,
        explainer="tree/local:m",
        explanation=replace(result.explanation, rules=(rule,)),
        test_sequences=sequences,
        scores={**result.scores, **found},
    )


def beside_of(results: list[FeatureResult], title: str = "lexical") -> ComparedRun:
    return ComparedRun(title, {result.key: result for result in results}.get)


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> Path:
    """A report on every kind of feature, beside a run that explains one of them less and one more."""
    ours = all_kinds()
    theirs = [other_way(result) for result in ours]
    theirs[1] = without_explanation(0, 12, "failed", "no answer of 3 can be read")
    theirs[2] = replace(explained(1, 4, 0.4, "numbers"), explainer="tree/local:m")
    theirs[3] = replace(theirs[3], test_sequences=theirs[3].test_sequences[:-1])
    del theirs[4]
    return write_report(ours, RunSummary("demo"), tmp_path_factory.mktemp("beside"), beside_of(theirs)).parent


def section(path: Path) -> str:
    text = path.read_text()
    assert text.count('<section id="beside">') == 1
    start = text.index('<section id="beside">')
    return text[start : text.index("</section>", start)]


def test_a_page_shows_both_explanations_and_both_scores(pages: Path) -> None:
    shown = section(pages / "features" / "0-3.html")
    assert "the token ' raise'".replace("'", "&#39;") in shown and "words for calling out" in shown
    assert "tree/lexical" in shown and "tree/local:m" in shown
    assert ">0.90</span>" in shown
    found = compare_feature(explained(0, 3, 0.9), beside_of([other_way(explained(0, 3, 0.9))]))
    assert found is not None and set(found.differences) == {"similar_negative", "random"}
    for difference in found.differences.values():
        assert f"{float(difference):.3f}".replace("-", "−") in shown


def test_what_cannot_be_compared_says_why(pages: Path) -> None:
    failed = section(pages / "features" / "0-12.html")
    assert "no answer of 3 can be read" in failed
    assert "Not comparable: only one of the two has an explanation." in failed
    dead_here = section(pages / "features" / "1-4.html")
    assert "it never fires on the corpus" in dead_here and "numbers" in dead_here
    assert "Not comparable: the two explanations were tested on different sentences." in section(
        pages / "features" / "1-7.html"
    )
    assert '<section id="beside">' not in (pages / "features" / "2-5.html").read_text()  # the other run lacks it


def test_the_index_has_the_paired_difference_and_says_what_is_left_out(pages: Path) -> None:
    shown = section(pages / "index.html")
    assert "Comparison with lexical" in shown
    assert "2 features explained by only one of the runs" in shown
    assert "+ 2 left out" in shown  # other sentences; an undefined score


def test_without_another_run_nothing_is_beside(report: Path) -> None:
    for path in report.rglob("*.html"):
        assert 'id="beside"' not in path.read_text()


def test_the_mean_difference_is_paired_over_features() -> None:
    rng = np.random.default_rng(0)
    values = [
        (float(a), float(a - d)) for a, d in zip(rng.uniform(-0.2, 0.9, 30), rng.normal(0.1, 0.02, 30), strict=True)
    ]
    pairs = []
    for latent, sides in enumerate(values):
        results = [
            replace(explained(0, latent, 0.5), scores={"similar_negative": scores(Score(value))}) for value in sides
        ]
        found = compare_feature(results[0], beside_of(results[1:]))
        assert found is not None
        pairs.append(RowPair.of(results[0], found))
    compared = compare_with_run(pairs, "lexical")
    [means] = compared.means
    difference = np.array([a - b for a, b in values])
    assert means.difference.value == pytest.approx(difference.mean())
    assert float(means.ours) - float(means.theirs) == pytest.approx(difference.mean())
    assert (means.n, means.left_out, compared.one_sided) == (30, 0, 0)
    half = width(means.difference) / 2
    assert half == pytest.approx(1.96 * difference.std(ddof=1) / np.sqrt(30), rel=0.25)
    assert half < 0.2 * width(means.ours)  # what differs between features cancels out


def width(score: Score) -> float:
    assert score.ci_low is not None and score.ci_high is not None
    return score.ci_high - score.ci_low


@pytest.mark.browser
def test_the_pages_are_drawn(browser: Browser, pages: Path) -> None:
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    for path in (pages / "index.html", pages / "features" / "0-3.html", pages / "features" / "5-99.html"):
        for width in (1600, 390):
            page.set_viewport_size({"width": width, "height": 900})
            page.goto(path.as_uri())
            assert page.locator("#beside").is_visible()
            assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.set_viewport_size({"width": 1200, "height": 900})
    page.goto((pages / "features" / "0-3.html").as_uri())
    left, right = page.locator(".beside > div").evaluate_all("all => all.map(one => one.getBoundingClientRect())")
    assert left["y"] == right["y"] and left["x"] + left["width"] <= right["x"]  # side by side
    assert page.locator("#beside circle.other").count() == 2
    page.close()
    assert said == []


def test_hostile_words_of_the_other_run_stay_text(tmp_path: Path) -> None:
    result = hostile()
    write_report([result], RunSummary("x"), tmp_path, ComparedRun("</h2><script>alert(1)</script>", lambda key: result))
    for path in tmp_path.rglob("*.html"):
        assert "<script>alert" not in path.read_text()


def test_two_runs_of_one_method_are_told_apart_by_their_names() -> None:
    ours = explained(0, 3, 0.5)
    same = compare_feature(ours, beside_of([ours], "run 2"))
    assert same.names(ours) == ("this run", "run 2")
    other = compare_feature(ours, beside_of([other_way(ours)], "run 2"))
    assert other.names(ours) == ("tree/lexical", "tree/local:m")
    assert other.names(replace(ours, explainer="")) == ("this run", "tree/local:m")
    untold = compare_feature(ours, beside_of([replace(ours, explainer="")], "run 2"))
    assert untold.names(ours) == ("tree/lexical", "run 2")
    read = compare_feature(ours, beside_of([replace(ours, simulator="hf:m")], "run 2"))
    assert read.names(replace(ours, simulator="lexical")) == (
        "tree/lexical, simulated by lexical",
        "tree/lexical, simulated by hf:m",
    )
