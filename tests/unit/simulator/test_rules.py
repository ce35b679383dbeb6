"""Rules are computed once, those asked for together in one batch, and an error spoils only who asked for it."""

import asyncio

import numpy as np
import pytest

from featureinterp.core import Rule, StructuredExplanation
from featureinterp.errors import InputError, SimulationError
from featureinterp.simulator import SIMULATORS, LexicalSimulatorFactory, make_simulator_factory
from featureinterp.simulator.rules import RuleSimulatorFactory

WINDOWS = [("a", "b"), ("c", "d", "e")]


class Slow:
    """EV is the length of the words; notes every batch; words with `!` fail."""

    def __init__(self):
        self.batches = []

    async def expected_levels(self, wanted):
        self.batches.append(list(wanted))
        await asyncio.sleep(0.01)
        return [
            SimulationError(f"{words} is too long") if "!" in words else np.full(len(tokens), float(len(words)))
            for words, tokens in wanted
        ]


def explanation(*rules):
    return StructuredExplanation(tuple(Rule(words, strength) for words, strength in rules))


def test_children_of_a_level_are_one_batch_without_repetition():
    levels = Slow()
    factory = RuleSimulatorFactory(levels)

    async def level():
        children = [explanation(("x", 5), ("yyy", strength)) for strength in (1, 5)]
        return await asyncio.gather(*(factory(child).simulate(WINDOWS) for child in children))

    weak, strong = asyncio.run(level())
    assert [s.expected_activations for s in weak] == [(1.0, 1.0), (1.0, 1.0, 1.0)]
    assert [s.expected_activations for s in strong] == [(3.0, 3.0), (3.0, 3.0, 3.0)]
    assert len(levels.batches) == 1
    assert len(set(levels.batches[0])) == len(levels.batches[0]) == factory.memory.computed == 4


def test_a_rule_of_strength_0_claims_nothing_and_hides_no_other_rules_claims():
    factory = RuleSimulatorFactory(Slow())
    [silent] = asyncio.run(factory(explanation(("xxxxx", 0))).simulate(WINDOWS[:1]))
    assert (silent.expected_activations, silent.claims) == ((0.0, 0.0), (False, False))
    [both] = asyncio.run(factory(explanation(("xxxxx", 0), ("yy", 1))).simulate(WINDOWS[:1]))
    assert (both.expected_activations, both.claims) == ((0.4, 0.4), (True, True))


def test_what_is_being_computed_is_not_asked_for_again():
    levels = Slow()
    factory = RuleSimulatorFactory(levels)

    async def late():
        first = asyncio.create_task(factory(explanation(("x", 5))).simulate(WINDOWS))
        await asyncio.sleep(0.002)
        second = await factory(explanation(("x", 5), ("yy", 5))).simulate(WINDOWS)
        return await first, second

    first, second = asyncio.run(late())
    assert [s.expected_activations[0] for s in first] == [1.0, 1.0]
    assert [s.expected_activations[0] for s in second] == [2.0, 2.0]
    assert [{words for words, _ in batch} for batch in levels.batches] == [{"x"}, {"yy"}]


def test_an_error_spoils_only_those_who_asked_for_it_and_is_not_remembered():
    levels = Slow()
    factory = RuleSimulatorFactory(levels)

    async def both():
        asked = [factory(explanation((words, 5))).simulate(WINDOWS) for words in ("x", "x!")]
        return await asyncio.gather(*asked, return_exceptions=True)

    good, bad = asyncio.run(both())
    assert not isinstance(good, BaseException)
    assert [s.expected_activations[0] for s in good] == [1.0, 1.0]
    assert isinstance(bad, SimulationError)
    with pytest.raises(SimulationError):
        asyncio.run(factory(explanation(("x!", 5))).simulate(WINDOWS))
    assert len(levels.batches) == 2


def test_a_fault_is_raised_to_all_who_wait():
    class Broken:
        async def expected_levels(self, wanted):
            raise ZeroDivisionError

    factory = RuleSimulatorFactory(Broken())

    async def both():
        asked = [factory(explanation((words, 5))).simulate(WINDOWS) for words in ("x", "y")]
        return await asyncio.gather(*asked, return_exceptions=True)

    assert [type(fault) for fault in asyncio.run(both())] == [ZeroDivisionError] * 2


def test_one_who_is_cancelled_leaves_the_others_their_results():
    factory = RuleSimulatorFactory(Slow())

    async def two():
        tasks = [asyncio.create_task(factory(explanation(("x", 5))).simulate(WINDOWS)) for _ in range(2)]
        await asyncio.sleep(0.002)
        tasks[0].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    cancelled, result = asyncio.run(two())
    assert isinstance(cancelled, asyncio.CancelledError)
    assert not isinstance(result, BaseException)
    assert [s.expected_activations[0] for s in result] == [1.0, 1.0]


def test_what_nobody_waits_for_any_more_is_not_computed_to_its_end():
    ended = []

    class Endless(Slow):
        async def expected_levels(self, wanted):
            try:
                await asyncio.sleep(3600)
                return await super().expected_levels(wanted)
            finally:
                ended.append(len(wanted))

    async def all_leave():
        factory = RuleSimulatorFactory(Endless())
        tasks = [asyncio.create_task(factory(explanation(("x", 5))).simulate(WINDOWS)) for _ in range(3)]
        for task in tasks:
            assert not ended
            await asyncio.sleep(0.002)
            task.cancel()
        await asyncio.wait(tasks)
        await asyncio.sleep(0.002)
        assert ended == [2]
        assert not factory.memory._coming

    asyncio.run(all_leave())


def test_an_interrupted_computation_is_made_again():
    levels = Slow()
    factory = RuleSimulatorFactory(levels)

    async def impatient():
        await asyncio.wait_for(factory(explanation(("x", 5))).simulate(WINDOWS), timeout=0.001)

    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(impatient())
    [first, _] = asyncio.run(factory(explanation(("x", 5))).simulate(WINDOWS))
    assert first.expected_activations == (1.0, 1.0)


def test_a_fresh_factory_shares_what_computes_and_remembers_nothing():
    levels = Slow()
    factory = RuleSimulatorFactory(levels)
    asyncio.run(factory(explanation(("x", 5))).simulate(WINDOWS))
    asyncio.run(factory.fresh()(explanation(("x", 5))).simulate(WINDOWS))
    assert len(levels.batches) == 2


def test_a_simulator_is_made_by_its_name():
    assert isinstance(make_simulator_factory("lexical", device="cpu"), LexicalSimulatorFactory)
    with pytest.raises(InputError, match="no simulator 'magic'") as error:
        make_simulator_factory("magic")
    assert all(name in error.value.hint for name in SIMULATORS)
    with pytest.raises(InputError, match="'lexical:x' is not known"):
        make_simulator_factory("lexical:x")
