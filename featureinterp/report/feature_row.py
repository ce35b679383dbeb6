"""Numbers of a feature as a table row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from featureinterp.chat import Usage
from featureinterp.core import Score
from featureinterp.display import visible_token
from featureinterp.experiment.result import FeatureKey, FeatureResult, FeatureStatus
from featureinterp.experiment.scores.verdict import short_verdict
from featureinterp.record import MAIN_SOURCE


@dataclass(frozen=True)
class FeatureRow:
    """The numbers of one feature: scores, baselines, rules, cost."""

    key: FeatureKey
    status: FeatureStatus
    words: tuple[str, ...]
    """The rules, or the reason for a missing explanation."""
    scores: Mapping[str, Score]
    """Test correlation by complementary source."""
    floors: Mapping[str, Mapping[str, Score]]
    """Correlation by baseline, then by complementary source."""
    false_positives: Score
    """False positives per sentence, on the main source."""
    verdict: str
    """Verdict in words, without the reason of an untested one."""
    corpus: Score
    """Correlation on the corpus."""
    margin: Score
    """Correlation on the corpus minus that of the best table."""
    density: float
    n_rules: int
    usage: Usage = Usage()
    """Usage of language models."""
    tokens: tuple[str, ...] = ()
    """Strongest tokens, made visible, strongest first."""

    @classmethod
    def of(cls, result: FeatureResult) -> FeatureRow:
        """Build the row from a feature's result."""
        rules = result.explanation.rules if result.explanation else ()
        judged, corpus = result.scores.get(MAIN_SOURCE), result.corpus
        return cls(
            key=result.key,
            status=result.status,
            words=tuple(rule.activates_on for rule in rules) or (result.reason,),
            scores={source: scores.correlation for source, scores in result.scores.items()},
            floors=result.floors,
            false_positives=judged.false_positives_per_sentence if judged else Score.undefined(_NOT_TESTED),
            verdict=short_verdict(result),
            corpus=corpus.scores.correlation if corpus else Score.undefined(_NOT_TESTED),
            margin=corpus.margin if corpus else Score.undefined(_NOT_TESTED),
            density=result.density,
            n_rules=len(rules),
            usage=result.whole_usage,
            tokens=strongest_tokens(result),
        )

    def score(self, source: str = MAIN_SOURCE) -> Score:
        """Return the test correlation against a complementary source."""
        return self.scores.get(source, Score.undefined(_NOT_TESTED))

    def floor(self, name: str, source: str = MAIN_SOURCE) -> Score:
        """Return a baseline's correlation against a complementary source."""
        return self.floors.get(name, {}).get(source, Score.undefined(_NOT_TESTED))


_NOT_TESTED = "not tested"
N_TOKENS = 10
"""Maximum tokens in a row."""
LONGEST_TOKEN = 40
"""Maximum characters of a token in a row; longer ones are cut."""


def strongest_tokens(result: FeatureResult, most: int = N_TOKENS) -> tuple[str, ...]:
    """Return the distinct tokens with the largest activations in a feature's records, made visible, strongest first."""
    records = [*result.train_positives, *(sequence.record for sequence in result.test_sequences)]
    highest: dict[str, float] = {}
    for record in records:
        for token, activation in zip(record.tokens, record.expressions, strict=True):
            if activation > highest.get(token, 0.0):
                highest[token] = activation
    strongest = sorted(highest, key=lambda token: -highest[token])[:most]
    return tuple(_cut(visible_token(token)) for token in strongest)


def _cut(token: str) -> str:
    return token if len(token) <= LONGEST_TOKEN else token[: LONGEST_TOKEN - 1] + "…"
