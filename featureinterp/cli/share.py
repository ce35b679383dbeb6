"""Commands that bring data folders from one place to another: `share`, `import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from featureinterp.cli.group import app


@app.command()
def share(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A data folder, such as data/python-docs_embedded.")],
    download: Annotated[bool, typer.Option("--download", help="Fetch it, by its name, instead of sending it.")] = False,
) -> None:
    """Send a data folder to Weights & Biases as an artifact of type dataset, or fetch it.

    Project and account are W&B's settings: WANDB_PROJECT, WANDB_ENTITY, WANDB_API_KEY, WANDB_MODE=offline.
    """
    from featureinterp.dataset import share

    if download:
        share.download(data)
        typer.echo(f"The data folder: {data}")
    else:
        typer.echo(f"The artifact: {share.upload(data)}")


@app.command("import")
def import_(
    original: Annotated[
        Path,
        typer.Argument(metavar="ORIGINAL", help="A folder of the original: records/, tokens.pt, dense activations."),
    ],
    out: Annotated[Path | None, typer.Option(help="The data folder; data/NAME-imported unless given.")] = None,
) -> None:
    """Turn a data folder of the original system into one of ours, for `featureinterp explain`."""
    from featureinterp.dataset.original import import_original

    folder = out or Path("data") / f"{original.resolve().name}-imported"
    found = import_original(original, folder)
    typer.echo(
        f"The data folder: {folder}; {found.latents} latents on {found.hooks} hooks, {found.windows} windows; "
        f"{found.left_out} records left out, whose windows would be in two splits or on which a positive is silent"
    )
