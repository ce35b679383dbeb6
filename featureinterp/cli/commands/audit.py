"""The command `audit`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from featureinterp.cli import options
from featureinterp.cli.console import open_console
from featureinterp.cli.fields import only
from featureinterp.cli.progress import Stages
from featureinterp.cli.screen import stdout_takes_unicode, tell
from featureinterp.errors import InputError
from featureinterp.experiment.method.access import ModelAccess
from featureinterp.files import atomic_write

Format = Literal["json", "table"]


def audit(
    run: options.RunArgument,
    access: Annotated[ModelAccess, only("device")],
    data: Annotated[Path | None, typer.Option(help="Data folder (default: that of the run).")] = None,
    format_: Annotated[Format, typer.Option("--format", help="Output format: table or JSON.")] = "table",
    out: Annotated[Path | None, typer.Option(help="Output file (JSON).")] = None,
) -> None:
    """Audit a run: scores of corrupted explanations; leaks, duplicates, missing and undefined results.

    A simulator behind an endpoint gives cached answers only. Without the data folder, the corpus is left out.
    """
    from featureinterp.analysis.audit.run import audit_run
    from featureinterp.analysis.rows import json_lines
    from featureinterp.report.audit_view import audit_view

    if format_ == "table":
        if out is not None:
            raise InputError("a table is for the terminal", "give --format json with --out")
        console = open_console()
        with Stages(console) as progress:
            found = audit_run(run, data, access.device, lambda done, total: progress("features", done, total))
        console.print(audit_view(found))
        return
    found = audit_run(run, data, access.device, lambda _done, _total: None)
    [line] = json_lines([asdict(found)], ascii_only=out is None and not stdout_takes_unicode())
    if out is None:
        tell(line)
    else:
        atomic_write(out, f"{line}\n".encode(errors="backslashreplace"))
