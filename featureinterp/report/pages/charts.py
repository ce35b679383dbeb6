"""Chart data of a run: distributions of scores and baselines, score against density.

Everything is in percent of the drawing, so that it fits any width. Its size is bounded for any number of features.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from featureinterp.report.feature_row import FeatureRow
from featureinterp.report.number_format import PLOT_FROM, PLOT_TO, place, share

N_BINS = 25
"""Bars of a spread, each 0.05 wide; values outside the plot are counted at its edge."""
GRID = (60, 30)
"""Grid of a scatter's dots, across and down; features in the same cell are one larger dot."""


@dataclass(frozen=True)
class Spread:
    """Histogram of correlations."""

    kind: str
    """Predictor: `explanation`, `token_lookup` or `shuffled`."""
    counts: tuple[int, ...]
    """Features in each bin of correlation, lowest first."""
    median: float

    @property
    def bars(self) -> list[tuple[str, str, str]]:
        """Start, top and relative height of each nonempty bar."""
        width = (PLOT_TO - PLOT_FROM) / N_BINS
        shares = [100 * n / max(self.counts) for n in self.counts]
        return [
            (place(PLOT_FROM + width * at), f"{100 - height:.1f}%", f"{height:.1f}%")
            for at, height in enumerate(shares)
            if height
        ]


@dataclass(frozen=True)
class Dot:
    """Features in one cell of a scatter."""

    x: str
    y: str
    radius: float
    """Diameter in pixels; the area grows with the number of features, up to a bound."""


@dataclass(frozen=True)
class Scatter:
    """Score against density, which is on a logarithmic scale."""

    dots: tuple[Dot, ...]
    ticks: tuple[tuple[str, str], ...]
    """Position and label of each power of ten."""
    n: int
    crowded: bool
    """Whether a dot represents several features."""


def spreads(rows: Sequence[FeatureRow]) -> list[Spread]:
    """Return the distributions of scores and baselines, against the main source."""
    found = {
        "explanation": [row.score().value for row in rows],
        "token_lookup": [row.floor("token_lookup").value for row in rows],
        "shuffled": [row.floor("shuffled").value for row in rows],
    }
    defined = {kind: [value for value in values if value is not None] for kind, values in found.items()}
    return [Spread(kind, _histogram(values), median(values)) for kind, values in defined.items() if values]


def scatter(rows: Sequence[FeatureRow]) -> Scatter | None:
    """Return score against density of features that have both; None if there are none."""
    points = [(math.log10(row.density), float(row.score())) for row in rows if _has_both(row)]
    if not points:
        return None
    lowest = min(math.floor(min(x for x, _ in points)), -1)  # the axis ends at all windows: log10 1 = 0
    across, down = GRID
    places = Counter(
        (round(across * (x - lowest) / -lowest), round(down * _share_of_plot(score))) for x, score in points
    )
    dots = tuple(
        Dot(f"{100 * i / across:.1f}%", f"{100 - 100 * j / down:.1f}%", round(min(2.8 * math.sqrt(n), 10), 1))
        for (i, j), n in sorted(places.items())
    )
    powers = range(lowest, 1, 1 if lowest >= -4 else 2)
    ticks = tuple((f"{100 * (power - lowest) / -lowest:.1f}%", share(10.0**power)) for power in powers)
    return Scatter(dots, ticks, len(points), len(dots) < len(points))


def _has_both(row: FeatureRow) -> bool:
    return row.score().value is not None and 0 < row.density <= 1


def _histogram(values: Sequence[float]) -> tuple[int, ...]:
    bins = Counter(min(math.floor(N_BINS * _share_of_plot(value)), N_BINS - 1) for value in values)
    return tuple(bins[at] for at in range(N_BINS))


def _share_of_plot(value: float) -> float:
    return min(max((value - PLOT_FROM) / (PLOT_TO - PLOT_FROM), 0.0), 1.0)
