"""The command `explain`."""

from __future__ import annotations

from pathlib import Path

from featureinterp.cli import options
from featureinterp.cli.running import run_and_print
from featureinterp.cli.screen import tell
from featureinterp.dataset.folder import DataFolder
from featureinterp.experiment.explain import FeatureChoice, RunSpec


def explain(
    data: options.DataArgument,
    choice: FeatureChoice,
    spec: RunSpec,
    out: options.RunOut = Path("runs/explain"),
) -> None:
    """Explain features from their records and test the explanations: one row per feature in RUN/run.sqlite."""
    run_and_print(DataFolder.open(data), out, choice, spec)
    tell(f"The run: {out}; look at it with `featureinterp results {out}` or `featureinterp report {out}`")
