"""Baselines: token lookup and the explanation of another feature."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from featureinterp.core import SequenceSimulation
from featureinterp.errors import InputError
from featureinterp.formatting import discretise
from featureinterp.record import ActivationRecord

Feature = TypeVar("Feature")


class TokenLookupSimulator:
    """Token-lookup baseline: predicts a token's mean level in the train records, 0 for unseen tokens."""

    def __init__(self, train_records: Sequence[ActivationRecord]) -> None:
        levels: defaultdict[str, list[int]] = defaultdict(list)
        for record in train_records:
            of_record = discretise(record.expressions, record.max_expression)
            for token, level in zip(record.tokens, of_record.tolist(), strict=True):
                levels[token].append(level)
        self._table = {token: float(np.mean(seen)) for token, seen in levels.items()}

    async def simulate(self, token_sequences: Sequence[Sequence[str]]) -> list[SequenceSimulation]:
        """Return the looked-up level of every token."""
        return [
            SequenceSimulation(tuple(tokens), tuple(self._table.get(token, 0.0) for token in tokens))
            for tokens in token_sequences
        ]


def pick_other(candidates: Sequence[Feature], own: Feature, rng: np.random.Generator) -> Feature:
    """Choose the feature whose explanation is the shuffled baseline of this one.

    Args:
        candidates: features that have an explanation, in an order that does not depend on when they were made.
        own: the feature that needs the floor; it is never picked.
        rng: source of randomness.

    Raises:
        InputError: if there is no other candidate.
    """
    others = [candidate for candidate in candidates if candidate != own]
    if not others:
        raise InputError(f"there is no other explained feature than {own}", "explain at least two features of the hook")
    return others[int(rng.integers(len(others)))]
