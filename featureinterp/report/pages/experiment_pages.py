"""Static pages of an experiment: figures, findings, runs and features.

    index.html    figures/    tables/    runs/{subject}_{variant}/index.html and the pages of its features

Like the pages of a run they work from `file://`, fetch nothing, and escape every name. Each result is decoded once: the
pages of its run are written from it while it is read into frames, and all else is made from the frames.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from featureinterp.analysis.findings import findings
from featureinterp.analysis.frames import RunReader
from featureinterp.analysis.means import score_by_variant
from featureinterp.analysis.read_experiment import ReadExperiment, experiment_name, experiments_of
from featureinterp.analysis.runs import RunInfo, open_runs, run_labels
from featureinterp.core import Score
from featureinterp.experiment.result import FeatureKey
from featureinterp.experiment.store import RunStore
from featureinterp.files import atomic_write
from featureinterp.record import MAIN_SOURCE
from featureinterp.report.figures.files import DrawnExperiment, draw_experiment, file_names
from featureinterp.report.pages.markdown_html import markdown_html
from featureinterp.report.pages.run_pages import asset_bytes, file_name, make_environment, write_run

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class RunPages:
    """A run and the place of its pages."""

    head: RunInfo
    folder: str
    """Relative to the experiment's page."""
    pages: Mapping[FeatureKey, str]
    """Names of the features' pages, without folder and suffix."""
    score: Score
    """Mean test score of its explained features."""

    def link(self, key: FeatureKey) -> str | None:
        """Return the link to a feature's page; None if the run has not finished it."""
        return f"{self.folder}/features/{self.pages[key]}.html" if key in self.pages else None


@dataclass(frozen=True)
class FeatureLink:
    """One feature in one run."""

    href: str | None
    """None if it is not finished."""
    words: str
    """Its test score or status."""


@dataclass(frozen=True)
class LayerLinks:
    """The features of a layer."""

    layer: int
    rows: Sequence[tuple[int, Sequence[FeatureLink]]]
    """For each latent, a link for each run of the subject."""


def write_experiment(folder: Path, out: Path) -> Path:
    """Write the pages of an experiment and of all its runs; the overview is written last.

    Args:
        folder: of the experiment, with a run in each `{subject}/{variant}`.
        out: folder to write to, made if missing; files of an earlier report are replaced.

    Returns:
        The path of the overview.

    Raises:
        InputError: if the runs are of no experiment, or of several; if its figures or sections cannot be imported.
        DataFolderError: if there is no run, or one cannot be read.
        StorageError: if a file cannot be written.
    """
    experiment_name(folder)
    reader = RunReader()
    places = list(_write_runs(folder, out, reader))
    (read,) = experiments_of(reader)
    runs = list(_with_scores(read, places))
    drawn = _draw(read, out)
    environment = make_environment()
    atomic_write(out / "report.css", asset_bytes(environment, "report.css"))
    page = environment.get_template("experiment.html.j2").render(
        title=read.experiment.title,
        experiment=read.experiment.name,
        figures=_figures(drawn, out),
        tables=[path.relative_to(out).as_posix() for path in drawn.tables],
        missing=drawn.missing,
        found=markdown_html(findings([read]).partition("\n")[2], top=2),
        runs=runs,
        subjects=[(name, own, _layers(own, read.scores)) for name, own in _by_subject(runs)],
    )
    atomic_write(out / "index.html", page.encode())
    return out / "index.html"


def _write_runs(folder: Path, out: Path, reader: RunReader) -> Iterator[tuple[str, dict[FeatureKey, str]]]:
    """Write the pages of every run while it is read; yield its folder and the names of its features' pages."""
    labels = [run_labels(store) for store in open_runs(folder)]
    names = file_names([f"{each['subject']}_{each['variant']}" for each in labels])
    for store, own, name in zip(open_runs(folder), labels, names, strict=True):
        place = f"runs/{name}"
        write_run(store, out / place, title=f"{own['variant']}, {own['subject']}", results=reader.results(store))
        yield place, _page_names(store)


def _draw(read: ReadExperiment, out: Path) -> DrawnExperiment:
    """Draw the figures and tables that the experiment declares."""
    if not read.experiment.figures:
        return DrawnExperiment((), (), tuple(read.missing()))
    return draw_experiment(read, out / "figures", out / "tables")


def _page_names(store: RunStore) -> dict[FeatureKey, str]:
    taken: set[str] = set()
    in_order = sorted(store.finished(), key=lambda key: (key.layer, key.latent, key.hook_name))
    return {key: file_name(key, taken) for key in in_order}


def _with_scores(read: ReadExperiment, places: Sequence[tuple[str, dict[FeatureKey, str]]]) -> Iterator[RunPages]:
    means = score_by_variant(read.scores, level=0.95).set_index(["subject", "variant"])
    for run, (place, pages) in zip(read.runs, places, strict=True):
        yield RunPages(run, place, pages, _mean(means, run))


def _mean(means: DataFrame, head: RunInfo) -> Score:
    place = head.subject, head.variant
    if place not in means.index or not means.loc[place]["n"]:
        return Score.undefined("no feature has a score")
    mean = means.loc[place]
    low, high = mean["ci_low"], mean["ci_high"]
    return Score(float(mean["mean"]), float(low), float(high)) if low == low else Score(float(mean["mean"]))


def _figures(drawn: DrawnExperiment, out: Path) -> list[dict[str, object]]:
    """Return figures with their files relative to the page; narrow screens show the one at column width."""
    found = []
    for figure in drawn.figures:
        name = figure.path.relative_to(out).with_suffix("").as_posix()
        files = {"png": f"{name}.png", "pdf": f"{name}.pdf"}
        files |= {"column_png": f"{name}_column.png", "column_pdf": f"{name}_column.pdf"}
        sizes = {"size": png_size(out / files["png"]), "column_size": png_size(out / files["column_png"])}
        found.append({"title": figure.title, "alt": figure.alt, **files, **sizes})
    return found


def png_size(path: Path) -> tuple[int, int]:
    """Return width and height of a PNG in pixels; with them the page does not move while pictures load."""
    with path.open("rb") as file:
        head = file.read(24)
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")


def _by_subject(runs: Sequence[RunPages]) -> list[tuple[str, list[RunPages]]]:
    names = dict.fromkeys(run.head.subject for run in runs)
    return [(name, [run for run in runs if run.head.subject == name]) for name in names]


def _layers(runs: Sequence[RunPages], scores: DataFrame) -> list[LayerLinks]:
    """Return links to all features of a subject by layer."""
    words = _words(scores.loc[(scores["subject"] == runs[0].head.subject) & (scores["source"] == MAIN_SOURCE)])
    keys = sorted({key for run in runs for key in run.pages}, key=lambda key: (key.layer, key.latent, key.hook_name))
    return [
        LayerLinks(
            layer,
            [
                (
                    key.latent,
                    [FeatureLink(run.link(key), words.get((run.head.variant, key), "not finished")) for run in runs],
                )
                for key in keys
                if key.layer == layer
            ],
        )
        for layer in dict.fromkeys(key.layer for key in keys)
    ]


def _words(rows: DataFrame) -> dict[tuple[str, FeatureKey], str]:
    """Return each feature's test score or status, by variant and feature."""
    found = {}
    for row in rows.to_dict("records"):
        key = FeatureKey(row["hook_name"], row["layer"], row["latent"])
        score = row["correlation"]
        shown = f"{score:.2f}".replace("-", "−") if score == score else "undefined"
        found[row["variant"], key] = shown if row["status"] == "explained" else row["status"]
    return found
