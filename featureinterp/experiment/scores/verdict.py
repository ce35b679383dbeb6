"""Verdict on an explanation in words: whether it beats the best table on the corpus."""

from __future__ import annotations

from featureinterp.experiment.result import FeatureResult

BEATS = "beats its baselines"
NO_BETTER = "no better than a token table"
WORSE = "worse"
UNTESTED = "untested"
VERDICTS = (BEATS, NO_BETTER, WORSE, UNTESTED)
NOT_MEASURED = "it was not scored on the corpus"


def verdict(result: FeatureResult) -> str:
    """Return the verdict on a feature's explanation.

    The margin is the correlation on the corpus minus that of the best fitted table.

    Returns:
        `beats its baselines` where the margin's 95% interval lies above 0, `worse` where it lies below, `no better than
        a token table` where it holds 0; `untested (why)` where there is no margin or it has no interval.
    """
    if result.explanation is None:
        return f"{UNTESTED} ({result.reason or result.status})"
    if result.corpus is None:
        return f"{UNTESTED} ({NOT_MEASURED})"
    margin = result.corpus.margin
    if margin.value is None:
        return f"{UNTESTED} ({margin.reason})"
    if margin.ci_low is None or margin.ci_high is None:
        return f"{UNTESTED} (too few sentences for an interval)"
    if margin.ci_low > 0:
        return BEATS
    return WORSE if margin.ci_high < 0 else NO_BETTER


def short_verdict(result: FeatureResult) -> str:
    """Return the verdict without the reason of an untested one: one of `VERDICTS`."""
    words = verdict(result)
    return words if words in VERDICTS else UNTESTED
