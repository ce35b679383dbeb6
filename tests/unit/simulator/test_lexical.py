"""The lexical simulator: exact on its own grammar, useful on free text, and the maximum over rules."""

import asyncio

import numpy as np
import pytest

from featureinterp.core import Rule, StructuredExplanation
from featureinterp.simulator import LexicalSimulatorFactory
from featureinterp.simulator.lexical import EmbeddingMemory, ramp

TOKENS = ("an", " raise", " error", "\n", " 42", " error")


class TableEmbedder:
    """Unit vectors by table; counts the texts it was asked for."""

    table = {"error": (1, 0), "mistake": (0.8, 0.6), "raise": (0, 1), "42": (0, 1)}

    def __init__(self):
        self.asked = []

    def embed(self, texts):
        self.asked += texts
        return np.array([self.table.get(text, (0.0, 1.0)) for text in texts], dtype=np.float32)


def simulate(factory, *rules):
    explanation = StructuredExplanation(tuple(Rule(words, strength) for words, strength in rules))
    [simulation] = asyncio.run(factory(explanation).simulate([TOKENS]))
    assert simulation.tokens == TOKENS
    return list(simulation.expected_activations)


def test_expected_level_is_the_strongest_rule_that_applies():
    factory = LexicalSimulatorFactory()
    levels = simulate(
        factory,
        ("the token ' error'", 2),
        ("the token ' error' right after ' raise'", 4),
        ("numbers", 1),
    )
    assert levels == [0, 0, 4, 0, 1, 2]


def test_a_rule_is_computed_once_per_window_whatever_its_strength():
    factory = LexicalSimulatorFactory()
    simulate(factory, ("numbers", 1), ("line breaks", 3))
    assert factory.memory.computed == 2
    assert simulate(factory, ("numbers", 5), ("line breaks", 3)) == [0, 0, 0, 3, 5, 0]
    assert factory.memory.computed == 2


def test_free_text_with_quotes_is_a_lookup_of_its_words():
    assert simulate(LexicalSimulatorFactory(), ('mentions of "Error" or digits', 5)) == [0, 0, 5, 0, 5, 5]


def test_words_like_grades_by_cosine():
    embedder = TableEmbedder()
    factory = LexicalSimulatorFactory(EmbeddingMemory(embedder))
    levels = simulate(factory, ("words like 'mistake'", 5))
    assert levels[2] == levels[5] == pytest.approx(5.0)
    assert levels[1] == levels[4] == pytest.approx(5 * (0.6 - 0.45) / (0.75 - 0.45))
    assert levels[3] == 0  # a line break is like no word
    assert len(embedder.asked) == len(set(embedder.asked))


def test_free_text_without_quotes_compares_meaning():
    class Meaning:
        def embed(self, texts):
            close = {"things that go wrong", "raise error", "42 error"}
            return np.array([(1.0, 0.0) if text in close else (0.0, 1.0) for text in texts], dtype=np.float32)

    factory = LexicalSimulatorFactory(EmbeddingMemory(Meaning()))
    assert simulate(factory, ("things that go wrong", 5)) == [0, 0, 5, 0, 0, 5]


def test_ramp():
    assert ramp(np.array([-1.0, 0.2, 0.35, 0.5, 1.0]), 0.2, 0.5).tolist() == pytest.approx([0, 0, 0.5, 1, 1])


def test_no_sequence_gives_no_simulation():
    factory = LexicalSimulatorFactory()
    assert asyncio.run(factory(StructuredExplanation.from_text("numbers")).simulate([])) == []
    [empty] = asyncio.run(factory(StructuredExplanation.from_text("numbers")).simulate([[]]))
    assert empty.expected_activations == ()
