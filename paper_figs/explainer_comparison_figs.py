"""Figure 4 and its table: the explainer comparison, from results of `scripts/explainer_comparison.py`."""

from __future__ import annotations

from pathlib import Path

from featureinterp.cli.commands.figures import run_figures_program

if __name__ == "__main__":
    run_figures_program(__doc__, Path("results/explainers"))
