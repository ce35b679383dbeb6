"""Token strings by number, so that phrases are matched on arrays of numbers.

The degree of a token in a target depends on the token's string alone. So it is computed once per string and kept as a
table, and matching a phrase on any number of windows is a look-up in its tables and a comparison with the tokens
before.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from featureinterp.phrases import Likeness, Phrase, Target, degrees_in, match


class Vocabulary:
    """Distinct token strings, numbered in order of appearance, with tables of degrees by target."""

    def __init__(self, likeness: Likeness) -> None:
        self._likeness = likeness
        self._numbers: dict[str, int] = {}
        self._tables: dict[Target, NDArray[np.float64]] = {}

    def ids(self, tokens: Sequence[str]) -> NDArray[np.intp]:
        """Return the number of each token, intp [tokens]; new strings get the next ones."""
        numbers = self._numbers
        return np.array([numbers.setdefault(token, len(numbers)) for token in tokens], dtype=np.intp)

    def degrees(self, phrases: Sequence[Phrase], ids: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the degree 0..1 to which the best of some phrases, one at least, holds, float64 [..., tokens].

        Args:
            phrases: a sentence.
            ids: windows as numbers of tokens [..., tokens].
        """
        best = match(phrases[0], ids, self._table)
        for phrase in phrases[1:]:
            best = np.maximum(best, match(phrase, ids, self._table))
        return best

    def forget_tables(self) -> None:
        """Drop the tables, which take 8 bytes a string and target."""
        self._tables.clear()

    def _table(self, target: Target) -> NDArray[np.float64]:
        """Return the degree of every string, extended by those that came since it was made."""
        table = self._tables.get(target, np.zeros(0))
        if len(table) < len(self._numbers):
            new = list(self._numbers)[len(table) :]
            table = np.concatenate([table, degrees_in(target, new, self._likeness)])
            self._tables[target] = table
        return table
