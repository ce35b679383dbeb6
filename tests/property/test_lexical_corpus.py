"""Exhaustive simulation against the simulator of windows, and against the grammar read place by place."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featureinterp.core import CorpusTokens, Rule, StructuredExplanation
from featureinterp.errors import ExplanationError
from featureinterp.phrases import Phrase, Target, TargetKind, TokenClass, degrees_in, render_sentence
from featureinterp.simulator import LexicalSimulatorFactory
from featureinterp.simulator.lexical import EmbeddingMemory, phrases_in
from featureinterp.simulator.lexical_corpus import LexicalCorpus

BOS = "<|endoftext|>"
ODD = (
    BOS, " the", "the", " The", "THE", "\n", "\n    ", "  ", "", "\t", "\\xe2\\x80", "\\x99", "\u2019",
    "ing", " Raising", "_x", "(", ").", " 42", "4", "'", "\ud83d", "İ",
)  # fmt: skip
words = st.sampled_from(ODD)
vocabularies = st.lists(words | st.text(max_size=6), min_size=1, max_size=20)


class SeededEmbedder:
    """Unit vectors in three dimensions, drawn by the text: any two may be alike to any degree."""

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        seeds = (int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass")).digest()[:8], "big") for text in texts)
        drawn = np.stack([np.random.default_rng(seed).normal(size=3) for seed in seeds])
        return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


MEMORY = EmbeddingMemory(SeededEmbedder())


@st.composite
def phrases(draw: st.DrawFn, vocabulary: Sequence[str]) -> Phrase:
    """A phrase of any form, which speaks mostly of strings that occur."""
    quoted = st.lists(st.sampled_from([*vocabulary, "the", "ing", "x"]), min_size=1, max_size=4).map(tuple)
    quoting = [kind for kind in TargetKind if kind not in (TargetKind.CLASS, TargetKind.ANY)]
    targets = (
        st.builds(Target, st.sampled_from(quoting), quoted)
        | st.builds(lambda known: Target(TargetKind.CLASS, token_class=known), st.sampled_from(TokenClass))
        | st.just(Target(TargetKind.ANY))
    )
    optional = st.none() | targets
    return draw(st.builds(Phrase, targets, after=optional, not_after=optional, earlier=optional))


@st.composite
def explanations(draw: st.DrawFn, vocabulary: Sequence[str]) -> StructuredExplanation:
    """Rules and sentences of the grammar, and free text that quotes or names a class."""
    sentences = st.lists(phrases(vocabulary), min_size=1, max_size=3).map(render_sentence)
    free = st.sampled_from(['mentions of "The" or digits', "names, and opening brackets", "where ‘raising’ stands"])
    rules = st.builds(Rule, sentences | free, st.integers(0, 5))
    return StructuredExplanation(tuple(draw(st.lists(rules, min_size=1, max_size=4))))


def degree(target: Target, token: str) -> float:
    return degrees_in(target, [token], MEMORY.likeness).item()


def degree_at(phrase: Phrase, window: Sequence[str], i: int) -> float:
    """The least of a phrase's parts, each looked up for itself."""
    parts = [degree(phrase.target, window[i])]
    if phrase.after is not None:
        parts.append(degree(phrase.after, window[i - 1]) if i else 0.0)
    if phrase.not_after is not None:
        parts.append(1.0 - (degree(phrase.not_after, window[i - 1]) if i else 0.0))
    if phrase.earlier is not None:
        parts.append(max((degree(phrase.earlier, token) for token in window[:i]), default=0.0))
    return min(parts)


def level_at(rule: Rule, window: Sequence[str], i: int) -> float:
    return 5 * max(degree_at(phrase, window, i) for phrase in phrases_in(rule.activates_on))


@settings(max_examples=150)
@given(st.data(), vocabularies, st.integers(1, 6), st.integers(1, 9), st.booleans())
def test_a_corpus_of_ids_is_simulated_as_its_windows_of_strings_are(
    data: st.DataObject, vocabulary: list[str], n: int, length: int, has_bos: bool
):
    """Of ids with gaps between, several of which may have the same string."""
    vocabulary = [BOS, *vocabulary]
    explanation = data.draw(explanations(vocabulary))
    drawn = st.lists(st.integers(0, len(vocabulary) - 1), min_size=length, max_size=length)
    numbers = np.array(data.draw(st.lists(drawn, min_size=n, max_size=n)), dtype=np.int32)
    tokens = np.pad(numbers, ((0, 0), (1, 0)))[:, 1:] if has_bos else numbers

    def strings(ids: Sequence[int]) -> list[str]:
        return [vocabulary[i // 7] for i in ids]

    expected, claimed = LexicalCorpus(CorpusTokens.of(7 * tokens, strings), MEMORY).simulate(explanation)
    windows = [tuple(vocabulary[i] for i in row) for row in numbers.tolist()]
    simulations = asyncio.run(LexicalSimulatorFactory(MEMORY)(explanation).simulate(windows))
    assert (expected.dtype, expected.shape, claimed.dtype) == (np.float32, (n, length), bool)
    assert np.array_equal(expected, np.array([s.expected_activations for s in simulations], dtype=np.float32))
    assert np.array_equal(claimed, np.array([s.claims for s in simulations]))
    for window, levels, claims in zip(windows, expected.tolist(), claimed.tolist(), strict=True):
        for i in range(length):
            by_rule = [level_at(rule, window, i) for rule in explanation.rules]
            strongest = max(level * (rule.strength / 5) for level, rule in zip(by_rule, explanation.rules, strict=True))
            assert levels[i] == np.float32(strongest)
            heard = [level for level, rule in zip(by_rule, explanation.rules, strict=True) if rule.strength > 0]
            assert claims[i] == (max(heard, default=0.0) > 1)


@pytest.mark.parametrize("length", [1, 3, 40_000])
def test_blocks_of_windows_leave_no_seam(length: int):
    """A block holds some thousand tokens: windows that are longer, and many that are shorter."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 50, size=(max(2, 100_000 // length), length))
    explanation = StructuredExplanation(
        (Rule("the token '7' right after '3'", 2), Rule("the tokens '1', '2' with '9' before", 5))
    )
    expected, claimed = LexicalCorpus(CorpusTokens.of(tokens, lambda ids: list(map(str, ids)))).simulate(explanation)
    before = np.pad(tokens, ((0, 0), (1, 0)), constant_values=-1)[:, :-1]
    seen = np.pad(np.cumsum(tokens == 9, axis=1), ((0, 0), (1, 0)))[:, :-1] > 0
    first, second = (tokens == 7) & (before == 3), np.isin(tokens, (1, 2)) & seen
    assert first.any() or length == 1
    assert np.array_equal(expected, np.where(second, 5, np.where(first, 2, 0)))
    assert np.array_equal(claimed, first | second)


def test_free_text_without_quotes_or_classes_is_refused():
    corpus = LexicalCorpus(CorpusTokens(np.zeros((1, 2), dtype=np.int32), ("a",)), MEMORY)
    explanation = StructuredExplanation((Rule("the token 'a'", 5), Rule("things that go wrong", 3)))
    with pytest.raises(ExplanationError, match="'things that go wrong' cannot be simulated on a whole corpus"):
        corpus.simulate(explanation)
