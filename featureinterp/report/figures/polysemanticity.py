"""Figure 5: how many rules a feature needs, and how complex they are, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from featureinterp.analysis.means import (
    SHARE_OF_BEST,
    UNIT,
    least_caps,
    mean_by,
    one_per_feature,
    polysemanticity_surface,
)
from featureinterp.analysis.read_experiment import ReadExperiment
from featureinterp.record import MAIN_SOURCE
from featureinterp.report.figures.drawing import Drawing, of_subject
from featureinterp.report.figures.lines import counts, describe, draw_line
from featureinterp.report.figures.style import GREY, LOOKS, PALE, Width, finish, panels, short, words
from featureinterp.report.number_format import number
from featureinterp.report.views import SOURCE_WORDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

_BY_DEPTH = {"rule_cap": f"rules for {SHARE_OF_BEST:.0%} of the best", "complexity": "complexity (0 to 5)"}
LEVEL = 0.8
"""Of the intervals by depth."""
MAPS = {
    "score": "test score",
    "share_of_best": "share of the best",
    "best_so_far": "best so far",
    "best_so_far_share": "best so far, share",
}

Grid = tuple[list[int], list[int], NDArray[np.float64]]
"""Layers, rule caps, and a mean for each cell [caps, layers]; NaN where none is defined."""


def draw(read: ReadExperiment, width: Width) -> list[Drawing]:
    """Draw the heat maps of every subject, and all subjects by relative depth."""
    if not read.variants():
        return []
    maps = [of_subject(_heat_maps(read.of(subject), width), subject, read) for subject in read.subjects]
    return [*maps, _by_depth(read, width)]


def grid(surface: DataFrame, value: str) -> Grid:
    """Return a column of `polysemanticity_surface` at every layer and rule cap."""
    means = surface.pivot(index="rule_cap", columns="layer", values=value)
    return [int(layer) for layer in means.columns], [int(cap) for cap in means.index], means.to_numpy(np.float64)


def _heat_maps(read: ReadExperiment, width: Width) -> Drawing:
    figure, every = panels(len(MAPS), width, (2, 2) if width == "full" else (4, 1))
    surface = polysemanticity_surface(read.scores)
    grids = {value: grid(surface, value) for value in MAPS}
    for axes, (value, label) in zip(every, MAPS.items(), strict=True):
        alike = [means for name, (_, _, means) in grids.items() if ("share" in name) == ("share" in value)]
        _draw_map(axes, grids[value], _span(alike))
        axes.set_title(label)
    if any(np.isnan(means).any() for _, _, means in grids.values()):
        every[0].bar(0, 0, label="undefined", **_UNDEFINED)
    least = least_caps(read.scores)
    no_share = int(least["least_cap"].isna().sum())
    note = (
        f"Means over {len(least)} features, tested on: {SOURCE_WORDS[MAIN_SOURCE]}. Best: the rule cap with the "
        f"highest valid score; so far: of this one and those below."
        + (f" {no_share} without a score above 0 are in no share." if no_share else "")
    )
    finish(figure, note, read.missing())
    return Drawing("rule_caps", "Score by layer and rule cap", _in_words(grids["score"]), figure)


_UNDEFINED: dict[str, Any] = {"facecolor": PALE, "edgecolor": GREY, "hatch": "/////", "linewidth": 0}


def _draw_map(axes: Axes, cells: Grid, span: tuple[float, float]) -> None:
    """Draw a mean for each layer and rule cap; where none is defined, the hatched ground shows."""
    layers, caps, means = cells
    axes.patch.set(**_UNDEFINED)
    mesh = axes.pcolormesh(np.ma.masked_invalid(means), cmap="cividis", vmin=span[0], vmax=span[1])
    bar = axes.figure.colorbar(mesh, ax=axes, pad=0.02, aspect=12)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    every = range(0, len(layers), 1 + len(layers) // 13)
    axes.set_xticks([place + 0.5 for place in every], [str(layers[place]) for place in every])
    axes.set_yticks([place + 0.5 for place in range(len(caps))], [str(cap) for cap in caps])
    axes.set_xlim(0, len(layers))
    axes.set_ylim(0, len(caps))
    axes.set_xlabel("layer")
    axes.set_ylabel("rule cap")
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if len(layers) <= _MOST_NUMBERED:
        for (row, column), mean in np.ndenumerate(means):
            if not np.isnan(mean):
                dark = float(np.asarray(mesh.norm(mean))) < 0.5
                at = column + 0.5, row + 0.5, number(mean)
                axes.text(*at, ha="center", va="center", fontsize=5.5, color="white" if dark else "black")


_MOST_NUMBERED = 10
"""With more layers, numbers do not fit into the cells."""


def _span(grids: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    """Return the least and the largest mean, so that maps of the same kind have the same colours."""
    defined = np.concatenate([means[~np.isnan(means)] for means in grids])
    return (float(defined.min()), float(defined.max())) if len(defined) else (0.0, 1.0)


def _in_words(cells: Grid) -> str:
    layers, caps, means = cells
    told = [
        f"layer {layer}: " + ", ".join("undefined" if np.isnan(mean) else f"{mean:.2f}" for mean in means[:, place])
        for place, layer in enumerate(layers)
    ]
    return f"Mean test score at rule caps {', '.join(map(str, caps))}. {'; '.join(told)}."


def _by_depth(read: ReadExperiment, width: Width) -> Drawing:
    from matplotlib.ticker import MaxNLocator

    figure, every = panels(len(_BY_DEPTH), width)
    enough = with_complexity(read.scores)
    told, seen = [], []
    for axes, (value, label) in zip(every, _BY_DEPTH.items(), strict=True):
        for place, subject in enumerate(read.subjects):
            means = mean_by(enough.loc[enough["subject"] == subject], ["relative_depth"], value, LEVEL)
            draw_line(axes, means, "relative_depth", LOOKS[place % len(LOOKS)], words(short(subject)))
            told.append(f"{label}, {describe(subject, means, 'relative_depth', 'depth')}")
            seen.append(means)
        axes.yaxis.set_major_locator(MaxNLocator("auto", integer=True))
        axes.set_ylabel(label)
        axes.set_xlabel("relative depth (layer / last layer)")
        axes.set_xlim(-0.04, 1.04)
    note = (
        f"Means over {counts(seen)} a layer, of the least rule cap whose score reaches {SHARE_OF_BEST:.0%} of that of "
        f"the cap that is best on valid, and of the complexity there; bands: {LEVEL:.0%} intervals over features."
    )
    finish(figure, note, read.missing())
    return Drawing("rules_by_depth", "Rules needed and complexity by relative depth", "; ".join(told) + ".", figure)


def with_complexity(scores: DataFrame) -> DataFrame:
    """Return `least_caps` with the complexity of the explanation that each feature has at that rule cap."""
    least = least_caps(scores)
    names = [*UNIT, "rule_cap"]
    explanations = one_per_feature(scores)[[*names, "complexity"]].astype({"rule_cap": "float64"})
    return least.rename(columns={"least_cap": "rule_cap"}).merge(explanations, "left", names)
