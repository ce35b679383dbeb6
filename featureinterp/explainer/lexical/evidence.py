"""Train records as arrays, so that many candidate rules can be tried at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from featureinterp.errors import InputError
from featureinterp.formatting import discretise
from featureinterp.phrases import Likeness, Phrase, Target, TargetKind, combine, degrees_in
from featureinterp.record import ActivationRecord

NO_TOKEN = -1
"""Vocabulary number of the position before a window's first token and of padding after its last."""


def check_causes(records: Sequence[ActivationRecord]) -> None:
    """Check that the holistic activations of records were measured.

    Raises:
        InputError: if no record has any.
    """
    if not any(record.holistic_expressions for record in records):
        raise InputError(
            "the explainer uses activation-causing tokens, but the records have none",
            "`featureinterp records --write-sae-acts --write-holistic-acts --write-records` makes them",
        )


class Evidence:
    """The tokens and true levels of some records, with the degrees of phrases on them.

    Attributes:
        strings: the distinct tokens, in order of first appearance.
        ids: int64 [windows, tokens], numbers into `strings`, NO_TOKEN for padding.
        levels: float64 [windows, tokens], true levels 0..5, 0 for padding.
        is_token: bool [windows, tokens], False for padding.
        causes: int64 [windows, tokens], level 0..5 of each token's holistic activation; 0 for padding
            and unmeasured tokens.
    """

    def __init__(self, records: Sequence[ActivationRecord], likeness: Likeness) -> None:
        self._likeness = likeness
        self._degrees: dict[Target, NDArray[np.float64]] = {}
        number: dict[str, int] = {}
        longest = max((len(record.tokens) for record in records), default=0)
        self.ids = np.full((len(records), longest), NO_TOKEN, dtype=np.int64)
        self.levels = np.zeros((len(records), longest))
        self.causes = np.zeros((len(records), longest), dtype=np.int64)
        for row, record in enumerate(records):
            ids = [number.setdefault(token, len(number)) for token in record.tokens]
            self.ids[row, : len(ids)] = ids
            self.levels[row, : len(ids)] = record.scaled_activations()
            if record.holistic_expressions:
                self.causes[row, : len(ids)] = discretise(record.holistic_expressions, record.max_holistic_expression)
        self.strings = tuple(number)
        self.is_token = self.ids != NO_TOKEN
        self.before = np.full_like(self.ids, NO_TOKEN)
        self.before[:, 1:] = self.ids[:, :-1]

    def target_degrees(self, target: Target) -> NDArray[np.float64]:
        """Degree 0..1 to which each token is in the target, float64 [windows, tokens]."""
        if target not in self._degrees:
            by_string = degrees_in(target, self.strings, self._likeness)
            self._degrees[target] = np.append(by_string, 0.0)[self.ids]  # NO_TOKEN indexes the last one
        return self._degrees[target]

    def phrase_degrees(self, phrase: Phrase) -> NDArray[np.float64]:
        """Degree 0..1 to which the phrase holds at each token, float64 [windows, tokens]."""

        def degrees(target: Target | None) -> NDArray[np.float64] | None:
            return None if target is None else self.target_degrees(target)

        target = self.target_degrees(phrase.target)
        return combine(target, degrees(phrase.after), degrees(phrase.not_after), degrees(phrase.earlier))

    def tokens_target(self, numbers: Sequence[int]) -> Target:
        """Make the target of exactly these tokens."""
        return Target(TargetKind.TOKENS, tuple(self.strings[number] for number in numbers))
