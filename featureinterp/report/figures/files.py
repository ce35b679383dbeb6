"""An experiment's figures as files: each as PDF and PNG, across a page and for one of its columns, and its tables."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from featureinterp.errors import InputError
from featureinterp.files import atomic_write
from featureinterp.report.figures import complementary, explainers, layers, polysemanticity
from featureinterp.report.figures.drawing import Drawing, Frames
from featureinterp.report.figures.style import WIDTHS, Width, file_bytes, style


class Plan(NamedTuple):
    """Drawing functions of an experiment."""

    variants: Sequence[str]
    """What every subject should have."""
    draw: Callable[[Frames, Width], list[Drawing]]
    table: Callable[[Frames], str] | None = None


PLANS: dict[str, Plan] = {
    "complementary": Plan(complementary.VARIANTS, complementary.draw),
    "explainers": Plan(explainers.VARIANTS, explainers.draw, explainers.table),
    "polysemanticity": Plan(polysemanticity.VARIANTS, polysemanticity.draw),
    "layers": Plan(layers.VARIANTS, layers.draw),
}
"""By the experiment's name."""


@dataclass(frozen=True)
class FigureFile:
    """A figure on disk."""

    path: Path
    """Of the PNG across a page; the PDF has the same name, and `_column` in it where it is for a column."""
    title: str
    alt: str


@dataclass(frozen=True)
class DrawnExperiment:
    """Drawn figures and tables of an experiment."""

    experiment: str
    figures: tuple[FigureFile, ...]
    tables: tuple[Path, ...]
    missing: tuple[str, ...]
    """What the experiment still waits for, in words."""


def draw_experiment(
    folder: Path, figures: Path | None = None, tables: Path | None = None, latex: bool = False
) -> DrawnExperiment:
    """Draw an experiment from its runs, with a note on missing results.

    Args:
        folder: of the experiment, with a run in each `{subject}/{variant}`.
        figures: where figures go; `folder/figures` unless given.
        tables: where tables go; `folder/tables` unless given.
        latex: whether LaTeX sets the text of the figures.

    Raises:
        InputError: if the runs are of no experiment, or of several; if LaTeX is asked for and not installed.
        DataFolderError: if there is no run, or one cannot be read.
        StorageError: if a file cannot be written.
    """
    frames = read_frames(folder)
    name = experiment_of(frames, folder)
    plan = PLANS[name]
    figures, tables = figures or folder / "figures", tables or folder / "tables"
    drawn: list[FigureFile] = []
    with style(latex):
        for width in WIDTHS:
            for drawing in _with_own_names(plan.draw(frames, width)):
                path = figures / f"{drawing.name}{'' if width == 'full' else '_column'}.png"
                atomic_write(path, file_bytes(drawing.figure, "png"))
                atomic_write(path.with_suffix(".pdf"), file_bytes(drawing.figure, "pdf"))
                if width == "full":
                    drawn.append(FigureFile(path, drawing.title, drawing.alt))
    made: list[Path] = []
    if plan.table is not None and drawn:
        made.append(tables / f"{name}.tex")
        atomic_write(made[0], plan.table(frames).encode())
    return DrawnExperiment(name, tuple(drawn), tuple(made), tuple(frames.missing(plan.variants)))


def read_frames(folder: Path) -> Frames:
    """Read all runs in a folder.

    Raises:
        DataFolderError: if there is none, or one cannot be read.
    """
    from featureinterp.analysis.frames import read_attempts, read_missing, read_scores

    return Frames(read_scores(folder), read_attempts(folder), read_missing(folder))


def experiment_of(frames: Frames, folder: Path) -> str:
    """Return the experiment of a folder's runs.

    Raises:
        InputError: if it is none that can be drawn, or more than one.
    """
    names = sorted(set(frames.runs["experiment"]))
    if len(names) > 1:
        raise InputError(f"{folder} has runs of several experiments: {', '.join(names)}", "name the folder of one")
    if names[0] not in PLANS:
        what = f"the experiment {names[0]!r}" if names[0] else "no experiment"
        hint = f"there are figures of {', '.join(PLANS)}; `featureinterp report` makes a page of any run"
        raise InputError(f"the runs in {folder} are of {what}", hint)
    return names[0]


def file_names(names: Sequence[str]) -> list[str]:
    """Return names that can name files, none twice: those that would be the same get numbers.

    >>> file_names(["a/b", "a b", "c_d"])
    ['a-b_1', 'a-b_2', 'c_d']
    """
    safe = [re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip(".-") or "unnamed" for name in names]
    seen: Counter[str] = Counter()
    told_apart = []
    for name in safe:
        seen[name] += 1
        told_apart.append(f"{name}_{seen[name]}" if safe.count(name) > 1 else name)
    return told_apart


def _with_own_names(drawings: Sequence[Drawing]) -> list[Drawing]:
    """Give drawings names that can name files."""
    names = file_names([drawing.name for drawing in drawings])
    return [replace(drawing, name=name) for drawing, name in zip(drawings, names, strict=True)]
