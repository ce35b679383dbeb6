"""Complementary sources of other packages: windows that fill the list `other` of a latent's records."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featureinterp.dataset.corpus.window_texts import TokenStrings
from featureinterp.errors import InputError
from featureinterp.registry import Registry

SOURCES = Registry("source", {}, group="featureinterp.sources")
"""Complementary sources: none of this package, for its own are always drawn."""


@dataclass(frozen=True)
class LatentOnCorpus:
    """What a source knows of a latent and its corpus."""

    tokens: NDArray[np.int32]
    """Token ids, BOS not included, int32 [windows, T]."""
    token_strings: TokenStrings
    """From token ids to their texts."""
    embeddings: NDArray[np.float32]
    """Of the text of each window, float32 [windows, d], unit rows."""
    maxima: NDArray[np.float32]
    """The latent's largest activation on each window, 0 where it is silent, float32 [windows]."""
    train_positives: tuple[int, ...]
    """Positives that explanations are made from."""
    train_activations: NDArray[np.float32]
    """On them, float32 [positives, T]."""
    random: np.random.Generator
    """The source's own generator, from the seed of the data."""


WindowSource = Callable[[LatentOnCorpus], Iterable[int]]
"""Gives windows of the corpus, the preferred ones first. Those of documents in another split are passed over."""


def chosen_windows(name: str, latent: LatentOnCorpus) -> list[int]:
    """Return the windows that a source of this name gives for a latent, each once.

    Raises:
        InputError: if there is no such source, or it gives something that is no window of the corpus.
    """
    source: WindowSource = SOURCES.load(name)
    found = source(latent)
    try:
        given = list(dict.fromkeys(found))
    except TypeError as error:
        raise InputError(f"the source {name!r} gives no windows: {error}", "give row numbers of the corpus") from error
    for window in given:
        if not isinstance(window, (int, np.integer)) or not 0 <= window < len(latent.tokens):
            raise InputError(
                f"the source {name!r} gives {window!r}, which is no window of the corpus",
                f"give row numbers from 0 to {len(latent.tokens) - 1}",
            )
    return [int(window) for window in given]
