"""Same-token negatives: silent windows that contain a token on which the latent peaks.

A peak token is the token at the maximum of a train positive. An explanation that names the token
without its context fails on these windows, so they are the hardest.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from featureinterp.dataset.retrieval.window_index import WindowIndex
from featureinterp.record import N_SPLITS


def peak_tokens(tokens: NDArray[np.integer], activations: NDArray[np.floating]) -> dict[int, int]:
    """Return how many windows peak on each token, the most frequent first; equals by number.

    Args:
        tokens: int [windows, T].
        activations: float [windows, T]; of equal largest ones the first counts.

    >>> peak_tokens(np.array([[7, 8], [9, 7], [7, 8]]), np.array([[1, 0], [2, 0], [3, 3]]))
    {7: 2, 9: 1}
    """
    peaks = tokens[np.arange(len(tokens)), activations.argmax(axis=1)]
    found, counts = np.unique(peaks, return_counts=True)
    order = np.lexsort((found, -counts))
    return dict(zip(found[order].tolist(), counts[order].tolist(), strict=True))


def same_token_windows(
    peaks: dict[int, int], index: WindowIndex, silent: NDArray[np.bool_], random: np.random.Generator
) -> Iterator[int]:
    """Yield the silent windows that contain a peak token, each once, such that any beginning is spread proportionally.

    The seats of a list are allotted to the peak tokens by how often they are peaks, with the divisors 1, 3, 5, ...
    (Webster's method; Balinski and Young, Fair Representation, 1982). Largest remainders give the same allotment where
    the quotas are whole numbers, but only a divisor method keeps every beginning of the list proportional. A seat is
    three windows in a row, one for each split. A token without further windows leaves its seats to the others.

    Args:
        peaks: how often each token is a peak.
        index: of the corpus.
        silent: bool [windows], whether the latent is silent.
        random: orders the windows of a token.
    """
    queues = []
    for place, (token, count) in enumerate(peaks.items()):
        windows = index.windows_with(token)
        queues.append(_seats(random.permutation(windows[silent[windows]]), count, place))
    given: set[int] = set()
    for _, _, _, windows in heapq.merge(*queues):
        for window in windows:
            if window not in given:
                given.add(window)
                yield window


def _seats(windows: NDArray[np.integer], count: int, place: int) -> Iterator[tuple[float, int, int, Sequence[int]]]:
    """Yield a token's windows by seats, with the seat's rank among those of all tokens."""
    for seat, start in enumerate(range(0, len(windows), N_SPLITS)):
        yield (seat + 0.5) / count, place, seat, windows[start : start + N_SPLITS].tolist()
