"""The command `figures`, and the original's programs that draw."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Annotated

import typer

from featureinterp.analysis.read_experiment import ReadExperiment, read_experiment
from featureinterp.cli.group import errors_printed
from featureinterp.cli.screen import tell, tell_error


def figures(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Experiment directory, such as results/complementary.")],
    out: Annotated[
        Path | None, typer.Option(help="Parent of the folders `figures` and `tables` (default: RUN).")
    ] = None,
    latex: Annotated[bool, typer.Option("--latex", help="Render text with LaTeX (must be installed).")] = False,
) -> None:
    """Draw an experiment's figures (PDF and PNG, page and column width) and LaTeX tables."""
    draw_and_print(read_experiment(run), out or run, latex)


def draw_and_print(read: ReadExperiment, out: Path, latex: bool = False) -> None:
    """Draw an experiment, and print the files and what is missing."""
    from featureinterp.report.figures.files import draw_experiment

    drawn = draw_experiment(read, out / "figures", out / "tables", latex)
    for path in (*(figure.path.with_suffix(".pdf") for figure in drawn.figures), *drawn.tables):
        tell(path)
    if not drawn.figures:
        tell("There is nothing to draw yet.")
    for message in drawn.missing:
        tell_error(f"Missing: {message}")


def run_figures_program(description: str | None, results: Path) -> None:
    """Run one of the original's figure programs on an experiment (default: in `results`)."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--results", type=Path, default=results, help="experiment directory")
    parser.add_argument("--out", type=Path, help="output directory (default: that of the experiment)")
    parser.add_argument("--latex", action="store_true", help="render text with LaTeX (must be installed)")
    given = parser.parse_args()
    with errors_printed("error"):
        draw_and_print(read_experiment(given.results), given.out or given.results, given.latex)
