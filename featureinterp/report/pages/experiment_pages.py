"""Static pages of an experiment: figures, findings, runs and features.

    index.html    figures/    tables/    runs/{subject}_{variant}/index.html and the pages of its features

What holds for the pages of a run holds here: they work from `file://`, nothing is fetched from elsewhere, and every
name is text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from featureinterp.analysis.findings import findings
from featureinterp.analysis.means import score_by_variant
from featureinterp.analysis.runs import RunInfo, open_runs, run_info, run_summary
from featureinterp.core import Score
from featureinterp.experiment.paper.experiments import experiment_of_runs
from featureinterp.experiment.result import FeatureKey
from featureinterp.experiment.store import RunStore
from featureinterp.files import atomic_write
from featureinterp.record import MAIN_SOURCE
from featureinterp.report.figures.files import DrawnExperiment, draw_experiment, file_names, read_frames
from featureinterp.report.pages.markdown_html import markdown_html
from featureinterp.report.pages.run_pages import asset_bytes, file_name, make_environment, write_report

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class RunPages:
    """A run and where its pages are."""

    head: RunInfo
    folder: str
    """Relative to the experiment's page."""
    pages: Mapping[FeatureKey, str]
    """Names of the features' pages, without folder and ending."""
    score: Score
    """Mean test score of its explained features."""

    def link(self, key: FeatureKey) -> str | None:
        """Return where a feature's page is; None where the run has not finished it."""
        return f"{self.folder}/features/{self.pages[key]}.html" if key in self.pages else None


@dataclass(frozen=True)
class FeatureLink:
    """One feature in one run."""

    href: str | None
    """None where it is not finished."""
    words: str
    """Its test score, or what became of it."""


@dataclass(frozen=True)
class LayerLinks:
    """The features of a layer: what is behind the points that stand at it."""

    layer: int
    rows: Sequence[tuple[int, Sequence[FeatureLink]]]
    """Of each latent a link for each run of the subject."""


def write_experiment(folder: Path, out: Path) -> Path:
    """Write the pages of an experiment and of all its runs; the overview is written last.

    Args:
        folder: of the experiment, with a run in each `{subject}/{variant}`.
        out: folder to write to, made if missing; files of an earlier report are replaced.

    Returns:
        The path of the overview.

    Raises:
        InputError: if the runs are of no experiment, or of several.
        DataFolderError: if there is no run, or one cannot be read.
        StorageError: if a file cannot be written.
    """
    drawn = draw_experiment(folder, out / "figures", out / "tables")
    scores = read_frames(folder).scores
    runs = list(_write_runs(folder, out, scores))
    environment = make_environment()
    atomic_write(out / "report.css", asset_bytes(environment, "report.css"))
    page = environment.get_template("experiment.html.j2").render(
        title=experiment_of_runs(drawn.experiment).title,
        experiment=drawn.experiment,
        figures=_figures(drawn, out),
        tables=[path.relative_to(out).as_posix() for path in drawn.tables],
        missing=drawn.missing,
        found=markdown_html(findings(folder).partition("\n")[2], top=2),
        runs=runs,
        subjects=[(name, own, _layers(own, scores)) for name, own in _by_subject(runs)],
    )
    atomic_write(out / "index.html", page.encode())
    return out / "index.html"


def _write_runs(folder: Path, out: Path, scores: DataFrame) -> Iterator[RunPages]:
    """Write the pages of every run."""
    names = [f"{head.subject}_{head.variant}" for head in map(run_info, open_runs(folder))]
    means = score_by_variant(scores, level=0.95).set_index(["subject", "variant"])
    for store, name in zip(open_runs(folder), file_names(names), strict=True):
        head = run_info(store)
        summary = replace(run_summary(store), title=f"{head.variant}, {head.subject}")
        write_report(store.results(), summary, out / "runs" / name)
        yield RunPages(head, f"runs/{name}", _page_names(store), _mean(means, head))


def _page_names(store: RunStore) -> dict[FeatureKey, str]:
    taken: set[str] = set()
    in_order = sorted(store.finished(), key=lambda key: (key.layer, key.latent, key.hook_name))
    return {key: file_name(key, taken) for key in in_order}


def _mean(means: DataFrame, head: RunInfo) -> Score:
    place = head.subject, head.variant
    if place not in means.index or not means.loc[place]["n"]:
        return Score.undefined("no feature has a score")
    mean = means.loc[place]
    low, high = mean["ci_low"], mean["ci_high"]
    return Score(float(mean["mean"]), float(low), float(high)) if low == low else Score(float(mean["mean"]))


def _figures(drawn: DrawnExperiment, out: Path) -> list[dict[str, object]]:
    """Return figures with their files relative to the page; a picture for a column serves narrow screens."""
    found = []
    for figure in drawn.figures:
        name = figure.path.relative_to(out).with_suffix("").as_posix()
        files = {"png": f"{name}.png", "pdf": f"{name}.pdf"}
        files |= {"column_png": f"{name}_column.png", "column_pdf": f"{name}_column.pdf"}
        sizes = {"size": png_size(out / files["png"]), "column_size": png_size(out / files["column_png"])}
        found.append({"title": figure.title, "alt": figure.alt, **files, **sizes})
    return found


def png_size(path: Path) -> tuple[int, int]:
    """Return width and height of a PNG in pixels: a page that knows them does not move when its pictures come."""
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
    """Return each feature's test score, or what became of it, by variant."""
    found = {}
    for row in rows.to_dict("records"):
        key = FeatureKey(row["hook_name"], row["layer"], row["latent"])
        score = row["correlation"]
        told = f"{score:.2f}".replace("-", "−") if score == score else "undefined"
        found[row["variant"], key] = told if row["status"] == "explained" else row["status"]
    return found
