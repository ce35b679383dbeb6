"""The words of a verdict, and what each says about the margin over the best table on the corpus."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featureinterp.core import Score, Scores, StructuredExplanation
from featureinterp.experiment.result import CorpusScores, FeatureKey, FeatureResult
from featureinterp.experiment.run import FeatureRunParams, explain_feature
from featureinterp.experiment.scores.verdict import short_verdict, verdict
from featureinterp.scoring.corpus import difference_on_corpus, pool_corpus

KEY = FeatureKey("blocks.1.hook_resid_post", 1, 2)


def with_margin(margin: Score) -> FeatureResult:
    corpus = CorpusScores(Scores.undefined("not of interest"), is_exact=True, tables={}, margin=margin)
    return FeatureResult(KEY, "explained", explanation=StructuredExplanation.from_text("' cat'"), corpus=corpus)


@pytest.mark.parametrize(
    ("margin", "words"),
    [
        (Score(0.05, 0.001, 0.1), "beats its baselines"),
        (Score(0.05, -0.001, 0.1), "no better than a token table"),
        (Score(-0.05, -0.1, 0.001), "no better than a token table"),
        (Score(-0.05, -0.1, -0.001), "worse"),
        (Score(0.0, 0.0, 0.0), "no better than a token table"),
        (Score.undefined("the table is constant"), "untested (the table is constant)"),
        (Score(0.5), "untested (too few sentences for an interval)"),
    ],
)
def test_the_interval_of_the_margin_decides_the_words(margin: Score, words: str) -> None:
    assert verdict(with_margin(margin)) == words
    assert short_verdict(with_margin(margin)) == ("untested" if words.startswith("untested") else words)


@given(st.tuples(*[st.floats(-2, 2)] * 3).map(sorted))
def test_exactly_one_verdict_holds_and_swapping_the_sides_turns_it_round(ends: list[float]) -> None:
    low, value, high = ends
    swapped = {"beats its baselines": "worse", "worse": "beats its baselines"}
    ours = verdict(with_margin(Score(value, low, high)))
    assert verdict(with_margin(Score(-value, -high, -low))) == swapped.get(ours, "no better than a token table")
    assert (ours == "no better than a token table") == (low <= 0 <= high)


def test_an_explanation_that_was_not_scored_on_the_corpus_is_untested() -> None:
    old = replace(with_margin(Score(1.0, 0.9, 1.0)), corpus=None)
    assert verdict(old) == "untested (it was not scored on the corpus)"


def test_a_feature_without_an_explanation_is_untested_for_its_reason() -> None:
    assert verdict(FeatureResult(KEY, "dead", "it never fires")) == "untested (it never fires)"
    assert verdict(FeatureResult(KEY, "failed")) == "untested (failed)"


def test_records_without_a_sample_of_the_corpus_say_how_to_draw_one(world) -> None:
    made = asyncio.run(explain_feature(world.make_record(1), world.key(1), world.method(), FeatureRunParams()))
    assert verdict(made).startswith("untested (the records hold no sample of the corpus")


def test_the_truth_beats_noise_on_a_corpus_noise_is_worse_and_a_tie_is_no_better() -> None:
    draw = random.Random(0)
    truth = [[float(draw.random() < 0.2) * 5 for _ in range(8)] for _ in range(60)]
    noise = [[draw.random() * 5 for _ in range(8)] for _ in range(60)]
    right, wrong = pool_corpus(truth, truth), pool_corpus(truth, noise)
    assert verdict(with_margin(difference_on_corpus(right, wrong))) == "beats its baselines"
    assert verdict(with_margin(difference_on_corpus(wrong, right))) == "worse"
    assert verdict(with_margin(difference_on_corpus(wrong, wrong))) == "no better than a token table"
