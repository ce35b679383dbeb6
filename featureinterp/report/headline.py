"""Headline of a feature: the verdict, and the scores that it rests on, each with the margin over the best baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from featureinterp.core import Score
from featureinterp.experiment.result import FeatureResult
from featureinterp.experiment.scores.verdict import BEATS, NO_BETTER, WORSE, verdict
from featureinterp.record import MAIN_SOURCE, ComplementaryRecordSource
from featureinterp.report.views import SOURCE_WORDS
from featureinterp.scoring.baselines import (
    BACK_OFF,
    BASELINES,
    CONSTANT_ZERO,
    SHORT_LOOKUP,
    SHUFFLED,
    TOKEN_LOOKUP,
    table_size,
)

Kind = Literal["beats", "no-better", "worse", "untested"]

VERDICT_KINDS: Mapping[str, Kind] = {BEATS: "beats", NO_BETTER: "no-better", WORSE: "worse"}

_SAME_TOKEN = ComplementaryRecordSource.SAME_TOKEN_NEGATIVE.value


@dataclass(frozen=True)
class HeadlineScore:
    """One score of the headline."""

    name: str
    """The score and the sentences that it is measured on."""
    score: Score
    margin: Score
    """Difference from the best baseline on the same sentences."""


@dataclass(frozen=True)
class Headline:
    """What a feature's page begins with."""

    verdict: str
    kind: Kind
    best: str
    """Name of the best baseline in words; empty where none was chosen, and there are no margins."""
    corpus: str
    """Whether the scores on the corpus are exact; empty without such scores."""
    scores: tuple[HeadlineScore, ...]


def headline(result: FeatureResult) -> Headline:
    """Return a feature's headline; the scores that a run did not measure are left out."""
    words = verdict(result)
    source = _SAME_TOKEN if _SAME_TOKEN in result.scores else MAIN_SOURCE
    return Headline(
        verdict=words,
        kind=VERDICT_KINDS.get(words, "untested"),
        best=floor_words(result).get(result.best_table, ""),
        corpus=_corpus_words(result),
        scores=(*_corpus_scores(result), *_source_scores(result, source)),
    )


def floor_words(result: FeatureResult) -> dict[str, str]:
    """Return the names of a feature's baselines in words, in reading order."""
    n = table_size(result.explanation) if result.explanation else 0
    words = {
        TOKEN_LOOKUP: "token table",
        SHORT_LOOKUP: f"token table of {n} string{'' if n == 1 else 's'}",
        BACK_OFF: "back-off table",
        CONSTANT_ZERO: "constant zero",
        SHUFFLED: "another feature’s explanation",
    }
    return {name: words[name] for name in BASELINES}


def _corpus_words(result: FeatureResult) -> str:
    if result.corpus is None or result.corpus.scores.correlation.value is None:
        return ""
    return "exact, every window" if result.corpus.is_exact else "estimated from drawn windows"


def _corpus_scores(result: FeatureResult) -> tuple[HeadlineScore, ...]:
    if result.corpus is None:
        return ()
    return (HeadlineScore("correlation on the corpus", result.corpus.scores.correlation, result.corpus.margin),)


def _source_scores(result: FeatureResult, source: str) -> tuple[HeadlineScore, ...]:
    scores, margin, words = result.scores.get(source), result.margins.get(source), SOURCE_WORDS[source]
    if scores is None:
        return ()
    none = Score.undefined("it was not compared")
    claims = scores.false_positives_per_sentence
    return (
        HeadlineScore(f"correlation, {words}", scores.correlation, margin.correlation if margin else none),
        HeadlineScore(
            f"false claims per sentence, {words}", claims, margin.false_positives_per_sentence if margin else none
        ),
    )
