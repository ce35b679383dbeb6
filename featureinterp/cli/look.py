"""Read-only commands: `results`, `compare`, `show`, `prompt`, `report`, `doctor`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from featureinterp.cli import options
from featureinterp.cli.group import app
from featureinterp.cli.screen import stdout_takes_unicode, tell
from featureinterp.errors import InputError

if TYPE_CHECKING:
    from featureinterp.experiment.store import RunStore

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Run directory, such as runs/demo.")]


class Format(str, Enum):
    """Output format of `results`."""

    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"
    SUMMARY = "summary"
    TABLE = "table"


@app.command()
def results(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Directory of a run or an experiment.")],
    format_: Annotated[
        Format,
        typer.Option("--format", help="Output format: table, CSV, Parquet, JSONL, or a written summary."),
    ] = Format.TABLE,
    out: Annotated[Path | None, typer.Option(help="Output file (all formats but table).")] = None,
) -> None:
    """Print per-feature results of one or more runs, ordered by layer and latent."""
    from featureinterp.analysis.rows import csv_lines, json_lines, result_rows, write_parquet

    if format_ is Format.TABLE:
        if out is not None:
            raise InputError("a table is for the terminal", "give --format csv, jsonl or parquet with --out")
        _print_tables(run)
    elif format_ is Format.PARQUET:
        if out is None:
            raise InputError("Parquet is no text to print", "give --out FILE")
        write_parquet(result_rows(run), out)
    elif format_ is Format.SUMMARY:
        from featureinterp.analysis.findings import findings

        _write_lines(findings(run).splitlines(), out)
    elif format_ is Format.JSONL:
        _write_lines(json_lines(result_rows(run), ascii_only=out is None and not stdout_takes_unicode()), out)
    else:
        _write_lines(csv_lines(result_rows(run)), out)


def _print_tables(path: Path) -> None:
    from rich.text import Text

    from featureinterp.analysis.runs import open_runs, run_info
    from featureinterp.cli.console import open_console
    from featureinterp.display import visible
    from featureinterp.report.terminal import feature_table

    console = open_console()
    for store in open_runs(path):
        if store.path.parent != path:
            console.print(Text(visible(" ".join(filter(None, run_info(store).labels.values()))), style="bold"))
        console.print(feature_table(store.results()))


def _write_lines(lines: Iterable[str], out: Path | None) -> None:
    if out is None:
        for line in lines:
            tell(line)
        return
    from featureinterp.files import atomic_path

    with (
        atomic_path(out) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        file.writelines(f"{line}\n" for line in lines)


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="Directory of a run or an experiment.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Directory of another one over the same features.")],
) -> None:
    """Compare two runs or experiments feature by feature: differences with intervals, settings that differ."""
    from featureinterp.analysis.run_pair import compare_runs
    from featureinterp.cli.console import open_console
    from featureinterp.report.terminal import comparison_view

    open_console().print(comparison_view(compare_runs(a, b)))


@app.command()
def show(
    run: RunFolder,
    layer: Annotated[int, typer.Argument(metavar="LAYER", help="Layer of the feature.")],
    latent: Annotated[int, typer.Argument(metavar="LATENT", help="Index of the feature in its SAE.")],
) -> None:
    """Show one feature: rules, scores, baselines, and sentences token by token."""
    from featureinterp.cli.console import open_console
    from featureinterp.experiment.store import RunStore
    from featureinterp.report.terminal import feature_view

    with RunStore.open(run) as store:
        open_console().print(feature_view(store.find(layer, latent)))


@app.command()
def prompt(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Data folder, such as data/python-docs_embedded.")],
    layer: Annotated[int, typer.Argument(metavar="LAYER", help="Layer of the feature.")],
    latent: Annotated[int, typer.Argument(metavar="LATENT", help="Index of the feature in its SAE.")],
    structured: options.Structured = True,
    holistic: options.Holistic = False,
    rule_cap: options.RuleCap = 5,
    train_negatives: options.TrainNegatives = True,
    positives: options.Positives = 30,
    negatives: options.Negatives = 30,
    run: Annotated[
        Path | None, typer.Option(help="Run over DATA, to print the prompt that revises an attempt.")
    ] = None,
    attempt: Annotated[int, typer.Option(min=0, help="Number of the attempt of RUN to revise.")] = 0,
) -> None:
    """Print the prompt a language model would get for a feature: for an explanation, or for a revision."""
    from featureinterp.dataset.folder import DataFolder
    from featureinterp.experiment.prompt import find_attempt, find_record, prompt_text
    from featureinterp.experiment.store import RunStore
    from featureinterp.explainer.params import OneShotExplainerParams

    records = options.records_per_split(positives, negatives, train_negatives)
    params = OneShotExplainerParams(rule_cap, holistic, structured)
    record = find_record(DataFolder.open(data), layer, latent)
    revised = None
    if run is not None:
        with RunStore.open(run) as store:
            revised = find_attempt(store.find(layer, latent), attempt)
    tell(prompt_text(record, records, params, revised))


@app.command()
def report(
    run: RunFolder,
    out: Annotated[Path | None, typer.Option(help="Output directory (default: RUN/report).")] = None,
    beside: Annotated[
        Path | None, typer.Option(help="Another run over the same features, shown with the paired difference.")
    ] = None,
) -> None:
    """Write a self-contained report of a run or an experiment that opens from disk."""
    tell(f"The page: {write_pages(run, out or run / 'report', beside)}")


@app.command()
def doctor(device: options.Device = "auto") -> None:
    """Print versions and the device, and measure the embedded model and its SAEs (about a minute).

    Exit code 1 if a figure is not what was promised.
    """
    from featureinterp.cli.console import open_console
    from featureinterp.cli.doctor import figure_table, where_it_runs
    from featureinterp.experiment.doctor import check_embedded

    console = open_console()
    console.print(where_it_runs(device))
    figures = check_embedded(device)
    console.print(figure_table(figures))
    if not all(figure.holds for figure in figures):
        raise typer.Exit(1)


def write_pages(run: Path, out: Path, beside: Path | None = None) -> Path:
    """Write the report of a run or an experiment, and return the path of its index page.

    Args:
        run: the folder.
        out: where pages go.
        beside: another run, to stand beside the first.

    Raises:
        DataFolderError: if there is no run.
        InputError: if the other run was made from other records, or is to stand beside a whole experiment; if runs
            below the folder are of no experiment, or of several.
        StorageError: if a file cannot be written.
    """
    from featureinterp.analysis.runs import run_summary
    from featureinterp.experiment.store import FILE_NAME, RunStore
    from featureinterp.report.pages.compared_run import ComparedRun
    from featureinterp.report.pages.experiment_pages import write_experiment
    from featureinterp.report.pages.run_pages import write_report

    if not (run / FILE_NAME).is_file() and any(run.rglob(FILE_NAME)):
        if beside is not None:
            raise InputError(f"{run} is a folder of runs, and nothing can stand beside it", "name one of its runs")
        return write_experiment(run, out).resolve()
    with RunStore.open(run) as store:
        if beside is None:
            return write_report(store.results(), run_summary(store), out).resolve()
        with RunStore.open(beside) as other:
            _check_same_records(store, other)
            stands_beside = ComparedRun(run_summary(other).title, other.readable)
            return write_report(store.results(), run_summary(store), out, stands_beside).resolve()


def _check_same_records(store: RunStore, other: RunStore) -> None:
    from featureinterp.experiment.configuration import differences

    ours, theirs = (json.loads(each.about()["configuration"])["data"] for each in (store, other))
    told = ", ".join(differences(theirs, ours))
    if told:
        raise InputError(
            f"{other.path.parent} was made from other records than {store.path.parent}: {told}",
            "explain both from one data folder",
        )
