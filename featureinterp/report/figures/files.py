"""An experiment's figures as files: each as PDF and PNG, across a page and for one of its columns, and its tables."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from featureinterp.analysis.read_experiment import ReadExperiment
from featureinterp.errors import InputError
from featureinterp.files import atomic_write
from featureinterp.registry import imported
from featureinterp.report.figures.drawing import Drawing
from featureinterp.report.figures.style import WIDTHS, file_bytes, style


@dataclass(frozen=True)
class FigureFile:
    """A figure on disk."""

    path: Path
    """PNG at page width; the PDF has the suffix `.pdf`, and files at column width have `_column` before the suffix."""
    title: str
    alt: str


@dataclass(frozen=True)
class DrawnExperiment:
    """Drawn figures and tables of an experiment."""

    figures: tuple[FigureFile, ...]
    tables: tuple[Path, ...]
    missing: tuple[str, ...]
    """Missing results, in words."""


def draw_experiment(read: ReadExperiment, figures: Path, tables: Path, latex: bool = False) -> DrawnExperiment:
    """Draw an experiment from its runs, with a note on missing results.

    Args:
        read: the experiment.
        figures: folder of the figures, made if missing.
        tables: folder of the LaTeX tables, made if missing.
        latex: whether LaTeX sets the text of the figures.

    Raises:
        InputError: if the experiment has no figures, or they cannot be imported; if `latex` needs LaTeX installed.
        StorageError: if a file cannot be written.
    """
    experiment = read.experiment
    if not experiment.figures:
        hint = "give Experiment(figures=...) a function that draws; `featureinterp report` makes a page of any run"
        raise InputError(f"the experiment {experiment.name!r} has no figures", hint)
    draw = imported(experiment.figures, f"figures {experiment.figures} of experiment {experiment.name}")
    drawn: list[FigureFile] = []
    with style(latex):
        for width in WIDTHS:
            for drawing in _with_own_names(draw(read, width)):
                path = figures / f"{drawing.name}{'' if width == 'full' else '_column'}.png"
                atomic_write(path, file_bytes(drawing.figure, "png"))
                atomic_write(path.with_suffix(".pdf"), file_bytes(drawing.figure, "pdf"))
                if width == "full":
                    drawn.append(FigureFile(path, drawing.title, drawing.alt))
    made: list[Path] = []
    if experiment.table and drawn:
        table = imported(experiment.table, f"table {experiment.table} of experiment {experiment.name}")
        made.append(tables / f"{file_names([experiment.name])[0]}.tex")
        atomic_write(made[0], table(read).encode())
    return DrawnExperiment(tuple(drawn), tuple(made), tuple(read.missing()))


def file_names(names: Sequence[str]) -> list[str]:
    """Return distinct file names: characters that a file name cannot have are replaced, equal names get numbers.

    >>> file_names(["a/b", "a b", "c_d"])
    ['a-b_1', 'a-b_2', 'c_d']
    """
    safe = [re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip(".-") or "unnamed" for name in names]
    seen: Counter[str] = Counter()
    numbered = []
    for name in safe:
        seen[name] += 1
        numbered.append(f"{name}_{seen[name]}" if safe.count(name) > 1 else name)
    return numbered


def _with_own_names(drawings: Sequence[Drawing]) -> list[Drawing]:
    """Give drawings distinct file names."""
    names = file_names([drawing.name for drawing in drawings])
    return [replace(drawing, name=name) for drawing, name in zip(drawings, names, strict=True)]
