"""Analysis of finished runs: tables, means with intervals, paired comparisons, findings in words."""
