"""The command that serves a run as pages on which its features can be questioned: `serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from featureinterp.cli import options
from featureinterp.cli.group import app
from featureinterp.cli.look import RunFolder
from featureinterp.cli.screen import tell


@app.command()
def serve(
    run: RunFolder,
    host: Annotated[str, typer.Option(help="Address to listen on; any but this machine's own asks for a token.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any that is free.")] = 8000,
    data: Annotated[Path | None, typer.Option(help="The data folder; the one that the run names unless given.")] = None,
    device: options.Device = "auto",
    token: Annotated[
        str | None, typer.Option(help="What the address must hold; made up where other machines can reach it.")
    ] = None,
    max_cost: options.MaxCost = None,
    max_tokens: options.MaxTokens = None,
    request_timeout: options.RequestTimeout = 300.0,
) -> None:
    """Serve a run's pages with a bench: try sentences on its features, and edit their explanations.

    The answers come from the model and the SAEs of the run's data folder, and from the run's own simulator. One that is
    a language model behind an endpoint is asked only where --max-cost or --max-tokens says how much it may take.
    """
    from featureinterp.cli.progress import quiet_libraries
    from featureinterp.llm.api.spending import RunLimits
    from featureinterp.report.server.serving import ServeSpec
    from featureinterp.report.server.serving import serve as serve_run

    quiet_libraries()
    limits = None if max_cost is None and max_tokens is None else RunLimits(max_cost, max_tokens)
    serve_run(ServeSpec(run, data, host, port, device, token, limits, request_timeout), tell)
