"""Every simulator keeps the promises that scoring relies on, whatever the tokens and the words."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from copy import deepcopy

import pytest

from featureinterp import simulator
from featureinterp.core import Rule, SequenceSimulation, StructuredExplanation
from featureinterp.protocols import SimulatorFactory
from tests.contract.parts import SIMULATORS, TRAIN, WORDLESS
from tests.report.features import HOSTILE_TOKENS

TOLERANCE = 1e-4
"""Levels; simulators that compute in single precision may round differently with the batch."""

HOSTILE = (
    *HOSTILE_TOKENS,
    "<end>",
    "<start>",
    "unknown",
    "a\tb\n\t5",
    "\\n",
    "'",
    "\\xe2\\x80",
    "5",
    "long " * 2000,
)
SENTENCES = [record.tokens for record in TRAIN[:4]]
SEQUENCES: list[Sequence[str]] = [
    SENTENCES[0],
    (),
    HOSTILE,
    *((token,) for token in HOSTILE),
    SENTENCES[1],
    SENTENCES[0],
    [],
]
WORDS = StructuredExplanation(
    (Rule("the token ' error' right after ' raise'", 5), Rule("numbers, and values of all kinds", 2))
)
HOSTILE_WORDS = StructuredExplanation(
    tuple(Rule(words, 5) for words in ("<script>'\n\t", "the token '", "\ud83d", "{{7*7}} \\u{110000}", "x" * 10_000))
)
EVERYTHING = {**SIMULATORS, **WORDLESS}


def test_every_registered_simulator_is_here() -> None:
    assert SIMULATORS.keys() == simulator.SIMULATORS.keys()


@pytest.fixture(params=EVERYTHING, scope="module")
def factory(request: pytest.FixtureRequest) -> SimulatorFactory:
    return EVERYTHING[request.param]()


@pytest.fixture(params=SIMULATORS, scope="module")
def reading_factory(request: pytest.FixtureRequest) -> SimulatorFactory:
    """Of simulators that read the words of an explanation."""
    return SIMULATORS[request.param]()


def simulate(
    factory: SimulatorFactory, words: StructuredExplanation, sequences: Sequence[Sequence[str]]
) -> list[SequenceSimulation]:
    return asyncio.run(factory(words).simulate(sequences))


def levels(factory: SimulatorFactory, *rules: tuple[str, int]) -> list[float]:
    """Expected levels of the tokens of all sentences in a row."""
    words = StructuredExplanation(tuple(Rule(*rule) for rule in rules))
    return [level for each in simulate(factory, words, SENTENCES) for level in each.expected_activations]


@pytest.mark.parametrize("words", [WORDS, HOSTILE_WORDS], ids=["plain words", "hostile words"])
def test_one_simulation_per_sequence_in_order_with_a_level_per_token(
    factory: SimulatorFactory, words: StructuredExplanation
) -> None:
    simulations = simulate(factory, words, SEQUENCES)
    assert [simulation.tokens for simulation in simulations] == [tuple(sequence) for sequence in SEQUENCES]
    for simulation in simulations:
        assert len(simulation.expected_activations) == len(simulation.tokens)
        assert all(isinstance(level, float) for level in simulation.expected_activations)
        assert all(-TOLERANCE <= level <= 5 + TOLERANCE for level in simulation.expected_activations)


def test_no_sequences_no_simulations(factory: SimulatorFactory) -> None:
    assert simulate(factory, WORDS, []) == []


def test_a_sequence_is_simulated_alike_alone_and_among_others(factory: SimulatorFactory) -> None:
    together = simulate(factory, WORDS, SEQUENCES)
    for position in (0, 1, 2, len(SEQUENCES) - 3):
        [alone] = simulate(factory, WORDS, [SEQUENCES[position]])
        assert alone.expected_activations == pytest.approx(together[position].expected_activations, abs=TOLERANCE)


def test_simulators_of_one_factory_do_not_disturb_each_other(factory: SimulatorFactory) -> None:
    other = StructuredExplanation.from_text("the token ' the'")

    async def at_once() -> list[list[SequenceSimulation]]:
        simulators = [factory(words) for words in (WORDS, other, WORDS)]
        return list(await asyncio.gather(*(simulator.simulate(SENTENCES) for simulator in simulators)))

    first, second, again = asyncio.run(at_once())
    assert first == again == simulate(factory, WORDS, SENTENCES)
    assert second == simulate(factory, other, SENTENCES)


def test_arguments_are_left_as_they_were(factory: SimulatorFactory) -> None:
    sequences = [list(sequence) for sequence in SENTENCES]
    before = deepcopy(sequences)
    simulate(factory, WORDS, sequences)
    assert sequences == before


def test_the_tokens_of_a_window_after_a_token_do_not_change_it(reading_factory: SimulatorFactory) -> None:
    """Like the model under study, which reads from left to right, a simulator knows only what stands before."""
    [whole] = simulate(reading_factory, WORDS, [SENTENCES[0]])
    [beginning] = simulate(reading_factory, WORDS, [SENTENCES[0][:9]])
    assert whole.expected_activations[:9] == pytest.approx(beginning.expected_activations, abs=TOLERANCE)


def test_the_words_decide(reading_factory: SimulatorFactory) -> None:
    assert levels(reading_factory, ("the token ' error'", 5)) != levels(reading_factory, ("the token ' of'", 5))


def test_an_explanation_expects_what_its_strongest_rule_does(reading_factory: SimulatorFactory) -> None:
    first, second = ("the token ' error'", 3), ("numbers, and ends of sentences", 5)
    joined = levels(reading_factory, first, second)
    apart = zip(levels(reading_factory, first), levels(reading_factory, second), strict=True)
    assert joined == pytest.approx([max(pair) for pair in apart], abs=TOLERANCE)


def test_expectation_is_in_proportion_to_strength(reading_factory: SimulatorFactory) -> None:
    full = levels(reading_factory, ("the token ' error'", 5))
    assert max(full) > 0
    for strength in range(5):
        weaker = levels(reading_factory, ("the token ' error'", strength))
        assert weaker == pytest.approx([level * strength / 5 for level in full], abs=TOLERANCE)
    assert not math.fsum(levels(reading_factory, ("the token ' error'", 0)))
