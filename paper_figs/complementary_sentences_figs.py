"""Figure 3: explanations against each complementary source, and one-shot against tree."""

from __future__ import annotations

from pathlib import Path

from featureinterp.cli.commands.figures import run_figures_program

if __name__ == "__main__":
    run_figures_program(__doc__, Path("results/complementary"))
