"""Lines of means with intervals, and their alt text (frames of `analysis.mean_by`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from featureinterp.report.figures.style import Look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame


def draw_line(axes: Axes, means: DataFrame, x: str, look: Look, label: str) -> None:
    """Draw means over a column `x` as a line with an interval band; a single mean gets an error bar."""
    from matplotlib.colors import to_rgba

    means = _defined(means)
    if len(means) < 2:
        draw_beside(axes, {label: means}, x, {label: look})
        return
    axes.plot(means[x], means["mean"], color=look.colour, marker=look.marker, linestyle=look.dashes, label=label)
    band = means["ci_low"], means["ci_high"]
    axes.fill_between(means[x], *band, color=to_rgba(look.colour, 0.16), linewidth=0)


def draw_beside(
    axes: Axes, lines: Mapping[str, DataFrame], x: str, looks: Mapping[str, Look], spread: float = 0.0
) -> None:
    """Draw close lines: error bars instead of bands, points of one x side by side.

    Args:
        axes: panel to draw in.
        lines: means by label.
        x: column of the horizontal axis.
        looks: line styles by label.
        spread: from the first to the last point of one x, in units of x.
    """
    for place, (label, means) in enumerate(lines.items()):
        look, means = looks[label], _defined(means)
        at = means[x] + (spread * (place / (len(lines) - 1) - 0.5) if len(lines) > 1 else 0.0)
        axes.plot(at, means["mean"], color=look.colour, marker=look.marker, linestyle=look.dashes, label=label)
        axes.vlines(at, means["ci_low"], means["ci_high"], colors=look.colour, linewidth=0.7, alpha=0.75)


def describe(label: str, means: DataFrame, x: str, where: str = "") -> str:
    """Return alt text of a line: its first and last point."""
    defined = _defined(means)
    if defined.empty:
        return f"{label}: undefined"
    ends = defined.iloc[[0, -1]] if len(defined) > 1 else defined
    return f"{label}: " + ", ".join(f"{end['mean']:.2f} at {where or x} {end[x]:g}" for _, end in ends.iterrows())


def counts(means: Iterable[DataFrame]) -> str:
    """Return the number of features behind the points, and of excluded ones."""
    every = list(means)
    sizes = sorted({int(n) for frame in every for n in frame["n"]}) or [0]
    undefined = sum(int(frame["n_undefined"].sum()) for frame in every)
    span = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    return f"{span} features" + (f" ({undefined} undefined scores left out)" if undefined else "")


def whole_numbers(axes: Axes, numbers: Sequence[int], label: str) -> None:
    """Put a tick at each layer or round; at some whole numbers if there are more than 12."""
    from matplotlib.ticker import FixedLocator, MaxNLocator

    axes.xaxis.set_major_locator(FixedLocator(numbers) if len(numbers) <= 12 else MaxNLocator(integer=True))
    axes.set_xlabel(label)


def _defined(means: DataFrame) -> DataFrame:
    return means.loc[means["mean"].notna()]
