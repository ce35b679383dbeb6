"""Comparisons and trends as sentences of Markdown."""

from __future__ import annotations

import numpy as np

from featureinterp.analysis.comparisons import Comparison
from featureinterp.analysis.markdown import number, p_value, plain, with_interval
from featureinterp.analysis.trends import DepthTrend


def sentence(comparison: Comparison, with_subject: bool = False) -> str:
    """Return a comparison as a sentence: difference, interval, exclusions, the paper's claim."""
    question, found = comparison.question, comparison.difference
    a, b = plain(question.a.name), plain(question.b.name)
    begin = f"{plain(comparison.subject)}, {question.measure}" if with_subject else question.measure.capitalize()
    without = _left_out(found.n_undefined, comparison.n_failed, comparison.n_unpaired)
    if found.n_pairs == 0:
        return f"{begin}: {a} and {b} cannot be compared: no feature has both{without}."
    if comparison.n_left_out:
        without += (
            f"; difference {number(comparison.mean_with_zeros)} with 0 for a missing side, "
            f"{number(comparison.mean_with_ties)} with the other side's value"
        )
    difference = with_interval(found.mean, found.ci_low, found.ci_high)
    numbers = f"{number(comparison.mean_a)} against {number(comparison.mean_b)}, difference {difference}"
    strength = f"n = {found.n_pairs}, d = {number(found.effect_size, 2)}, {_p_values(comparison)}"
    detectable = f"; detectable {number(found.detectable)}"
    is_ = (
        f"{a} is **{comparison.verdict}** than {b}"
        if comparison.verdict
        else f"no significant difference between {a} and {b}"
    )
    return f"{begin}: {is_}, {numbers} ({strength}{detectable}{without}).{_against_the_paper(comparison)}"


def trend_sentence(found: DepthTrend, with_subject: bool = False) -> str:
    """Return a trend as a sentence: rank correlation with the layer, interval, exclusions."""
    measure, name = found.trend.measure, plain(found.trend.side.name)
    begin = f"{plain(found.subject)}, {measure} by layer" if with_subject else f"{measure.capitalize()} by layer"
    without = _left_out(found.n_undefined, found.n_failed)
    if np.isnan(found.rank_correlation):
        return f"{begin}: {name} has no trend: all features have the same value or layer{without}."
    numbers = with_interval(found.rank_correlation, found.ci_low, found.ci_high)
    is_ = f"{name} **{found.verdict}** with depth" if found.verdict else f"no significant trend of {name}"
    return f"{begin}: {is_}, rank correlation {numbers} (n = {found.n}, {_p_values(found)}{without})."


def _p_values(tested: Comparison | DepthTrend) -> str:
    return f"{p_value(tested.p)}, corrected {p_value(tested.corrected_p)}"


def _left_out(n_undefined: int, n_failed: int, n_unpaired: int = 0) -> str:
    reasons = (
        (n_undefined, "undefined"),
        (n_failed, "without explanation"),
        (n_unpaired, "finished on one side only"),
    )
    left_out = [f"{n} {why}" for n, why in reasons if n]
    return f"; left out: {', '.join(left_out)}" if left_out else ""


def _against_the_paper(comparison: Comparison) -> str:
    claim = comparison.question.claim
    if not claim:
        return ""
    if comparison.verdict == claim:
        return " As in the paper."
    seen = "is not confirmed" if not comparison.verdict else "is contradicted"
    return f" The paper's claim, {claim}, {seen}."
