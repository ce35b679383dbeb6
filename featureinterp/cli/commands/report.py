"""The command `report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from featureinterp.cli import options
from featureinterp.cli.pages import write_pages
from featureinterp.cli.screen import tell


def report(
    run: options.RunArgument,
    out: Annotated[Path | None, typer.Option(help="Output directory (default: RUN/report).")] = None,
    beside: Annotated[
        Path | None, typer.Option(help="Another run over the same features, shown with the paired difference.")
    ] = None,
) -> None:
    """Write a self-contained report of a run or an experiment that opens from disk."""
    tell(f"The page: {write_pages(run, out or run / 'report', beside)}")
