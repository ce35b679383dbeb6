"""Hostile inputs for every reader of outside data; `benchmarks/hostile_inputs.py` runs them."""
