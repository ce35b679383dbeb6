"""The separation of simulators: of one that reads the words, and of those that do not."""

import asyncio

import numpy as np
import pytest
from scipy import stats

from featureinterp.core import Score, SequenceSimulation, StructuredExplanation
from featureinterp.errors import BudgetExceededError, RequestFailedError, SimulationError
from featureinterp.simulator import make_simulator_factory
from featureinterp.simulator.calibration import CASES, Case, separation, tells_apart
from featureinterp.simulator.lexical import phrases_in


class Expecting:
    """A simulator whose level of a token is a function of the words and the token."""

    def __init__(self, level, words=""):
        self.level, self.words = level, words

    def __call__(self, explanation):
        return Expecting(self.level, explanation.rules[0].activates_on)

    async def simulate(self, windows):
        return [SequenceSimulation(tuple(w), tuple(float(self.level(self.words, t)) for t in w)) for w in windows]


def measured(level, cases=CASES) -> Score:
    return asyncio.run(separation(Expecting(level), cases))


def test_a_dozen_cases_of_four_kinds_mark_what_their_words_say():
    assert [case.kind for case in CASES] == [
        kind for kind in ("word", "class", "meaning", "position") for _ in range(3)
    ]
    for case in CASES:
        assert "".join(case.tokens) == case.text.replace("*", "")
        assert case.levels.count(5) == case.text.count("*") >= 3
        assert len(case.tokens) <= 32
        assert case.right != case.wrong


def test_every_case_but_those_of_meaning_is_the_grammar_s_own_match():
    factory = make_simulator_factory("lexical")
    lexical = [case for case in CASES if case.kind != "meaning"]
    assert all(phrases_in(case.right) and phrases_in(case.wrong) for case in lexical)
    right = asyncio.run(simulated(factory, [(case.right, case) for case in lexical]))
    wrong = asyncio.run(simulated(factory, [(case.wrong, case) for case in lexical]))
    assert right == [case.levels for case in lexical]
    for case, levels in zip(lexical, wrong, strict=True):
        assert max(levels) == 5 and not np.logical_and(case.levels, levels).any()


async def simulated(factory, pairs):
    made = [await factory(StructuredExplanation.from_text(words)).simulate([case.tokens]) for words, case in pairs]
    return [simulation.expected_activations for [simulation] in made]


def test_one_that_reads_the_words_is_told_from_one_that_does_not():
    found = asyncio.run(separation(make_simulator_factory("lexical")))
    assert found.value is not None and found.value > 0.9 and tells_apart(found)
    for level in (lambda words, token: 1, lambda words, token: len(token) % 6, lambda words, token: token == " the"):
        assert measured(level) == Score(0.0, 0.0, 0.0)
        assert not tells_apart(measured(level))


def test_one_that_reacts_to_words_at_random_is_within_its_interval():
    levels = np.random.default_rng(0)
    found = measured(lambda words, token: levels.uniform(0, 5))
    assert found.ci_low is not None and found.ci_low < 0 < (found.ci_high or 0)
    assert not tells_apart(found)


def test_the_figure_is_the_mean_difference_of_correlations_with_an_interval_over_cases():
    def level(words, token):
        return (3 * len(token) + 5 * len(words)) % 6

    differences = []
    for case in CASES:
        by_words = [
            stats.pearsonr([level(words, token) for token in case.tokens], case.levels).statistic
            for words in (case.right, case.wrong)
        ]
        differences.append(by_words[0] - by_words[1])
    found = measured(level)
    assert found.value == pytest.approx(np.mean(differences), abs=1e-12)
    low, high = stats.t.interval(0.95, len(CASES) - 1, np.mean(differences), stats.sem(differences))
    assert found.ci_low is not None and found.ci_high is not None
    # Extended on the skewed side only.
    assert found.ci_low <= low + 1e-9 and high - 1e-9 <= found.ci_high
    assert found.ci_low == pytest.approx(low) or found.ci_high == pytest.approx(high)


def failing(error, words):
    def level(asked, token):
        if asked in words:
            raise error
        return 5 * (token in (" water", ")", "]"))

    return level


def test_cases_that_cannot_be_simulated_are_left_out_and_never_a_number():
    error = SimulationError("no levels")
    some = measured(failing(error, {case.right for case in CASES[2:]}))
    assert some == measured(failing(error, set()), CASES[:2])
    none = measured(failing(error, {case.wrong for case in CASES[1:]}))
    assert none == Score.undefined("1 of 12 cases could be simulated: no levels")
    assert not tells_apart(none)
    assert measured(failing(error, set()), CASES[:1]).reason.endswith("two cases are needed")


@pytest.mark.parametrize("error", [RequestFailedError("no answer"), BudgetExceededError("no money")])
def test_an_error_that_concerns_more_than_a_case_leaves_the_check(error):
    with pytest.raises(type(error), match=error.problem):
        measured(failing(error, {CASES[3].right}))


def test_a_case_reads_its_stars():
    case = Case("word", "a", "b", "So *it *is.")
    assert (case.tokens, case.levels) == (("So", " it", " is", "."), (0, 5, 5, 0))
