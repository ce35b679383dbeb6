"""Runs: one feature from start to end, many of them resumably, and where their results are kept."""
