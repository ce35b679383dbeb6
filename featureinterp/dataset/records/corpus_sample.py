"""Sample of the corpus: windows that stand for the strata of a latent, an equal number of each for every split.

The strata are the windows on which the latent fires, divided evenly by their largest activation (deciles, where there
are enough), the silent windows with a peak token, and the other silent windows. Every group of windows (a document and
its near-duplicates) belongs to one split: to that of its records, else to one at random. The windows of a stratum that
a split draws are a simple random sample of those which belong to it, and these are a random third of the stratum: every
window of a stratum is equally likely to be drawn. So a mean over the drawn windows of a stratum estimates the mean over
the stratum without bias, and its size over the number drawn is the weight of each. For this a document may give several
windows to one split; it never gives windows to two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featureinterp.dataset.retrieval.exact import top_sequences
from featureinterp.record import N_SPLITS, Stratum

MOST_ACTIVE_STRATA = 10
LEAST_PER_STRATUM = 3 * N_SPLITS
"""Active windows of a stratum at least: with fewer active windows there are fewer strata."""
WITH_PEAK_TOKEN, OTHER_SILENT = "silent, with a peak token", "silent, without a peak token"


@dataclass(frozen=True)
class CorpusSample:
    """Strata of a latent and the windows drawn from them."""

    strata: tuple[Stratum, ...]
    windows: tuple[int, ...]
    """Ordered so that `i::3` slices are the splits, and any beginning holds every stratum."""
    numbers: tuple[int, ...]
    """Place of each window's stratum in `strata`."""


def divide(
    active: NDArray[np.integer], maxima: NDArray[np.floating], with_peak: NDArray[np.bool_], most: int
) -> list[tuple[str, NDArray[np.integer]]]:
    """Return the name and the windows of each stratum; together they are the corpus.

    Args:
        active: int [m], the windows on which the latent fires.
        maxima: float [m], its largest activation on each.
        with_peak: bool [windows], whether a window contains a peak token.
        most: active strata at most.
    """
    n = max(1, min(MOST_ACTIVE_STRATA, most, len(active) // LEAST_PER_STRATUM))
    weakest_first = top_sequences(active, maxima, len(active))[::-1]
    parts = enumerate(np.array_split(weakest_first, n), start=1)
    silent = np.ones(len(with_peak), dtype=bool)
    silent[active] = False
    return [
        *((f"active, part {number} of {n}", windows) for number, windows in parts),
        (WITH_PEAK_TOKEN, np.flatnonzero(silent & with_peak)),
        (OTHER_SILENT, np.flatnonzero(silent & ~with_peak)),
    ]


def draw_sample(
    strata: Sequence[tuple[str, NDArray[np.integer]]],
    groups: NDArray[np.integer],
    bound: Mapping[int, int],
    sizes: tuple[int, int],
    random: np.random.Generator,
) -> CorpusSample:
    """Draw windows of each stratum for each split.

    Args:
        strata: as `divide` returns them.
        groups: int [windows], the group of each window.
        bound: the split, 0 to 2, of groups that have one.
        sizes: windows of a split from active and from silent strata. The active ones are spread evenly; the silent ones
            half and half, and where a stratum has no more, the other gives them.
        random: draws windows and the splits of groups.
    """
    splits = _SplitOfGroup(bound, random)
    drawn: list[list[tuple[int, ...]]] = []
    for (_, windows), size in zip(strata, _sizes(strata, *sizes), strict=True):
        drawn.append(_draw(windows, groups, splits, size, random))
    # the j-th of n triples of a stratum stands at (j + 1/2)/n of the list
    places = [
        ((j + 0.5) / len(triples), number, j) for number, triples in enumerate(drawn) for j in range(len(triples))
    ]
    ordered = [(window, number) for _, number, j in sorted(places) for window in drawn[number][j]]
    return CorpusSample(
        strata=tuple(
            Stratum(name, len(windows), number < len(strata) - 2) for number, (name, windows) in enumerate(strata)
        ),
        windows=tuple(window for window, _ in ordered),
        numbers=tuple(number for _, number in ordered),
    )


class _SplitOfGroup:
    """Split of each group; groups without one get splits at random, in shuffled turns."""

    def __init__(self, bound: Mapping[int, int], random: np.random.Generator) -> None:
        self._known = dict(bound)
        self._random = random
        self._turn: list[int] = []

    def __getitem__(self, group: int) -> int:
        if group not in self._known:
            self._turn = self._turn or self._random.permutation(N_SPLITS).tolist()
            self._known[group] = self._turn.pop()
        return self._known[group]


def _sizes(strata: Sequence[tuple[str, NDArray[np.integer]]], active: int, silent: int) -> list[int]:
    """Return how many windows each split draws from each stratum."""
    n = len(strata) - 2
    evenly = np.diff(np.arange(n + 1) * active // n).tolist()
    with_peak, other = (len(windows) // N_SPLITS for _, windows in strata[n:])
    half = min(-(-silent // 2), with_peak)
    rest = min(silent - half, other)
    return [*evenly, min(silent - rest, with_peak), rest]


def _draw(
    windows: NDArray[np.integer],
    groups: NDArray[np.integer],
    splits: _SplitOfGroup,
    size: int,
    random: np.random.Generator,
) -> list[tuple[int, ...]]:
    """Return up to `size` triples of windows of a stratum, one window for each split."""
    found: list[list[int]] = [[] for _ in range(N_SPLITS)]
    for window in random.permutation(windows).tolist() if size else ():
        found[splits[int(groups[window])]].append(window)
        if min(map(len, found)) == size:
            break
    return list(zip(*found, strict=False))
