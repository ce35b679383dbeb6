"""Lexical simulator: matches a rule's words against tokens, without a language model.

It is a lookup with context, no understanding. Words of the lexical grammar (`featureinterp.phrases`) are
matched exactly. From free text by anybody it reads quoted strings and names of token classes; where there is
neither it falls back on the similarity between the text's embedding and that of each token with the token
before it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from featureinterp.errors import ExplanationError, InputError
from featureinterp.phrases import Phrase, parse_sentence, read_words
from featureinterp.protocols import TextEmbedder
from featureinterp.record import MAX_LEVEL
from featureinterp.simulator.rules import RuleOnWindow, RuleSimulatorFactory
from featureinterp.simulator.vocabulary import Vocabulary

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

    def likeness(self, tokens: Sequence[str], strings: Sequence[str]) -> NDArray[np.float64]:
        """Similarity degree 0..1 of each token to the closest of the strings, float64 [tokens]."""
        vectors = self.vectors([text.strip().lower() for text in (*tokens, *strings)])
        own, others = vectors[: len(tokens), :, None], vectors[len(tokens) :]
        # One product a token: in one product of two matrices a token's last bit would depend on the other tokens.
        return ramp(np.matmul(others, own), LIKE_FROM, LIKE_TO).max(axis=(1, 2), initial=0.0)

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
        self._vocabulary = Vocabulary(embeddings.likeness)
        self._phrases: dict[str, list[Phrase]] = {}
        self._windows: dict[tuple[str, ...], NDArray[np.intp]] = {}

    async def expected_levels(self, wanted: Sequence[RuleOnWindow]) -> list[NDArray[np.float64]]:
        """Return EV of each, float64 [tokens]; the windows of a rule that are equally long are computed together."""
        groups: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
        for place, (words, tokens) in enumerate(wanted):
            groups[words, len(tokens)].append(place)
        levels: dict[int, NDArray[np.float64]] = {}
        for (words, _), places in groups.items():
            phrases = self._phrases_in(words)
            if phrases:
                windows = np.stack([self._ids(wanted[place].tokens) for place in places])
                degrees = self._vocabulary.degrees(phrases, windows)
            else:
                degrees = np.stack([self._embeddings.text_degrees(words, wanted[place].tokens) for place in places])
            levels.update(zip(places, MAX_LEVEL * degrees, strict=True))
        return [levels[place] for place in range(len(wanted))]

    def _ids(self, tokens: tuple[str, ...]) -> NDArray[np.intp]:
        if tokens not in self._windows:
            self._windows[tokens] = self._vocabulary.ids(tokens)
        return self._windows[tokens]

    def _phrases_in(self, words: str) -> list[Phrase]:
        if words not in self._phrases:
            self._phrases[words] = phrases_in(words)
        return self._phrases[words]


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


def phrases_in(words: str) -> list[Phrase]:
    """Parse a rule's words: lexical grammar, else quoted strings and class names of free text; [] if none."""
    try:
        return list(parse_sentence(words))
    except ExplanationError:
        return read_words(words)
