"""Audit of a finished run: corrupted explanations, and what is wrong with the run itself."""
