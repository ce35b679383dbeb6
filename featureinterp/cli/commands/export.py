"""The command `export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from featureinterp.cli.screen import tell
from featureinterp.registry import Registry, make

if TYPE_CHECKING:
    from featureinterp.experiment.store import RunStore

EXPORTERS = Registry(
    "export format",
    {
        "neuronpedia": "featureinterp.interop.neuronpedia:write_neuronpedia",
        "openai": "featureinterp.interop.openai.exporting:write_openai",
        "json": "featureinterp.cli.commands.export:write_json",
    },
)
"""Formats, called as `f(store, out)`; they return how many features were written."""


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory, such as runs/demo.")],
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            help="Output format. neuronpedia: folder for Neuronpedia's bulk import; "
            "openai: NeuronRecords and scored explanations; "
            "json: one file per feature with all stored results.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Output directory (new or empty).")],
    creator: Annotated[
        str | None,
        typer.Option(help="Id of the Neuronpedia account that owns the rows (default: that of a fresh installation)."),
    ] = None,
) -> None:
    """Write a run's finished features in the format of another tool."""
    from featureinterp.errors import InputError
    from featureinterp.experiment.store import RunStore

    EXPORTERS.check(format_)
    if creator is not None and format_ != "neuronpedia":
        raise InputError("--creator is for Neuronpedia alone", "leave it out, or give --format neuronpedia")
    with RunStore.open(run) as store:
        n = make(EXPORTERS.load(format_), store, out, **({} if creator is None else {"creator": creator}))
    tell(f"The export: {out}; features: {n}")


def write_json(store: RunStore, out: Path) -> int:
    """Write a file for every finished feature, as beside the report's pages, and return how many."""
    from featureinterp.files import atomic_folder
    from featureinterp.report.pages.run_pages import feature_json, file_name

    taken: set[str] = set()
    with atomic_folder(out) as folder:
        for result in store.results():
            (folder / f"{file_name(result.key, taken)}.json").write_bytes(feature_json(result))
    return len(taken)
