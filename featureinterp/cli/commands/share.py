"""The command `share`."""

from __future__ import annotations

from typing import Annotated

import typer

from featureinterp.cli import options
from featureinterp.cli.screen import tell


def share(
    data: options.DataArgument,
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
