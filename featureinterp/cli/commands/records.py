"""The command `records`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from featureinterp.cli import options
from featureinterp.cli.console import open_console
from featureinterp.cli.fields import only
from featureinterp.cli.progress import Stages, quiet_libraries
from featureinterp.cli.screen import tell
from featureinterp.dataset.folder import DataFolder
from featureinterp.dataset.spec import DataSpec, StageChoice
from featureinterp.experiment.method.access import ModelAccess
from featureinterp.experiment.paper.presets import PresetChoice, with_preset


def records(
    ctx: typer.Context,
    spec: DataSpec,
    stages: StageChoice,
    paper: PresetChoice,
    access: Annotated[ModelAccess, only("device")],
    out: options.DataOut = Path("data"),
) -> None:
    """Make a data folder: windows, activations, and records of each latent.

    Without --write-sae-acts, --write-holistic-acts or --write-records, activations and records are made.

    Holistic activations take a forward pass per token.
    """
    from featureinterp.dataset.prepare import prepare

    spec = with_preset(spec, paper.preset, options.typed(ctx))
    quiet_libraries()
    with Stages(open_console()) as progress:
        folder = prepare(spec, out, stages=stages.names, on_progress=progress, device=access.device)
    _print_recall(folder)
    tell(f"The data folder: {folder.path}")


def _print_recall(folder: DataFolder) -> None:
    recall = folder.index_recall()
    if recall is not None:
        found = f"{100 * recall.mean:.1f}% of the first {recall.first} similar sentences"
        tell(f"The approximate index finds {found}, {100 * recall.least:.1f}% at least; {recall.latents} latents")
