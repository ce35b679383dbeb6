"""The command `export`: a run in the format of another tool."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from featureinterp.cli.group import app
from featureinterp.cli.screen import tell

if TYPE_CHECKING:
    from featureinterp.experiment.store import RunStore


class ExportFormat(str, Enum):
    """What a run is written as."""

    NEURONPEDIA = "neuronpedia"
    OPENAI = "openai"
    JSON = "json"


@app.command()
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory, such as runs/demo.")],
    format_: Annotated[
        ExportFormat,
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
    from featureinterp.interop.neuronpedia import DEFAULT_CREATOR, write_neuronpedia
    from featureinterp.interop.openai.exporting import write_openai

    if creator is not None and format_ is not ExportFormat.NEURONPEDIA:
        raise InputError("--creator is for Neuronpedia alone", "leave it out, or give --format neuronpedia")
    with RunStore.open(run) as store:
        if format_ is ExportFormat.NEURONPEDIA:
            n = write_neuronpedia(store, out, creator or DEFAULT_CREATOR)
        elif format_ is ExportFormat.OPENAI:
            n = write_openai(store, out)
        else:
            n = _write_json(store, out)
    tell(f"The export: {out}; features: {n}")


def _write_json(store: RunStore, out: Path) -> int:
    from featureinterp.files import atomic_folder
    from featureinterp.report.pages.run_pages import feature_json, file_name

    taken: set[str] = set()
    with atomic_folder(out) as folder:
        for result in store.results():
            (folder / f"{file_name(result.key, taken)}.json").write_bytes(feature_json(result))
    return len(taken)
