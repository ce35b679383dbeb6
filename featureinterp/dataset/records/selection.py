"""Selection of a latent's windows: positives, similar, random, and their negatives.

Everything here is arithmetic on arrays. A *group* is a document with its near-duplicates (`window_groups`). Every list
is ordered so that its `i::3` slices are train, valid and test, and that within a latent no group gives windows to two
of them: a group is bound, once and for all lists, to one window and to one position modulo 3. Only the sample of the
corpus may hold several windows of a group, at positions of its residue.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import tee

import numpy as np
from numpy.typing import NDArray

from featureinterp.dataset.records.corpus_sample import CorpusSample, divide, draw_sample
from featureinterp.dataset.retrieval.exact import top_sequences
from featureinterp.errors import check_numbers
from featureinterp.record import N_SPLITS, ComplementaryRecordSource

PLACING_ORDER = (
    ComplementaryRecordSource.SIMILAR_NEGATIVE,
    ComplementaryRecordSource.SIMILAR,
    ComplementaryRecordSource.RANDOM_NEGATIVE,
    ComplementaryRecordSource.RANDOM,
)
"""The first complementary lists, the most particular first: later ones take what is left."""

ADDED = (ComplementaryRecordSource.SAME_TOKEN_NEGATIVE, ComplementaryRecordSource.CORPUS)
"""Lists that depend on the train positives, and are filled after those."""

PROJECTED = (
    ComplementaryRecordSource.SIMILAR_NEGATIVE_PROJECTED,
    ComplementaryRecordSource.SIMILAR_PROJECTED,
)
"""Two optional lists, in the order in which they are filled after the others."""


_LARGEST_QUERY, _SMALLEST_QUERY, _QUERY_PER_MILLE = 400, 30, 4


@dataclass(frozen=True)
class SampleParams:
    """Number of windows of each kind in a latent's records."""

    top_sample_n: int = 90
    """Positives: 30 for each of the three splits, the number that `FeatureRunParams` takes."""
    quantile_n: int = 1000
    """Number of equal chunks of the corpus ranked by maximum activation; positives come from the first."""
    complementary_sample_n: int = 90
    """Windows of each complementary source: 30 per split, as for positives."""
    special_n: int | None = None
    """Top-activating windows used as the similarity query; None for 0.4% of the corpus, 30 to 400 (`query_size`)."""
    min_documents: int = 9
    """Minimum number of documents in which a latent fires, 3 per split; below it, the latent is rare."""
    projected: bool = False
    """Also fill the lists of windows that are similar under a linear map trained for the latent."""

    def __post_init__(self) -> None:
        check_numbers(
            self,
            top_sample_n=(N_SPLITS, math.inf),
            quantile_n=(1, math.inf),
            complementary_sample_n=(0, math.inf),
            special_n=(1, math.inf),
            min_documents=(1, math.inf),
        )

    @property
    def sample_sizes(self) -> tuple[int, int]:
        """Windows that each split draws from active and from silent strata."""
        return self.top_sample_n // N_SPLITS, self.complementary_sample_n // N_SPLITS

    def query_size(self, n_windows: int) -> int:
        """Return the number of top-activating windows used as the similarity query.

        The mean of many windows points to the mean of the corpus, whatever the latent: by default they are at most
        0.4% of the corpus, but at least 30.

        >>> [SampleParams().query_size(n) for n in (150, 20_000, 1_000_000)], SampleParams(special_n=7).query_size(150)
        ([30, 80, 400], 7)
        """
        return self.special_n or min(_LARGEST_QUERY, max(_SMALLEST_QUERY, n_windows * _QUERY_PER_MILLE // 1000))


@dataclass(frozen=True)
class Selection:
    """Selected windows of one latent, by list."""

    positives: tuple[int, ...]
    complementary: Mapping[ComplementaryRecordSource, tuple[int, ...]]
    sample: CorpusSample = CorpusSample((), (), ())
    """Strata, and the stratum of each window of the corpus list."""

    @property
    def lists(self) -> tuple[tuple[int, ...], ...]:
        """All lists, the positives first."""
        return self.positives, *self.complementary.values()

    @property
    def sequences(self) -> tuple[int, ...]:
        """All selected windows, sorted, without duplicates."""
        return tuple(sorted({window for chosen in self.lists for window in chosen}))


def interleave(
    candidates: Sequence[Iterable[int]], sizes: Sequence[int], groups: NDArray[np.integer]
) -> list[tuple[int, ...]]:
    """Fill lists from candidates so that no group is in two `i::3` slices.

    Lists are filled one after the other, each from its candidates in order. A group that is not bound yet takes
    the lowest free slot and is bound to that window and to the slot's position modulo 3. A bound one enters a further
    list only with the same window, in the lowest free slot of the same residue, else it is passed over. Groups of
    the first list enter no other. Where candidates run out, a list ends before its first empty slot.

    Args:
        candidates: for each list, distinct windows, the preferred ones first.
        sizes: maximum length of each list.
        groups: int [windows], the group of each window.

    >>> interleave([[0], [1, 2, 3]], [1, 2], np.array([0, 0, 1, 2]))
    [(0,), (2, 3)]
    """
    bound: dict[int, tuple[int, int]] = {}
    closed: frozenset[int] = frozenset()
    filled = []
    for position, (windows, size) in enumerate(zip(candidates, sizes, strict=True)):
        filled.append(_fill(windows, size, groups, bound, closed))
        if position == 0:
            closed = frozenset(bound)
    return filled


def _fill(
    windows: Iterable[int],
    size: int,
    groups: NDArray[np.integer],
    bound: dict[int, tuple[int, int]],
    closed: frozenset[int],
) -> tuple[int, ...]:
    """Fill one list and add its groups to `bound`."""
    slots: dict[int, int] = {}
    free = list(range(N_SPLITS))  # the lowest free slot of each residue
    for window in windows:
        if len(slots) == size:
            break
        group = int(groups[window])
        if group in closed:
            continue
        bound_window, residue = bound.get(group, (window, None))
        if bound_window != window:
            continue
        slot = min(free) if residue is None else free[residue]
        if slot >= size:
            continue
        slots[slot] = int(window)
        bound[group] = (int(window), slot % N_SPLITS)
        free[slot % N_SPLITS] += N_SPLITS
    return tuple(slots[slot] for slot in range(min(*free, size)))


def select_windows(
    active: NDArray[np.integer],
    maxima: NDArray[np.floating],
    similar: Iterable[int],
    groups: NDArray[np.integer],
    params: SampleParams,
    random: Callable[[str], np.random.Generator],
) -> Selection:
    """Select the windows of one latent's records.

    Args:
        active: int [m], the windows on which the latent fires, distinct.
        maxima: float [m], its largest activation on each.
        similar: all windows from the most to the least similar; read lazily.
        groups: int [windows], the group of each window.
        params: how many of each.
        random: returns the generator of a purpose.

    Returns:
        Positives: from the first of `quantile_n` chunks of the ranking, at least twice the sample, in random order;
        where that holds too few groups, further windows are taken in rank order. A list may be shorter than requested.
    """
    n_windows = len(groups)
    ranked = top_sequences(active, maxima, len(active))
    pool = max(-(-n_windows // params.quantile_n), 2 * params.top_sample_n)
    positives = np.concatenate([random("positives").permutation(ranked[:pool]), ranked[pool:]])
    silent = silent_windows(active, n_windows)
    nearest, to_negative = tee(similar)
    candidates = {
        ComplementaryRecordSource.SIMILAR_NEGATIVE: (window for window in to_negative if silent[window]),
        ComplementaryRecordSource.SIMILAR: nearest,
        ComplementaryRecordSource.RANDOM_NEGATIVE: random("random_negative").permutation(np.flatnonzero(silent)),
        ComplementaryRecordSource.RANDOM: random("random").permutation(n_windows),
    }
    sizes = [params.top_sample_n, *[params.complementary_sample_n] * len(PLACING_ORDER)]
    ordered = [positives, *(candidates[source] for source in PLACING_ORDER)]
    chosen, *others = interleave(ordered, sizes, groups)
    return Selection(chosen, dict(zip(PLACING_ORDER, others, strict=True)))


def silent_windows(active: NDArray[np.integer], n_windows: int) -> NDArray[np.bool_]:
    """Return a mask of the windows on which a latent is silent, bool [windows]."""
    silent = np.ones(n_windows, dtype=bool)
    silent[active] = False
    return silent


def add_lists(
    selection: Selection,
    candidates: Mapping[ComplementaryRecordSource, Iterable[int]],
    groups: NDArray[np.integer],
    size: int,
) -> Selection:
    """Fill further lists under the same rules.

    Args:
        selection: the lists filled so far.
        candidates: for each further list, distinct windows, the preferred ones first.
        groups: int [windows], the group of each window.
        size: maximum length of each list.
    """
    bound = {int(groups[w]): (w, place % N_SPLITS) for chosen in selection.lists for place, w in enumerate(chosen)}
    closed = frozenset(int(groups[window]) for window in selection.positives)
    made = {source: _fill(windows, size, groups, bound, closed) for source, windows in candidates.items()}
    return replace(selection, complementary={**selection.complementary, **made})


def add_sample(
    selection: Selection,
    found: tuple[NDArray[np.integer], NDArray[np.floating]],
    with_peak: NDArray[np.bool_],
    groups: NDArray[np.integer],
    params: SampleParams,
    random: np.random.Generator,
) -> Selection:
    """Add the list of windows that stand for the corpus.

    Args:
        selection: the lists filled so far.
        found: the windows on which the latent fires, and its largest activation on each.
        with_peak: bool [windows], whether a window contains a peak token.
        groups: int [windows], the group of each window.
        params: active and silent windows are as many as positives, and as windows of a complementary source.
        random: draws the windows.
    """
    sizes = params.sample_sizes
    bound = {int(groups[w]): place % N_SPLITS for chosen in selection.lists for place, w in enumerate(chosen)}
    sample = draw_sample(divide(*found, with_peak, sizes[0]), groups, bound, sizes, random)
    complementary = {**selection.complementary, ComplementaryRecordSource.CORPUS: sample.windows}
    return replace(selection, complementary=complementary, sample=sample)


def held_out_groups(selection: Selection, groups: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return the groups of valid and test records."""
    return groups[[window for chosen in selection.lists for place, window in enumerate(chosen) if place % N_SPLITS]]
