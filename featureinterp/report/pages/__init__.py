"""HTML pages of runs and experiments."""
