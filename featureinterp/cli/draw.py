"""The command `figures`: an experiment's figures and tables as files for a paper."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from featureinterp.cli.group import app


@app.command()
def figures(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of an experiment, such as results/complementary.")],
    out: Annotated[
        Path | None, typer.Option(help="Where folders `figures` and `tables` are made; RUN unless given.")
    ] = None,
    latex: Annotated[bool, typer.Option("--latex", help="Set the text with LaTeX, which has to be installed.")] = False,
) -> None:
    """Draw an experiment for a paper: PDF and PNG across a page and for a column, and tables; from its runs alone."""
    draw_and_tell(run, out or run, latex)


def draw_and_tell(run: Path, out: Path, latex: bool = False) -> None:
    """Draw an experiment, and print what was made and what is missing."""
    from featureinterp.report.figures.files import draw_experiment

    drawn = draw_experiment(run, out / "figures", out / "tables", latex)
    for path in (*(figure.path.with_suffix(".pdf") for figure in drawn.figures), *drawn.tables):
        typer.echo(path)
    if not drawn.figures:
        typer.echo("There is nothing to draw yet.")
    for message in drawn.missing:
        typer.echo(f"Missing: {message}", err=True)
