"""Statistics: scores of tokens, their intervals, tests of hypotheses, seeds.

`sums` and `ranking` hold the formulas of scores, `jackknife` and `intervals` the intervals of one feature's scores,
`means` and `trends` what is computed over features, `components` how scores vary over repeated runs. Numpy and scipy's
special functions alone; a number that does not exist is NaN.
"""

from featureinterp.stats.components import VarianceComponents, mean_ranks, spearman, variance_components
from featureinterp.stats.intervals import (
    binomial_interval,
    correlation_interval,
    difference_interval,
    effective_number,
    explained_interval,
    jackknife_interval,
    rate_interval,
    share_interval,
    t_quantile,
)
from featureinterp.stats.jackknife import jackknife_variance, leave_one_out_weights
from featureinterp.stats.levels import expectation_over_levels
from featureinterp.stats.means import (
    PairedDifference,
    detectable_difference,
    holm,
    mean_interval,
    paired_difference,
    sign_flip_p_value,
    skew_corrected_t,
)
from featureinterp.stats.ranking import RankedTokens, auroc, average_precision, ranked_tokens
from featureinterp.stats.seeds import derived_seed, generator
from featureinterp.stats.sums import (
    Floats,
    TokenSums,
    absolute_deviation_explained,
    correlation,
    f1,
    iou,
    pearson,
    precision,
    r_squared,
    recall,
    token_sums,
)
from featureinterp.stats.trends import rank_correlation_interval, trend_p_value

__all__ = [
    "Floats",
    "PairedDifference",
    "RankedTokens",
    "TokenSums",
    "VarianceComponents",
    "absolute_deviation_explained",
    "auroc",
    "average_precision",
    "binomial_interval",
    "correlation",
    "correlation_interval",
    "derived_seed",
    "detectable_difference",
    "difference_interval",
    "jackknife_interval",
    "effective_number",
    "expectation_over_levels",
    "explained_interval",
    "f1",
    "generator",
    "holm",
    "iou",
    "jackknife_variance",
    "leave_one_out_weights",
    "mean_interval",
    "mean_ranks",
    "paired_difference",
    "pearson",
    "precision",
    "r_squared",
    "rank_correlation_interval",
    "ranked_tokens",
    "rate_interval",
    "recall",
    "share_interval",
    "sign_flip_p_value",
    "skew_corrected_t",
    "spearman",
    "t_quantile",
    "token_sums",
    "trend_p_value",
    "variance_components",
]
