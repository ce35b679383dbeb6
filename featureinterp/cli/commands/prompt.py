"""The command `prompt`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from featureinterp.cli import options
from featureinterp.cli.fields import only
from featureinterp.cli.screen import tell
from featureinterp.dataset.folder import DataFolder
from featureinterp.experiment.method.spec import MethodSpec
from featureinterp.experiment.prompt import find_attempt, find_record, prompt_text
from featureinterp.experiment.run import FeatureRunParams
from featureinterp.experiment.store import RunStore


def prompt(
    data: options.DataArgument,
    layer: options.LayerArgument,
    latent: options.LatentArgument,
    method: Annotated[MethodSpec, only("structured", "holistic", "rule_cap")],
    records: FeatureRunParams,
    run: Annotated[
        Path | None, typer.Option(help="Run over DATA, to print the prompt that revises an attempt.")
    ] = None,
    attempt: Annotated[int, typer.Option(min=0, help="Number of the attempt of RUN to revise.")] = 0,
) -> None:
    """Print the prompt a language model would get for a feature: for an explanation, or for a revision."""
    record = find_record(DataFolder.open(data), layer, latent)
    revised = None
    if run is not None:
        with RunStore.open(run) as store:
            revised = find_attempt(store.find(layer, latent), attempt)
    tell(prompt_text(record, records, method.shared_params(), revised))
