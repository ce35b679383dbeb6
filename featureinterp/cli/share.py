"""Commands `share` and `import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from featureinterp.cli import options
from featureinterp.cli.group import app
from featureinterp.cli.screen import tell

_LEFT_OUT = "would be in two splits or on which a positive is silent"


@app.command()
def share(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Data folder, such as data/python-docs_embedded.")],
    download: Annotated[
        bool, typer.Option("--download", help="Download the folder by its name instead of uploading it.")
    ] = False,
) -> None:
    """Upload a data folder to Weights & Biases as an artifact of type dataset, or download it.

    Project and account are W&B's settings: WANDB_PROJECT, WANDB_ENTITY, WANDB_API_KEY, WANDB_MODE=offline.
    """
    from featureinterp.dataset import share

    if download:
        share.download(data)
        tell(f"The data folder: {data}")
    else:
        tell(f"The artifact: {share.upload(data)}")


@app.command("import")
def import_(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="Folder of the original (records/, tokens.pt, dense activations), results of delphi (latents/), "
            "or OpenAI's NeuronRecords: a file, or a folder with {layer}/{neuron}.json.",
        ),
    ],
    out: Annotated[Path | None, typer.Option(help="Data folder to make (default: data/NAME-imported).")] = None,
    embedder: options.EmbedderName = "all-MiniLM-L6-v2",
) -> None:
    """Convert another tool's data into a data folder; the format is detected."""
    from featureinterp.cli.console import open_console
    from featureinterp.cli.progress import Stages, quiet_libraries
    from featureinterp.dataset.spec import DataSpec
    from featureinterp.files import real_path
    from featureinterp.interop.importing import import_data

    folder = out or Path("data") / f"{real_path(source).name}-imported"
    quiet_libraries()
    with Stages(open_console()) as stages:
        found = import_data(source, folder, DataSpec(embedder=embedder), stages)
    tell(
        f"The data folder: {folder}; {found.latents} latents on {found.hooks} hooks, {found.windows} windows"
        + (f"; {found.left_out} records left out, whose windows {_LEFT_OUT}" if found.left_out else "")
    )
