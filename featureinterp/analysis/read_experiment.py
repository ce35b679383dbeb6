"""Experiments read once: declaration, runs and data frames, from which findings, figures and pages are made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from featureinterp.analysis.frames import RunReader
from featureinterp.analysis.runs import RunInfo, open_runs, run_labels
from featureinterp.errors import InputError
from featureinterp.experiment.paper.declaration import Experiment
from featureinterp.experiment.paper.experiments import experiment_of_runs
from featureinterp.record import MAIN_SOURCE


@dataclass(frozen=True)
class ReadExperiment:
    """An experiment and its runs; columns of the frames as `read_scores` and `read_attempts` of `analysis.frames`."""

    experiment: Experiment
    runs: tuple[RunInfo, ...]
    """In the order of their paths."""
    scores: pd.DataFrame
    """A row for each run, feature and complementary source."""
    attempts: pd.DataFrame
    """A row for each run, feature and attempt."""

    @property
    def subjects(self) -> list[str]:
        """Names of the subject models' data folders, in order."""
        return sorted({run.subject for run in self.runs})

    @property
    def judged(self) -> pd.DataFrame:
        """One row for each feature of each run, on the main source."""
        return self.scores.loc[self.scores["source"] == MAIN_SOURCE]

    @property
    def layers(self) -> list[int]:
        """Layers of the features, in order."""
        return sorted(set(self.scores["layer"]))

    def of(self, subject: str, variant: str | None = None) -> ReadExperiment:
        """Return the part of one subject, or of one of its variants."""

        def cut(frame: pd.DataFrame) -> pd.DataFrame:
            of_subject = frame.loc[frame["subject"] == subject]
            return of_subject if variant is None else of_subject.loc[of_subject["variant"] == variant]

        runs = tuple(run for run in self.runs if run.subject == subject and variant in (None, run.variant))
        return replace(self, runs=runs, scores=cut(self.scores), attempts=cut(self.attempts))

    def variants(self) -> list[str]:
        """Return the variants that have explained features, the declared ones first in their order."""
        return in_order(self.scores.loc[self.scores["status"] == "explained", "variant"], self._declared)

    def missing(self) -> list[str]:
        """Describe the missing results, by subject: declared variants without a run, and unfinished runs."""
        return [message for subject in self.subjects for message in self.of(subject)._missing(subject)]

    @property
    def _declared(self) -> list[str]:
        return [variant.name for variant in self.experiment.variants]

    def _missing(self, subject: str) -> Iterator[str]:
        present = {run.variant for run in self.runs}
        if absent := [name for name in self._declared if name not in present]:
            yield f"{subject} has no run of {', '.join(absent)}"
        for run in self.runs:
            asked, finished = run.counts["asked"], run.counts["finished"]
            if not asked:
                yield f"{subject}, {run.variant}: no feature is begun"
            elif finished < asked:
                yield f"{subject}, {run.variant}: {asked - finished} of {asked} features are not finished"
            elif not run.counts["explained"]:
                yield f"{subject}, {run.variant}: none of {asked} features has an explanation"


def read_experiments(path: Path, declared: Sequence[Experiment] = ()) -> list[ReadExperiment]:
    """Read every run in or below a folder, each result once.

    Args:
        path: a run's folder, or any folder above runs.
        declared: experiments besides the registered ones.

    Returns:
        The experiments of the runs, in the order of their first run; runs of no experiment are one of empty name.

    Raises:
        DataFolderError: if there is no run, or one cannot be read.
        InputError: if a registered experiment cannot be imported.
    """
    return experiments_of(RunReader.of(path), declared)


def read_experiment(path: Path) -> ReadExperiment:
    """Read the one experiment of a folder, each result once.

    Raises:
        DataFolderError: if there is no run, or one cannot be read.
        InputError: if the runs are of no experiment, or of several.
    """
    experiment_name(path)
    (read,) = read_experiments(path)
    return read


def experiments_of(reader: RunReader, declared: Sequence[Experiment] = ()) -> list[ReadExperiment]:
    """Return the experiments of the runs that a reader has read; arguments and errors as `read_experiments`."""
    known = {experiment.name: experiment for experiment in declared}
    scores, attempts = reader.scores(), reader.attempts()
    return [
        ReadExperiment(
            experiment=known.get(name) or experiment_of_runs(name),
            runs=tuple(run for run in reader.runs if run.experiment == name),
            scores=scores.loc[scores["experiment"] == name],
            attempts=attempts.loc[attempts["experiment"] == name],
        )
        for name in dict.fromkeys(run.experiment for run in reader.runs)
    ]


def experiment_name(path: Path) -> str:
    """Return the name of the one experiment of a folder's runs. Decodes no result.

    Raises:
        DataFolderError: if there is no run, or one cannot be read.
        InputError: if the runs are of no experiment, or of several.
    """
    names = sorted({run_labels(store)["experiment"] for store in open_runs(path)})
    if len(names) > 1:
        raise InputError(f"{path} has runs of several experiments: {', '.join(names)}", "name the folder of one")
    if not names[0]:
        hint = "name the folder of an experiment; `featureinterp report` makes a page of any run"
        raise InputError(f"the runs in {path} are of no experiment", hint)
    return names[0]


def in_order(names: Iterable[str], known: Sequence[str]) -> list[str]:
    """Return each name once: the known ones in their order, then the others by the alphabet.

    >>> in_order(["b", "tree", "a", "tree"], ["one-shot", "tree"])
    ['tree', 'a', 'b']
    """
    present = set(names)
    return [name for name in known if name in present] + sorted(present - set(known))
