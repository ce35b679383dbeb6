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
    host: Annotated[str, typer.Option(help="Address to listen on; a non-loopback address requires a token.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on (0: any free port).")] = 8000,
    data: Annotated[Path | None, typer.Option(help="Data folder (default: that of the run).")] = None,
    device: options.Device = "auto",
    token: Annotated[
        str | None, typer.Option(help="Access token required in the URL; generated when --host is not loopback.")
    ] = None,
    max_cost: options.MaxCost = None,
    max_tokens: options.MaxTokens = None,
    request_timeout: options.RequestTimeout = 300.0,
) -> None:
    """Serve a run's report with a bench: run sentences through its features, edit explanations.

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
