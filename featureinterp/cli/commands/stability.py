"""The command `stability`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from featureinterp.analysis.stability import read_stability
from featureinterp.cli import options
from featureinterp.cli.console import open_console
from featureinterp.cli.progress import Features, quiet_libraries
from featureinterp.cli.screen import tell
from featureinterp.dataset.folder import DataFolder
from featureinterp.experiment.explain import FeatureChoice, RunSpec
from featureinterp.experiment.stability import StabilitySpec, repetitions, run_repetitions
from featureinterp.report.stability_table import stability_view


def stability(
    data: options.DataArgument,
    varied: StabilitySpec,
    choice: FeatureChoice,
    spec: RunSpec,
    out: Annotated[Path | None, typer.Option(help="Directory of the runs, resumed (default: DATA/stability).")] = None,
) -> None:
    """Measure how scores vary over repeated runs: records drawn again, proposals sampled again, other simulators.

    Prints variance components, rank correlations of features, and how many test sentences a score needs.
    """
    folder, out = DataFolder.open(data), out or data / "stability"
    runs = repetitions(folder, spec, varied)
    quiet_libraries()
    with Features(open_console()) as features:
        run_repetitions(folder, out, choice, runs, options.command_line(), features)
    open_console().print(stability_view(read_stability(out, runs)))
    tell(f"The runs: {out}; look at one with `featureinterp results {out / runs[0].name}`")
