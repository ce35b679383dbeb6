"""The figures of a run's page and the numbers of its words, against counts by hand."""

from dataclasses import replace

import numpy as np
import pytest

from featureinterp.core import Score
from featureinterp.report.feature_row import FeatureRow, strongest_tokens
from featureinterp.report.pages.charts import N_BINS, scatter, spreads
from featureinterp.report.pages.index import render_index
from featureinterp.report.pages.overview import run_found
from featureinterp.report.pages.run_pages import make_environment
from tests.report.features import SUMMARY, all_kinds, explained, hostile, record, without_explanation


def row(score: float, density: float = 0.01, lookup: float | None = 0.25) -> FeatureRow:
    floor = Score.undefined("no token") if lookup is None else Score(lookup)
    made = FeatureRow.of(explained(0, 1, score))
    return replace(made, density=density, floors={"token_lookup": {"similar_negative": floor}})


def test_a_spread_counts_every_feature_once_and_those_outside_at_the_edges() -> None:
    scores = [-0.9, -0.25, -0.21, 0.0, 0.974, 0.99, 1.0]
    first, second = spreads([row(score) for score in scores])
    edges = np.linspace(-0.25, 1.0, N_BINS + 1)
    counted = np.histogram(np.clip(scores, -0.25, 1), edges)[0]
    assert first.counts == tuple(counted)
    assert (first.kind, first.median) == ("explanation", 0.0)
    assert first.bars == [
        ("0.0%", "0.0%", "100.0%"), ("20.0%", "66.7%", "33.3%"), ("96.0%", "0.0%", "100.0%")
    ]  # fmt: skip
    assert (second.kind, sum(second.counts), second.median) == ("token_lookup", 7, 0.25)


def test_undefined_scores_are_in_no_figure() -> None:
    silent = [FeatureRow.of(hostile()), FeatureRow.of(without_explanation(0, 0, "dead", "silent"))]
    assert spreads(silent) == []
    assert scatter(silent) is None
    assert run_found(silent, ["a", "b"]) is None
    assert [spread.kind for spread in spreads([row(0.5, lookup=None)])] == ["explanation"]


def test_a_scatter_is_logarithmic_in_density_and_upright_in_score() -> None:
    drawn = scatter([row(1.0, 0.001), row(-0.25, 1.0), row(0.375, 0.1), row(0.5, 0.0), row(0.5, float("nan"))])
    assert drawn is not None
    assert {(dot.x, dot.y) for dot in drawn.dots} == {("0.0%", "0.0%"), ("100.0%", "100.0%"), ("66.7%", "50.0%")}
    assert drawn.ticks == (("0.0%", "0.1%"), ("33.3%", "1%"), ("66.7%", "10%"), ("100.0%", "100%"))
    assert (drawn.n, drawn.crowded) == (3, False)


def test_a_scatter_of_many_features_stays_small() -> None:
    rng = np.random.default_rng(0)
    rows = [
        row(float(score), float(10**power))
        for score, power in zip(rng.random(3000), rng.uniform(-3, 0, 3000), strict=True)
    ]
    drawn = scatter(rows)
    assert drawn is not None
    assert drawn.crowded
    assert len(drawn.dots) < 1900
    assert len(render_index(make_environment(), rows * 7, ["x"] * 21_000, SUMMARY)) < 300_000


def test_what_was_found_names_the_best_and_the_worst_once_each() -> None:
    scores = [0.5, 0.1, 0.9, 0.2, 0.3]
    found = run_found([row(score) for score in scores], list("abcde"))
    assert found is not None
    assert [name for name, _ in found.best] == ["c", "a", "e"]
    assert [name for name, _ in found.worst] == ["b", "d"]
    assert (found.above_lookup, found.comparable) == (3, 5)
    assert float(found.means.explanation) == pytest.approx(0.4)
    assert run_found([row(0.5, lookup=None)], ["a"]).comparable == 0


@pytest.mark.parametrize(
    ("gains", "words"),
    [
        ([0.2, 0.21, 0.22], "explanations are better"),
        ([-0.2, -0.21, -0.22], "token table is better"),
        ([-0.2, 0.2, 0.0], "not significant"),
    ],
)
def test_the_words_claim_no_more_than_the_interval(gains: list[float], words: str) -> None:
    rows = [row(0.5, lookup=0.5 - gain) for gain in gains]
    text = render_index(make_environment(), rows, ["a", "b", "c"], SUMMARY)
    claims = ["explanations are better", "token table is better", "not significant"]
    assert [claim for claim in claims if claim in text] == [claim for claim in claims if claim in words]


def test_strongest_tokens_are_distinct_visible_and_of_all_records() -> None:
    result = all_kinds()[0]
    assert strongest_tokens(result) == (" raise", " raising")
    many = record(tuple(f"t{n}" for n in range(20)) + ("\n", "t3"), (*range(20), 30.0, 29.0), 9)
    assert strongest_tokens(replace(result, train_positives=(many,)))[:3] == ("↵", "t3", "t19")
    assert len(strongest_tokens(replace(result, train_positives=(many,)))) == 10
    assert strongest_tokens(without_explanation(0, 0, "dead", "silent")) == ()
