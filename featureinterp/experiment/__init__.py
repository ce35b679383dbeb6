"""Runs: explanation of one feature or many (resumable), and the run store."""
