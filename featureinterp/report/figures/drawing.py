"""Inputs and outputs of figures: an experiment's frames, and drawings with alt text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from featureinterp.record import MAIN_SOURCE

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


@dataclass(frozen=True)
class Frames:
    """An experiment as data frames; their columns are those of `experiment.frames`."""

    scores: DataFrame
    """A row for each run, feature and complementary source."""
    attempts: DataFrame
    """A row for each run, feature and attempt."""
    runs: DataFrame
    """A row for each run: how many features it is to hold, and what became of them."""

    @property
    def subjects(self) -> list[str]:
        """Names of the subject models' data folders, in order."""
        return sorted(set(self.runs["subject"]))

    @property
    def judged(self) -> DataFrame:
        """One row for each feature of each run: that of the source by which it is judged first."""
        return self.scores.loc[self.scores["source"] == MAIN_SOURCE]

    @property
    def layers(self) -> list[int]:
        """Layers of the features, in order."""
        return sorted(set(self.scores["layer"]))

    def of(self, subject: str, variant: str | None = None) -> Frames:
        """Return the frames of one subject or variant."""

        def cut(frame: DataFrame) -> DataFrame:
            of_subject = frame.loc[frame["subject"] == subject]
            return of_subject if variant is None else of_subject.loc[of_subject["variant"] == variant]

        return replace(self, **{name: cut(frame) for name, frame in vars(self).items()})

    def variants(self, known: Sequence[str]) -> list[str]:
        """Return the variants that have explained features, the known ones first in their order."""
        return in_order(self.scores.loc[self.scores["status"] == "explained", "variant"], known)

    def missing(self, wanted: Sequence[str]) -> list[str]:
        """Describe the missing results.

        Args:
            wanted: variants that every subject should have.
        """
        return [message for subject in self.subjects for message in self.of(subject)._missing(subject, wanted)]

    def _missing(self, subject: str, wanted: Sequence[str]) -> Iterator[str]:
        there = set(self.runs["variant"])
        if absent := [name for name in wanted if name not in there]:
            yield f"{subject} has no run of {', '.join(absent)}"
        for run in self.runs.to_dict("records"):
            asked, finished = run["asked"], run["finished"]
            if not asked:
                yield f"{subject}, {run['variant']}: no feature is begun"
            elif finished < asked:
                yield f"{subject}, {run['variant']}: {asked - finished} of {asked} features are not finished"
            elif not run["explained"]:
                yield f"{subject}, {run['variant']}: none of {asked} features has an explanation"


@dataclass(frozen=True)
class Drawing:
    """One figure with title and alt text."""

    name: str
    """Of its files, without ending."""
    title: str
    alt: str
    """What it shows, for who cannot see it."""
    figure: Figure


def of_subject(drawing: Drawing, subject: str, frames: Frames) -> Drawing:
    """Name the subject in a drawing's name and title, where the experiment has several."""
    if len(frames.subjects) == 1:
        return drawing
    return replace(drawing, name=f"{drawing.name}_{subject}", title=f"{drawing.title}: {subject}")


def in_order(names: Iterable[str], known: Sequence[str]) -> list[str]:
    """Return each name once: the known ones in their order, then the others by the alphabet.

    >>> in_order(["b", "tree", "a", "tree"], ["one-shot", "tree"])
    ['tree', 'a', 'b']
    """
    there = set(names)
    return [name for name in known if name in there] + sorted(there - set(known))
