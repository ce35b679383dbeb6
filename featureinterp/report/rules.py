"""What each rule of an explanation adds, ready to be drawn: claims, the score without it, what it alone explains."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from featureinterp.core import Rule, Score
from featureinterp.experiment.result import FeatureResult

TokenClaims = Mapping[int, Mapping[int, tuple[int, ...]]]
"""By the number of a window and the position of a token: the numbers of the rules that claim the token."""


@dataclass(frozen=True)
class RuleView:
    """One rule with what it adds."""

    number: int
    """0 is the first."""
    rule: Rule
    n_claimed: int
    """Tokens it claims in the test windows, each window once."""
    n_active: int
    """Those of them on which the feature is active."""
    n_windows: int
    """Windows with a token that it claims."""
    without: Mapping[str, Score]
    """Correlation of the explanation without it, by source."""
    lost: Mapping[str, Score]
    """How much correlation goes with it, by source."""
    alone: tuple[int, ...]
    """Windows that it alone explains."""


def rule_views(result: FeatureResult) -> list[RuleView]:
    """Return the rules with what each adds; none where that was not measured."""
    if result.explanation is None or len(result.contributions) != len(result.explanation.rules):
        return []
    records = {pair.record.dataset_index: pair.record for pair in result.test_sequences}
    views = []
    for number, (rule, added) in enumerate(zip(result.explanation.rules, result.contributions, strict=True)):
        claimed = [
            records[window].expressions[at]
            for window, places in added.claims.items()
            if window in records
            for at in places
        ]
        views.append(
            RuleView(
                number, rule, len(claimed), sum(value > 0 for value in claimed), len(added.claims), added.without,
                added.lost, tuple(window for window in added.alone if window in records),
            )
        )  # fmt: skip
    return views


def token_claims(result: FeatureResult) -> TokenClaims:
    """Return which rules claim each token of the test windows."""
    claims: defaultdict[int, defaultdict[int, tuple[int, ...]]] = defaultdict(lambda: defaultdict(tuple))
    for number, added in enumerate(result.contributions):
        for window, places in added.claims.items():
            for place in places:
                claims[window][place] += (number,)
    return claims
