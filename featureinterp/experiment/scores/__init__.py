"""Scores of an explanation: against baselines, on the corpus and rule by rule, with a verdict in words."""
