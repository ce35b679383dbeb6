"""Figure 5: how many rules features need, from results of `scripts/polysemanticity_sweep.py`."""

from __future__ import annotations

from pathlib import Path

from featureinterp.cli.commands.figures import run_figures_program

if __name__ == "__main__":
    run_figures_program(__doc__, Path("results/polysemanticity"))
