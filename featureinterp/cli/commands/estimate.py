"""The command `estimate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from featureinterp.cli import options
from featureinterp.cli.console import open_console
from featureinterp.cli.fields import only
from featureinterp.cli.progress import STAGE_WORDS, quiet_libraries
from featureinterp.dataset.spec import DataSpec, StageChoice
from featureinterp.experiment.method.access import ModelAccess
from featureinterp.experiment.paper.presets import PresetChoice, with_preset

if TYPE_CHECKING:
    from featureinterp.dataset.estimate import Estimate


def estimate(
    ctx: typer.Context,
    spec: DataSpec,
    stages: StageChoice,
    paper: PresetChoice,
    access: Annotated[ModelAccess, only("device")],
    out: options.DataOut = Path("data"),
) -> None:
    """Predict the cost of `records` with the same options: passes, operations, bytes, hours on this device.

    The model is loaded and a few windows are measured; nothing is written.
    """
    from featureinterp.dataset.estimate import estimate as predict
    from featureinterp.dataset.prepare import subject_of

    del out  # accepted so that a command of `records` can be repeated as it is
    spec = with_preset(spec, paper.preset, options.typed(ctx))
    quiet_libraries()
    found = predict(spec, stages.names, subject_of(spec, access.device))
    console = open_console()
    console.print(cost_table(found))
    most = "at most " if found.is_bound else ""
    console.print(f"{most}{found.sequences:,} sequences, {found.latents:,} latents; on {found.device}")
    console.print(f"memory: about {size(found.memory_bytes)}; measured in {found.probe_seconds:.1f} s")


def cost_table(found: Estimate) -> Table:
    """Return a table of the stages and their sum."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("stage")
    for name in ("passes", "tokens", "FLOPs", "disk", "hours"):
        table.add_column(name, justify="right")
    for cost in (*found.stages, found.total):
        numbers = (f"{cost.passes:,}", f"{cost.tokens:,}", f"{cost.flops:.2e}", size(cost.disk_bytes))
        table.add_row(STAGE_WORDS.get(cost.stage, cost.stage), *numbers, f"{cost.seconds / 3600:.3f}")
    return table


def size(n_bytes: float) -> str:
    """Return a number of bytes in the largest suitable unit.

    >>> size(5), size(2_500_000)
    ('5 B', '2.5 MB')
    """
    for unit, many in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= many:
            return f"{n_bytes / many:.1f} {unit}"
    return f"{n_bytes:.0f} B"
