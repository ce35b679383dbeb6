"""Figure 4: each search with each kind of explanation and evidence, as bars for every subject and as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from featureinterp.analysis.means import mean_by, score_by_variant
from featureinterp.analysis.read_experiment import ReadExperiment, in_order
from featureinterp.record import MAIN_SOURCE
from featureinterp.report.figures.drawing import Drawing
from featureinterp.report.figures.style import BLACK, FLOOR, GREY, LOOKS, Width, finish, panels, short, words
from featureinterp.report.figures.tables import booktabs, latex_escape
from featureinterp.report.number_format import number
from featureinterp.report.views import SOURCE_WORDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

SEARCHES = ("one-shot", "best-of-n", "tree")
CONFIGURATIONS = ("unstructured", "structured", "structured-negatives", "structured-holistic")
LEVEL = 0.9
"""Of the intervals."""

_COLUMNS = {
    "correlation": "score",
    "false_positives_per_sentence": "FP/sentence",
    "n_rules": "rules",
    "complexity": "complexity",
    "n_simulated": "simulated",
}
_BAR = 0.76
"""Height of all bars of a configuration; 1 would leave no space to those of the next."""


def draw(read: ReadExperiment, width: Width) -> list[Drawing]:
    """Draw one panel for every subject: a bar for each variant, those of one configuration together."""
    subjects = [subject for subject in read.subjects if read.of(subject).variants()]
    if not subjects:
        return []
    figure, every = panels(len(subjects), width)
    means = mean_scores(read)
    for axes, subject in zip(every, subjects, strict=True):
        _draw_bars(axes, means, subject)
        floor = read.of(subject).judged["floor_token_lookup"].mean()
        axes.axvline(floor, color=GREY, linestyle=FLOOR.dashes, label="token table")
        axes.set_xlabel("test score")
        if len(subjects) > 1:
            axes.set_title(words(short(subject)))
        axes.set_xlim(*_range(means))
        if width == "full" and not axes.get_subplotspec().is_first_col():  # pyright: ignore[reportOptionalMemberAccess]
            axes.tick_params(labelleft=False)
    note = (
        f"Means over explained features, tested on: {SOURCE_WORDS[MAIN_SOURCE]}; lines: {LEVEL:.0%} intervals over "
        f"features; {_span(means['n'].tolist())} features to a bar. Explanations simulated per feature: "
        f"{_simulated(read)}."
    )
    finish(figure, note, read.missing())
    told = [f"{row['subject']}, {row['variant']}: {row['mean']:.2f}" for _, row in means.iterrows()]
    return [Drawing("explainers", "Explainer comparison", "Mean test score. " + "; ".join(told) + ".", figure)]


def mean_scores(read: ReadExperiment) -> DataFrame:
    """Return the mean test score of every variant of every subject, with its `search` and its `configuration`."""
    means = score_by_variant(read.scores, level=LEVEL)
    means = means.loc[means["n"] > 0]
    searches = dict(zip(read.scores["variant"], read.scores["explainer"], strict=True))
    return means.assign(
        search=[searches[variant] for variant in means["variant"]],
        configuration=[variant.removeprefix(f"{searches[variant]}-") for variant in means["variant"]],
    )


def table(read: ReadExperiment) -> str:
    """Return the comparison as a LaTeX table with booktabs rules: a block for each subject, a row for each variant."""
    blocks = [list(_table_rows(read.of(subject), subject)) for subject in read.subjects]
    about = [
        f"means over explained features with {LEVEL:.0%} intervals, tested on: {SOURCE_WORDS[MAIN_SOURCE]}",
        "simulated: explanations that the search had simulated; best-of-n has as many first proposals as the tree",
        "n: features with a score; undefined: explained features without; failed: features that could not be explained",
        *(f"missing: {message}" for message in read.missing()),
    ]
    head = ["subject", "variant", *_COLUMNS.values(), "$n$", "undefined", "failed"]
    return booktabs(head, [block for block in blocks if block], "ll" + "r" * (len(head) - 2), about)


def _table_rows(read: ReadExperiment, subject: str) -> Iterator[list[str]]:
    by_variant = {value: mean_by(read.judged, ["variant"], value, LEVEL).set_index("variant") for value in _COLUMNS}
    for place, variant in enumerate(read.variants()):
        rows = [means.loc[variant] for means in by_variant.values()]
        cells = [_cell(row["mean"], row["ci_low"], row["ci_high"]) for row in rows]
        tally = [f"{int(rows[0][name])}" for name in ("n", "n_undefined", "n_failed")]
        yield [latex_escape(subject) if place == 0 else "", latex_escape(variant), *cells, *tally]


def _cell(mean: float, low: float, high: float) -> str:
    interval = "" if low != low else f" [{number(low)}, {number(high)}]"
    return latex_escape(number(mean) + interval)


def _draw_bars(axes: Axes, means: DataFrame, subject: str) -> None:
    """Draw one subject's bars; configurations that only other subjects have leave a gap."""
    configurations = in_order(means["configuration"], CONFIGURATIONS)
    searches = in_order(means["search"], SEARCHES)
    height = _BAR / len(searches)
    for place, search in enumerate(searches):
        own = means.loc[(means["subject"] == subject) & (means["search"] == search)]
        rows = np.array([configurations.index(name) for name in own["configuration"]], dtype=np.float64)
        rows += (place + 0.5) * height - _BAR / 2
        look = LOOKS[place % len(LOOKS)]
        pattern: dict[str, Any] = {"color": look.colour, "hatch": look.hatch, "edgecolor": "white", "linewidth": 0}
        axes.barh(rows, own["mean"], height=height, label=words(search), **pattern)
        axes.hlines(rows, own["ci_low"], own["ci_high"], colors=BLACK, linewidth=0.8)
    axes.set_yticks(range(len(configurations)), [words(name.replace("-", " + ")) for name in configurations])
    axes.set_ylim(len(configurations) - 0.5, -0.5)
    axes.grid(True, axis="x")
    axes.grid(False, axis="y")


def _range(means: DataFrame) -> tuple[float, float]:
    """Return what all panels span: from 0, or below it, to a little more than the largest bound of an interval."""
    bounds = means[["mean", "ci_low", "ci_high"]]
    return min(0.0, float(bounds.min(axis=None))), 1.03 * max(0.1, float(bounds.max(axis=None)))


def _simulated(read: ReadExperiment) -> str:
    """Return the mean number of explanations that each search had simulated, in words."""
    found = read.judged.loc[read.judged["status"] == "explained"].groupby("explainer")["n_simulated"].mean()
    return ", ".join(f"{search} {found[search]:.1f}" for search in in_order(found.index, SEARCHES))


def _span(counts: Sequence[int]) -> str:
    least, most = min(counts), max(counts)
    return str(most) if least == most else f"{least} to {most}"
