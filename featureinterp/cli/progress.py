"""Progress bars: stages with rate and time left, and features."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Task as RichTask
from rich.text import Text

from featureinterp.chat import Usage
from featureinterp.display import visible

if TYPE_CHECKING:
    from featureinterp.experiment.result import FeatureResult

STAGE_WORDS = {
    "tokens": "cutting the corpus into windows",
    "sae_acts": "activations",
    "similarity_retriever": "sentence embeddings",
    "holistic_acts": "holistic activations",
}


UNITS = {"sae_acts": "tokens"}
"""What a stage counts, where it is not windows, sentences or latents."""


class _Rate(TextColumn):
    """Items per second."""

    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: RichTask) -> Text:
        """Render the recent rate, else the overall one."""
        speed = task.finished_speed or task.speed
        unit = f" {task.fields['unit']}" if task.fields.get("unit") else ""
        return Text(f"{speed:,.0f}{unit}/s" if speed else "", style="dim")


def _bars(console: Console, *more: ProgressColumn) -> Progress:
    """Return bars with count, rate, time left and extra columns."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        *more,
        console=console,
    )


class Stages:
    """Bars for the stages of a preparation; a callback(stage, done, total)."""

    def __init__(self, console: Console) -> None:
        self._progress = _bars(console)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Stages:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Update a stage's bar."""
        if stage not in self._tasks:
            words = STAGE_WORDS.get(stage, stage)
            self._tasks[stage] = self._progress.add_task(words, total=total, unit=UNITS.get(stage, ""))
        self._progress.update(self._tasks[stage], completed=done, total=total)


class Features:
    """Bar over the features of an experiment, with language model costs; called with each result."""

    def __init__(self, console: Console) -> None:
        self._progress = _bars(console, TextColumn("{task.fields[cost]}", markup=False))
        self._task = self._progress.add_task("features", total=None, unit="", cost="")
        self._usage = Usage()

    def __enter__(self) -> Features:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, run: str, result: FeatureResult, done: int, total: int) -> None:
        """Update the bar with a finished feature."""
        self._usage += result.usage
        cost = f"${self._usage.cost:.2f}" if self._usage.cost else ""
        self._progress.update(self._task, description=visible(run), completed=done, total=total, cost=cost)


def quiet_libraries() -> None:
    """Disable the progress bars of libraries."""
    from transformers.utils import logging

    logging.disable_progress_bar()
