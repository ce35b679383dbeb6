"""Inverted index of a corpus: the windows of every token, and groups of windows that are never divided between splits.

Two token ids of the same text count as one token: what a person reads decides.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featureinterp.dataset.corpus.window_texts import TokenStrings
from featureinterp.dataset.corpus.windows import Windows
from featureinterp.dataset.retrieval.near_duplicates import window_groups


@dataclass(frozen=True)
class WindowIndex:
    """Windows by token, in one array, and the group of each window."""

    tokens: NDArray[np.int32]
    """Number of the text of each token, [windows, T]."""
    indptr: NDArray[np.int64]
    """The windows of token i are `windows[indptr[i]:indptr[i + 1]]`, [tokens + 1]."""
    windows: NDArray[np.int32]
    """Ascending within a token, each once."""
    groups: NDArray[np.int64]
    """A number for all windows of a document and all near-duplicates of these, [windows]."""

    @classmethod
    def of(cls, windows: Windows, token_strings: TokenStrings) -> WindowIndex:
        """Build the index of a corpus."""
        ids, where = np.unique(windows.text_tokens, return_inverse=True)
        strings = np.array([*token_strings(ids.tolist()), None], dtype=object)[:-1]
        texts, text_of = np.unique(strings, return_inverse=True)
        tokens = text_of[where].reshape(windows.text_tokens.shape).astype(np.int32)
        n = len(tokens)
        pairs = np.sort((tokens * np.int64(n) + np.arange(n)[:, None]).ravel())
        pairs = pairs[np.diff(pairs, prepend=-1) > 0]
        indptr = np.searchsorted(pairs, np.arange(len(texts) + 1) * n)
        return cls(tokens, indptr, (pairs % max(n, 1)).astype(np.int32), window_groups(tokens, windows.documents))

    def windows_with(self, token: int) -> NDArray[np.int32]:
        """Return the windows that contain a token, ascending."""
        return self.windows[self.indptr[token] : self.indptr[token + 1]]

    def contain(self, tokens: Iterable[int]) -> NDArray[np.bool_]:
        """Return which windows contain any of some tokens, bool [windows]."""
        found = np.zeros(len(self.tokens), dtype=bool)
        for token in tokens:
            found[self.windows_with(token)] = True
        return found
