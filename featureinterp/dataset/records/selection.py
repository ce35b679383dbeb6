"""Selection of a latent's windows: positives, similar, random, and their negatives.

Everything here is arithmetic on arrays. Every list is ordered so that its `i::3` slices are train, valid and test, and
that within a latent no document gives windows to two of them: a document is bound, once and for all lists, to one
window and to one position modulo 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import tee

import numpy as np
from numpy.typing import NDArray

from featureinterp.dataset.retrieval.exact import top_sequences
from featureinterp.errors import check_numbers
from featureinterp.record import ComplementaryRecordSource

N_SPLITS = 3
PLACING_ORDER = (
    ComplementaryRecordSource.SIMILAR_NEGATIVE,
    ComplementaryRecordSource.SIMILAR,
    ComplementaryRecordSource.RANDOM_NEGATIVE,
    ComplementaryRecordSource.RANDOM,
)
"""The complementary lists, the most particular first: later ones take what is left."""

PROJECTED = (
    ComplementaryRecordSource.SIMILAR_NEGATIVE_PROJECTED,
    ComplementaryRecordSource.SIMILAR_PROJECTED,
)
"""Two more lists, where asked for, in the order in which they are filled after the others."""


@dataclass(frozen=True)
class SampleParams:
    """Number of windows of each kind in a latent's records."""

    top_sample_n: int = 90
    """Positives: 30 for each of the three splits, the number that `FeatureRunParams` takes."""
    quantile_n: int = 1000
    """Number of equal chunks of the corpus ranked by maximum activation; positives come from the first."""
    complementary_sample_n: int = 90
    """Windows of each complementary source: 30 per split, as for positives."""
    special_n: int = 400
    """Top-activating windows used as the similarity query."""
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


@dataclass(frozen=True)
class Selection:
    """Selected windows of one latent, by list."""

    positives: tuple[int, ...]
    complementary: Mapping[ComplementaryRecordSource, tuple[int, ...]]

    @property
    def sequences(self) -> tuple[int, ...]:
        """All selected windows, sorted, without duplicates."""
        return tuple(sorted({*self.positives, *(s for chosen in self.complementary.values() for s in chosen)}))


def interleave(
    candidates: Sequence[Iterable[int]], sizes: Sequence[int], documents: NDArray[np.integer]
) -> list[tuple[int, ...]]:
    """Fill lists from candidates so that no document is in two `i::3` slices.

    Lists are filled one after the other, each from its candidates in order. A document that is not bound yet takes
    the lowest free slot and is bound to that window and to the slot's position modulo 3. A bound one enters a further
    list only with the same window, in the lowest free slot of the same residue, else it is passed over. Documents of
    the first list enter no other. Where candidates run out, a list ends before its first empty slot.

    Args:
        candidates: for each list, distinct windows, the preferred ones first.
        sizes: how long each list may become.
        documents: int [windows], the document of each window.

    >>> interleave([[0], [1, 2, 3]], [1, 2], np.array([0, 0, 1, 2]))
    [(0,), (2, 3)]
    """
    bound: dict[int, tuple[int, int]] = {}
    closed: frozenset[int] = frozenset()
    filled = []
    for position, (windows, size) in enumerate(zip(candidates, sizes, strict=True)):
        filled.append(_fill(windows, size, documents, bound, closed))
        if position == 0:
            closed = frozenset(bound)
    return filled


def _fill(
    windows: Iterable[int],
    size: int,
    documents: NDArray[np.integer],
    bound: dict[int, tuple[int, int]],
    closed: frozenset[int],
) -> tuple[int, ...]:
    """Fill one list and add its documents to `bound`."""
    slots: dict[int, int] = {}
    free = list(range(N_SPLITS))  # the lowest free slot of each residue
    for window in windows:
        if len(slots) == size:
            break
        document = int(documents[window])
        if document in closed:
            continue
        bound_window, residue = bound.get(document, (window, None))
        if bound_window != window:
            continue
        slot = min(free) if residue is None else free[residue]
        if slot >= size:
            continue
        slots[slot] = int(window)
        bound[document] = (int(window), slot % N_SPLITS)
        free[slot % N_SPLITS] += N_SPLITS
    return tuple(slots[slot] for slot in range(min(*free, size)))


def select_windows(
    active: NDArray[np.integer],
    maxima: NDArray[np.floating],
    similar: Iterable[int],
    documents: NDArray[np.integer],
    params: SampleParams,
    random: Callable[[str], np.random.Generator],
) -> Selection:
    """Select the windows of one latent's records.

    Args:
        active: int [m], the windows on which the latent fires, distinct.
        maxima: float [m], its largest activation on each.
        similar: all windows from the most to the least similar; read only as far as needed.
        documents: int [windows], the document of each window.
        params: how many of each.
        random: gives the generator of a purpose.

    Returns:
        Positives: from the first of `quantile_n` chunks of the ranking, at least twice the sample, in random order;
        where that holds too few documents, the ranking goes on. A list is as long as there are candidates, at most.
    """
    n_windows = len(documents)
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
    chosen, *others = interleave(ordered, sizes, documents)
    return Selection(chosen, dict(zip(PLACING_ORDER, others, strict=True)))


def silent_windows(active: NDArray[np.integer], n_windows: int) -> NDArray[np.bool_]:
    """Return a mask of the windows on which a latent is silent, bool [windows]."""
    silent = np.ones(n_windows, dtype=bool)
    silent[active] = False
    return silent


def add_projected(
    selection: Selection,
    similar: NDArray[np.integer],
    silent: NDArray[np.bool_],
    documents: NDArray[np.integer],
    size: int,
) -> Selection:
    """Add the two lists ranked by projected similarity, under the same rules.

    Args:
        selection: the lists that are there.
        similar: int [windows], all windows from the most to the least similar under the map.
        silent: bool [windows], whether the latent is silent.
        documents: int [windows], the document of each window.
        size: how long each list may become.
    """
    lists = (selection.positives, *selection.complementary.values())
    bound = {int(documents[w]): (w, place % N_SPLITS) for chosen in lists for place, w in enumerate(chosen)}
    closed = frozenset(int(documents[window]) for window in selection.positives)
    made = [_fill(windows, size, documents, bound, closed) for windows in (similar[silent[similar]], similar)]
    return replace(selection, complementary={**selection.complementary, **dict(zip(PROJECTED, made, strict=True))})


def held_out_documents(selection: Selection, documents: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return the documents of valid and test records."""
    lists = (selection.positives, *selection.complementary.values())
    return documents[[window for chosen in lists for place, window in enumerate(chosen) if place % N_SPLITS]]
