"""Lexical simulator: matches a rule's words against tokens, without a language model.

It is a lookup with context, no understanding. Words of the lexical grammar (`featureinterp.phrases`) are
matched exactly. From free text by anybody it reads quoted strings and names of token classes; where there is
neither it falls back on the similarity between the text's embedding and that of each token with the token
before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from featureinterp.errors import ExplanationError, InputError
from featureinterp.phrases import Likeness, Phrase, Target, degree_in, match, parse_sentence, read_words
from featureinterp.protocols import TextEmbedder
from featureinterp.record import MAX_LEVEL
from featureinterp.simulator.rules import RuleOnWindow, RuleSimulatorFactory

LIKE_FROM, LIKE_TO = 0.45, 0.75
"""Cosine between two words at which likeness begins, and from which on it is complete."""

TEXT_FROM, TEXT_TO = 0.25, 0.65
"""The same between a free text and a word in its context, which are never as close as two words."""


class EmbeddingMemory:
    """Cache of text embeddings, with cosine similarity.

    Without an embedder the shipped one is loaded when the first text comes, with exact vectors: a feature's result
    must not depend on which texts of other features came before.
    """

    def __init__(self, embedder: TextEmbedder | None = None) -> None:
        self._embedder = embedder
        self._known: dict[str, NDArray[np.float32]] = {}

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors, float32 [texts, dimensions]; all 0 for a blank text."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._known]
        wordy = [text for text in missing if any(map(str.isalnum, text))]
        if wordy:
            if self._embedder is None:
                from featureinterp.llm.embedding import MiniLMEmbedder

                self._embedder = MiniLMEmbedder(device="cpu", exact=True)
            self._known.update(zip(wordy, self._embedder.embed(wordy), strict=True))
        width = len(next(iter(self._known.values()), ()))
        empty = np.zeros(width, dtype=np.float32)
        return np.stack([self._known.get(text, empty) for text in texts]) if texts else empty[None, :0]

    def forget(self, above: int) -> None:
        """Clear the cache if it has more than `above` vectors."""
        if len(self._known) > above:
            self._known.clear()

    def likeness(self, token: str, strings: Sequence[str]) -> float:
        """Similarity degree 0..1 of a token to the closest of the strings."""
        vectors = self.vectors([text.strip().lower() for text in (token, *strings)])
        return float(ramp(vectors[1:] @ vectors[0], LIKE_FROM, LIKE_TO).max(initial=0.0))

    def text_degrees(self, text: str, tokens: tuple[str, ...]) -> NDArray[np.float64]:
        """Similarity degree 0..1 of each token in its context to the text, float64 [tokens]."""
        contexts = [(before + token).strip() for before, token in pairwise(("", *tokens))]
        vectors = self.vectors([text, *contexts])
        return ramp(vectors[1:] @ vectors[0], TEXT_FROM, TEXT_TO)


def ramp(cosines: NDArray[np.float32], low: float, high: float) -> NDArray[np.float64]:
    """Map cosines to degrees: 0 up to `low`, 1 from `high` on, linear between."""
    return np.clip((np.asarray(cosines, dtype=np.float64) - low) / (high - low), 0.0, 1.0)


class LexicalLevels:
    """EV of a rule's words by the lexical grammar: 5 times the match degree."""

    def __init__(self, embeddings: EmbeddingMemory) -> None:
        self._embeddings = embeddings
        self._phrases: dict[str, list[Phrase]] = {}
        self._degrees: dict[Target, DegreeTable] = {}

    async def expected_levels(self, wanted: Sequence[RuleOnWindow]) -> list[NDArray[np.float64]]:
        """Return EV of each, float64 [tokens]."""
        return [self._of(words, tokens) for words, tokens in wanted]

    def _of(self, words: str, tokens: tuple[str, ...]) -> NDArray[np.float64]:
        if words not in self._phrases:
            self._phrases[words] = phrases_in(words)
        phrases = self._phrases[words]
        if not phrases:
            return MAX_LEVEL * self._embeddings.text_degrees(words, tokens)
        return MAX_LEVEL * np.max([match(phrase, tokens, self._table) for phrase in phrases], axis=0)

    def _table(self, target: Target) -> DegreeTable:
        if target not in self._degrees:
            self._degrees[target] = DegreeTable(target, self._embeddings.likeness)
        return self._degrees[target]


class LexicalSimulatorFactory(RuleSimulatorFactory):
    """Factory of lexical simulators with a shared cache."""

    def __init__(self, embeddings: EmbeddingMemory | None = None) -> None:
        self.embeddings = embeddings or EmbeddingMemory()
        super().__init__(LexicalLevels(self.embeddings))

    def fresh(self) -> LexicalSimulatorFactory:
        """Return a factory with the same embeddings and an empty cache."""
        return LexicalSimulatorFactory(self.embeddings)


def make_lexical_simulator_factory(
    what: str, *_unneeded: object, embeddings: EmbeddingMemory | None = None
) -> LexicalSimulatorFactory:
    """Make the factory registered as `lexical`; loads its embedder lazily.

    Raises:
        InputError: if something stands behind the name.
    """
    if what:
        raise InputError(f"the simulator 'lexical:{what}' is not known", "the lexical simulator is just `lexical`")
    return LexicalSimulatorFactory(embeddings)


class DegreeTable(dict[str, float]):
    """Lazy table of match degrees 0..1 of tokens to a target."""

    def __init__(self, target: Target, likeness: Likeness) -> None:
        super().__init__()
        self._degree = degree_in(target, likeness)

    def __missing__(self, token: str) -> float:
        self[token] = degree = self._degree(token)
        return degree


def phrases_in(words: str) -> list[Phrase]:
    """Parse a rule's words: lexical grammar, else quoted strings and class names of free text; [] if none."""
    try:
        return list(parse_sentence(words))
    except ExplanationError:
        return read_words(words)
