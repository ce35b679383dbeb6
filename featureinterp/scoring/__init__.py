"""Scores of explanations, baselines, and feedback.

`simulate_and_score` does all of it: simulate the records, compare with the truth, add the intervals.
"""

from featureinterp.scoring.baselines import (
    BackOffSimulator,
    ConstantZeroSimulator,
    TokenLookupSimulator,
    best_table,
    fit_tables,
    n_quoted_strings,
    pick_other,
)
from featureinterp.scoring.custom import score_with
from featureinterp.scoring.difference import correlation_difference, differences_by_source
from featureinterp.scoring.leave_one_out import feedback, scores_without_each, worst_records
from featureinterp.scoring.simulation import (
    quick_score,
    score_by_source,
    score_sequences,
    score_simulations,
    simulate_and_score,
    simulate_records,
    standard_errors,
)

__all__ = [
    "BackOffSimulator",
    "ConstantZeroSimulator",
    "TokenLookupSimulator",
    "best_table",
    "correlation_difference",
    "differences_by_source",
    "feedback",
    "fit_tables",
    "n_quoted_strings",
    "pick_other",
    "quick_score",
    "score_by_source",
    "score_sequences",
    "score_simulations",
    "score_with",
    "scores_without_each",
    "simulate_and_score",
    "simulate_records",
    "standard_errors",
    "worst_records",
]
