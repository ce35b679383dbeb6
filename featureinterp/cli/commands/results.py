"""The command `results`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.text import Text

from featureinterp.analysis.rows import csv_lines, json_lines, result_rows, write_parquet
from featureinterp.analysis.runs import open_runs, run_info
from featureinterp.cli.console import open_console
from featureinterp.cli.screen import stdout_takes_unicode, tell
from featureinterp.display import visible
from featureinterp.errors import InputError
from featureinterp.experiment.result import SIMULATOR_WARNING
from featureinterp.files import atomic_path
from featureinterp.report.terminal import feature_table

Format = Literal["jsonl", "csv", "parquet", "summary", "table"]


def results(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Directory of a run or an experiment.")],
    format_: Annotated[
        Format,
        typer.Option("--format", help="Output format: table, CSV, Parquet, JSONL, or a written summary."),
    ] = "table",
    out: Annotated[Path | None, typer.Option(help="Output file (all formats but table).")] = None,
) -> None:
    """Print per-feature results of one or more runs, ordered by layer and latent."""
    if format_ == "table":
        if out is not None:
            raise InputError("a table is for the terminal", "give --format csv, jsonl or parquet with --out")
        _print_tables(run)
    elif format_ == "parquet":
        if out is None:
            raise InputError("Parquet is a binary format", "give --out FILE")
        write_parquet(result_rows(run), out)
    else:
        _write_lines(_lines(run, format_, out), out)


def _lines(run: Path, format_: Format, out: Path | None) -> Iterable[str]:
    if format_ == "summary":
        from featureinterp.analysis.findings import findings
        from featureinterp.analysis.read_experiment import read_experiments

        return findings(read_experiments(run)).splitlines()
    if format_ == "jsonl":
        return json_lines(result_rows(run), ascii_only=out is None and not stdout_takes_unicode())
    return csv_lines(result_rows(run))


def _print_tables(path: Path) -> None:
    console = open_console()
    for store in open_runs(path):
        if store.path.parent != path:
            console.print(Text(visible(" ".join(filter(None, run_info(store).labels.values()))), style="bold"))
        console.print(feature_table(store.results(), store.about().get(SIMULATOR_WARNING, "")))


def _write_lines(lines: Iterable[str], out: Path | None) -> None:
    if out is None:
        for line in lines:
            tell(line)
        return
    with (
        atomic_path(out) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        file.writelines(f"{line}\n" for line in lines)
