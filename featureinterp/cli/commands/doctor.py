"""The command `doctor`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from featureinterp.cli.console import open_console
from featureinterp.cli.fields import only
from featureinterp.dataset.manifest import current_versions
from featureinterp.experiment.method.access import ModelAccess
from featureinterp.subject.embedded import card

if TYPE_CHECKING:
    from featureinterp.experiment.doctor import Figure


def doctor(access: Annotated[ModelAccess, only("device")]) -> None:
    """Print versions and the device, and measure the embedded model and its SAEs (about a minute).

    Scores of the release are printed beside those of the same architecture with random weights.

    Exit code 1 if a figure misses its target.
    """
    from featureinterp.experiment.doctor import check_embedded

    console = open_console()
    console.print(environment_table(access.device))
    figures = check_embedded(access.device)
    console.print(figure_table(figures))
    if control := card().get("control"):
        console.print(control_table(control))
    if not all(figure.holds for figure in figures):
        raise typer.Exit(1)


def environment_table(device: str) -> Table:
    """Return a table of the versions that affect the numbers, and the device."""
    from featureinterp.subject.precision import resolve_device

    table = Table(box=None, show_header=False, pad_edge=False)
    for name, version in {**current_versions(), "device": resolve_device(device)}.items():
        table.add_row(name, version)
    return table


def figure_table(figures: Sequence[Figure]) -> Table:
    """Return a table of figures: measured, released, target, and whether the target is met."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("figure")
    for name in ("measured", "released", "promised"):
        table.add_column(name, justify="right")
    table.add_column("")
    for figure in figures:
        mark = Text("ok", style="green") if figure.holds else Text("not kept", style="bold red")
        table.add_row(figure.name, _number(figure.measured), _number(figure.released), _promise(figure), mark)
    return table


def control_table(control: Mapping[str, Any]) -> Table:
    """Return a table of scores at the release: the embedded model, the same with random weights, and the difference.

    Args:
        control: of the card, as `training/random_control.py` writes it.
    """
    title = f"lexical explanations of layer {control['layer']}"
    table = Table(title=title, box=None, pad_edge=False, header_style="bold", title_justify="left")
    table.add_column("score at the release")
    for name in ("embedded", "random weights", "lift over random"):
        table.add_column(name, justify="right")
    for name, found in control["scores"].items():
        means = [f"{found[subject]['mean']:.3f}" for subject in ("embedded", "random weights")]
        lift, low, high = found["lift"]
        table.add_row(name, *means, f"{lift:+.3f} [{low:+.3f}, {high:+.3f}]")
    return table


def _promise(figure: Figure) -> str:
    bounds = ((figure.at_least, "at least"), (figure.at_most, "at most"))
    return ", ".join(f"{words} {bound:g}" for bound, words in bounds if bound is not None)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
