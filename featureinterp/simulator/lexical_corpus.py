"""Exhaustive simulation: what a lexical explanation expects of every token of a corpus.

    corpus = LexicalCorpus(CorpusTokens.of(windows.text_tokens, model.token_strings))
    expected, claimed = corpus.simulate(explanation)

The windows stay arrays of token ids; only the strings of the ids that occur are looked at, once per target. The
result equals that of the lexical simulator on the windows' strings, rounded to float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from featureinterp.core import CorpusTokens, StructuredExplanation
from featureinterp.errors import ExplanationError
from featureinterp.phrases import Phrase
from featureinterp.record import MAX_LEVEL
from featureinterp.simulator.lexical import EmbeddingMemory, phrases_in
from featureinterp.simulator.rules import strongest
from featureinterp.simulator.vocabulary import Vocabulary

_BLOCK_TOKENS = 2**15
"""Tokens computed at once: their arrays stay in a core's cache."""


class CorpusSimulation(NamedTuple):
    """What an explanation expects of every token of a corpus."""

    expected: NDArray[np.float32]
    """Expected level 0..5 [windows, tokens]."""
    claimed: NDArray[np.bool_]
    """Whether the words of any rule of a strength above 0 expect it above level 1, before the strength is applied
    [windows, tokens]."""


class LexicalCorpus:
    """A corpus on which explanations are simulated without a language model.

    Args:
        corpus: its windows, as numbers of token strings.
        embeddings: shared with others; its own by default.
    """

    def __init__(self, corpus: CorpusTokens, embeddings: EmbeddingMemory | None = None) -> None:
        self._vocabulary = Vocabulary((embeddings or EmbeddingMemory()).likeness)
        self._vocabulary.ids(corpus.strings)  # in their order, so that their numbers stay
        self._ids = corpus.ids

    def simulate(self, explanation: StructuredExplanation) -> CorpusSimulation:
        """Simulate an explanation on the whole corpus.

        Raises:
            ExplanationError: if a rule is free text that names no string and no class of tokens: it is compared with
                every token in its context by embeddings, which a whole corpus has too many of.
        """
        rules = [_phrases_in(rule.activates_on) for rule in explanation.rules]
        expected = np.empty(self._ids.shape, dtype=np.float32)
        claimed = np.empty(self._ids.shape, dtype=bool)
        step = max(1, _BLOCK_TOKENS * len(self._ids) // max(self._ids.size, 1))
        for start in range(0, len(self._ids), step):
            rows = slice(start, start + step)
            ids = self._ids[rows].astype(np.intp)
            levels = MAX_LEVEL * np.stack([self._vocabulary.degrees(phrases, ids) for phrases in rules])
            expected[rows], claimed[rows] = strongest(explanation, levels)
        self._vocabulary.forget_tables()
        return CorpusSimulation(expected, claimed)


def _phrases_in(words: str) -> Sequence[Phrase]:
    phrases = phrases_in(words)
    if not phrases:
        raise ExplanationError(
            f"the rule {words!r} cannot be simulated on a whole corpus: it is free text without a quoted string or a "
            "class of tokens",
            "simulate it on sampled windows, or name the tokens in quotes",
        )
    return phrases
