"""The command `import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from featureinterp.cli.console import open_console
from featureinterp.cli.fields import only
from featureinterp.cli.progress import Stages, quiet_libraries
from featureinterp.cli.screen import tell
from featureinterp.dataset.spec import DataSpec
from featureinterp.files import real_path

_LEFT_OUT = "would be in two splits or on which a positive is silent"


def import_(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="Folder of the original (records/, tokens.pt, dense activations), results of delphi (latents/), "
            "or OpenAI's NeuronRecords: a file, or a folder with {layer}/{neuron}.json.",
        ),
    ],
    spec: Annotated[DataSpec, only("embedder")],
    out: Annotated[Path | None, typer.Option(help="Data folder to make (default: data/NAME-imported).")] = None,
) -> None:
    """Convert another tool's data into a data folder; the format is detected."""
    from featureinterp.interop.importing import import_data

    folder = out or Path("data") / f"{real_path(source).name}-imported"
    quiet_libraries()
    with Stages(open_console()) as stages:
        found = import_data(source, folder, spec, stages)
    tell(
        f"The data folder: {folder}; {found.latents} latents on {found.hooks} hooks, {found.windows} windows"
        + (f"; {found.left_out} records left out, whose windows {_LEFT_OUT}" if found.left_out else "")
    )
