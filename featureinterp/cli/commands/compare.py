"""The command `compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from featureinterp.analysis.run_pair import compare_runs
from featureinterp.cli.console import open_console
from featureinterp.report.terminal import comparison_view


def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="Directory of a run or an experiment.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Directory of another one over the same features.")],
) -> None:
    """Compare two runs or experiments feature by feature: differences with intervals, settings that differ."""
    open_console().print(comparison_view(compare_runs(a, b)))
