"""Figures of experiments, drawn from their runs alone. matplotlib is imported only while something is drawn."""
