"""Pages of a run or an experiment, as `report` and `demo` write them."""

from __future__ import annotations

import json
from pathlib import Path

from featureinterp.analysis.runs import run_summary
from featureinterp.errors import InputError
from featureinterp.experiment.configuration import differences
from featureinterp.experiment.store import FILE_NAME, RunStore
from featureinterp.report.pages.compared_run import ComparedRun
from featureinterp.report.pages.experiment_pages import write_experiment
from featureinterp.report.pages.run_pages import write_run


def write_pages(run: Path, out: Path, beside: Path | None = None) -> Path:
    """Write the report of a run or an experiment, and return the path of its index page.

    Args:
        run: directory of the run or the experiment.
        out: directory of the pages.
        beside: another run to compare with.

    Raises:
        DataFolderError: if there is no run.
        InputError: if the other run has other records, or the first is an experiment; if the runs of a directory
            belong to no experiment, or to several.
        StorageError: if a file cannot be written.
    """
    if not (run / FILE_NAME).is_file() and any(run.rglob(FILE_NAME)):
        if beside is not None:
            raise InputError(f"{run} holds several runs, and only a single run can be compared", "name one of its runs")
        return write_experiment(run, out).resolve()
    with RunStore.open(run) as store:
        if beside is None:
            return write_run(store, out).resolve()
        with RunStore.open(beside) as other:
            _check_same_records(store, other)
            compared = ComparedRun(run_summary(other, damaged=()).title, other.readable)
            return write_run(store, out, compared).resolve()


def _check_same_records(store: RunStore, other: RunStore) -> None:
    ours, theirs = (json.loads(each.about()["configuration"])["data"] for each in (store, other))
    found = ", ".join(differences(theirs, ours))
    if found:
        raise InputError(
            f"{other.path.parent} and {store.path.parent} have different records: {found}",
            "explain both from one data folder",
        )
