"""Drawings: a figure with its title and alt text."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from featureinterp.analysis.read_experiment import ReadExperiment

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Drawing:
    """One figure with title and alt text."""

    name: str
    """Name of its files, without suffix."""
    title: str
    alt: str
    """Alt text."""
    figure: Figure


def of_subject(drawing: Drawing, subject: str, read: ReadExperiment) -> Drawing:
    """Name the subject in a drawing's name and title, where the experiment has several."""
    if len(read.subjects) == 1:
        return drawing
    return replace(drawing, name=f"{drawing.name}_{subject}", title=f"{drawing.title}: {subject}")
