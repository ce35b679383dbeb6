"""Phrases matched on the tokens of one window."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from featureinterp.phrases import Likeness, Phrase
from featureinterp.simulator.vocabulary import Vocabulary


def never(tokens: Sequence[str], strings: Sequence[str]) -> NDArray[np.float64]:
    """Likeness where no phrase asks for it."""
    raise AssertionError(f"likeness of {len(tokens)} tokens to {strings} was asked for")


def match_tokens(phrase: Phrase, tokens: Sequence[str], likeness: Likeness = never) -> NDArray[np.float64]:
    """Degree 0..1 to which a phrase holds at every token [tokens]."""
    vocabulary = Vocabulary(likeness)
    return vocabulary.degrees([phrase], vocabulary.ids(tokens))
