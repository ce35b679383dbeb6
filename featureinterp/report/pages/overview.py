"""A run's features in numbers: one row for each, and means over rows with intervals, undefined ones counted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from featureinterp.chat import Usage
from featureinterp.core import Score
from featureinterp.display import visible_token
from featureinterp.experiment.result import FeatureKey, FeatureResult, FeatureStatus
from featureinterp.report.views import MAIN_SOURCE, SOURCE_WORDS
from featureinterp.stats import generator, paired_difference


@dataclass(frozen=True)
class FeatureRow:
    """What a list of features shows of one: its numbers without its sentences."""

    key: FeatureKey
    status: FeatureStatus
    words: tuple[str, ...]
    """Its rules, or the reason why there are none."""
    scores: Mapping[str, Score]
    """Test correlation by complementary source."""
    floors: Mapping[str, Mapping[str, Score]]
    """By floor, then by complementary source."""
    false_positives: Score
    """Per sentence, on the source that a feature is judged by first."""
    density: float
    n_rules: int
    usage: Usage = Usage()
    """What answers of language models took."""
    tokens: tuple[str, ...] = ()
    """Those it fires on most strongly, made visible, the strongest first."""

    @classmethod
    def of(cls, result: FeatureResult) -> FeatureRow:
        """Take the row out of a feature's whole result."""
        rules = result.explanation.rules if result.explanation else ()
        judged = result.scores.get(MAIN_SOURCE)
        return cls(
            key=result.key,
            status=result.status,
            words=tuple(rule.activates_on for rule in rules) or (result.reason,),
            scores={source: scores.correlation for source, scores in result.scores.items()},
            floors=result.floors,
            false_positives=judged.false_positives_per_sentence if judged else Score.undefined(_NOT_TESTED),
            density=result.density,
            n_rules=len(rules),
            usage=result.whole_usage,
            tokens=strongest_tokens(result),
        )

    def score(self, source: str = MAIN_SOURCE) -> Score:
        """Return the test correlation against a complementary source."""
        return self.scores.get(source, Score.undefined(_NOT_TESTED))

    def floor(self, name: str, source: str = MAIN_SOURCE) -> Score:
        """Return a floor's correlation against a complementary source."""
        return self.floors.get(name, {}).get(source, Score.undefined(_NOT_TESTED))


_NOT_TESTED = "not tested"
N_TOKENS = 10
"""Tokens in a row."""
LONGEST_TOKEN = 40
"""Characters of a token in a row; longer ones are cut."""


def strongest_tokens(result: FeatureResult, most: int = N_TOKENS) -> tuple[str, ...]:
    """Return the distinct tokens on which the feature's records show it most active, made visible, strongest first."""
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


@dataclass(frozen=True)
class GroupMeans:
    """Means over the explained features of a group, each with its interval."""

    name: str
    explanation: Score
    token_lookup: Score
    shuffled: Score
    gain: Score
    """Paired difference: explanation minus token lookup, over features that have both."""
    n: int
    undefined: int
    """Explained features whose correlation is undefined; left out of the mean."""


@dataclass(frozen=True)
class Found:
    """What a run found, before its tables: against the source that features are judged by first."""

    means: GroupMeans
    above_lookup: int
    """Features whose explanation scores higher than token lookup."""
    comparable: int
    """Features that have both scores."""
    best: tuple[tuple[str, FeatureRow], ...]
    """Names of files and rows of the features with the highest scores, the highest first."""
    worst: tuple[tuple[str, FeatureRow], ...]
    """The same of the lowest, the lowest first; none is in both."""


N_TELLING = 3
"""Features named as the best and as the worst explained."""


def run_found(rows: Sequence[FeatureRow], names: Sequence[str]) -> Found | None:
    """Return what was found of features whose files have these names; None where no score is defined."""
    scored = [pair for pair in zip(names, rows, strict=True) if pair[1].score().value is not None]
    if not scored:
        return None
    scored.sort(key=lambda pair: -float(pair[1].score()))
    best = scored[:N_TELLING]
    both = [row for _, row in scored if row.floor("token_lookup").value is not None]
    return Found(
        means=_means(SOURCE_WORDS[MAIN_SOURCE], rows, MAIN_SOURCE),
        above_lookup=sum(float(row.score()) > float(row.floor("token_lookup")) for row in both),
        comparable=len(both),
        best=tuple(best),
        worst=tuple(reversed(scored[len(best) :][-N_TELLING:])),
    )


def means_by_source(rows: Sequence[FeatureRow]) -> list[GroupMeans]:
    """Return the mean test correlation against each complementary source that was used, the hardest first."""
    used = {source for row in rows for source in row.scores}
    return [_means(words, rows, source) for source, words in SOURCE_WORDS.items() if source in used]


def means_by_layer(rows: Sequence[FeatureRow]) -> list[GroupMeans]:
    """Return the mean test correlation of each hook's features against the main source."""
    hooks = dict.fromkeys((row.key.layer, row.key.hook_name) for row in rows if row.status == "explained")
    many = len({layer for layer, _ in hooks}) < len(hooks)
    return [
        _means(hook if many else f"layer {layer}", [row for row in rows if row.key.hook_name == hook], MAIN_SOURCE)
        for layer, hook in sorted(hooks)
    ]


def mean_score(values: Iterable[float], name: str) -> Score:
    """Return the mean of the defined values with a bootstrap 95% interval that resamples features."""
    numbers = list(values)
    return difference_score(numbers, [0.0] * len(numbers), name)


def difference_score(a: Sequence[float], b: Sequence[float], name: str) -> Score:
    """Return the mean of a − b over features that have both, with a bootstrap 95% interval that resamples features."""
    found = paired_difference(a, b, generator(0, "report", name), n_bootstrap=1000)
    if found.n_pairs == 0:
        return Score.undefined("no feature has it")
    if found.n_pairs == 1:
        return Score(found.mean)
    return Score(found.mean, found.ci_low, found.ci_high)


def _means(name: str, rows: Sequence[FeatureRow], source: str) -> GroupMeans:
    explained = [row for row in rows if row.status == "explained" and source in row.scores]
    values = [float(row.score(source)) for row in explained]
    lookup = [float(row.floor("token_lookup", source)) for row in explained]
    shuffled = [float(row.floor("shuffled", source)) for row in explained]
    undefined = sum(row.score(source).value is None for row in explained)
    return GroupMeans(
        name=name,
        explanation=mean_score(values, "explanation"),
        token_lookup=mean_score(lookup, "token_lookup"),
        shuffled=mean_score(shuffled, "shuffled"),
        gain=difference_score(values, lookup, "gain"),
        n=len(explained) - undefined,
        undefined=undefined,
    )
