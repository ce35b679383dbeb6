"""Records of an invented feature whose rule is known."""

from __future__ import annotations

import random

from featureinterp.record import ActivationRecord, ComplementaryRecordSource

WORDS = [" the", " raise", " error", " of", " value", "s", " and", " return", ".", "\n"]


def invented_record(number: int) -> ActivationRecord:
    """Level 5 on ' error' after ' raise', 1 on other ' error', 2 to 3 on ' value'; odd numbers are silent."""
    rng = random.Random(number)
    tokens = [rng.choice(WORDS) for _ in range(32)]
    positive = number % 2 == 0
    if not positive:
        tokens = [" other" if token in (" error", " value") else token for token in tokens]
    activations = []
    for before, token in zip([None, *tokens], tokens, strict=False):
        if token == " error":
            activations.append(4.0 if before == " raise" else 0.8)
        else:
            activations.append(1.6 + 0.8 * rng.random() if token == " value" else 0.0)
    source = None if positive else ComplementaryRecordSource.RANDOM
    return ActivationRecord(tuple(tokens), tuple(activations), (), number, 4.0, 0.0, source)
