"""Calibration check of a simulator: its separation of right words from wrong ones.

Built-in cases with known answers, three of each kind: word, class of words, meaning, position. A case is a text, words
for some of its tokens, and words for others. The formula is in docs/definitions.md, "Separation of a simulator".
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from featureinterp.core import Score, StructuredExplanation
from featureinterp.errors import OF_ONE_FEATURE, FeatureInterpError
from featureinterp.protocols import SimulatorFactory
from featureinterp.record import MAX_LEVEL
from featureinterp.stats import mean_interval, pearson

_TOKEN = re.compile(r" ?\*?\w+| ?\*?[^\w\s*]")


@dataclass(frozen=True)
class Case:
    """A text with words for its marked tokens, and words for others.

    >>> case = Case("word", "the word 'water'", "the word 'stone'", "cold *water, stone")
    >>> case.tokens, case.levels
    (('cold', ' water', ',', ' stone'), (0, 5, 0, 0))
    """

    kind: Literal["word", "class", "meaning", "position"]
    right: str
    """Words for the marked tokens."""
    wrong: str
    """Words for other tokens of the text."""
    text: str
    """The text, with a star before each marked token."""

    @cached_property
    def tokens(self) -> tuple[str, ...]:
        """Tokens of the text, without stars."""
        return tuple(token.replace("*", "") for token in _TOKEN.findall(self.text))

    @cached_property
    def levels(self) -> tuple[int, ...]:
        """Level of each token: 5 where it is marked, else 0."""
        return tuple(MAX_LEVEL * ("*" in token) for token in _TOKEN.findall(self.text))


CASES = (
    Case(
        "word",
        "the word 'water'",
        "the word 'stone'",
        "The *water ran over the stone, and cold *water took the stone away. Is there *water under a stone?",
    ),
    Case(
        "word",
        "the word 'because'",
        "the word 'although'",
        "We left *because it rained, although he stayed. He stayed *because he was tired, although not *because of us.",
    ),
    Case(
        "word",
        "the word 'she'",
        "the word 'they'",
        "When *she came in, they were asleep. Later *she sang and they listened, until *she and they went home.",
    ),
    Case(
        "class",
        "numbers",
        "punctuation",
        "In *1987 the mill had *12 looms, *40 workers; by *1990, *3 looms and *9 workers were left.",
    ),
    Case(
        "class",
        "words in capitals",
        "numbers",
        "The *BBC sent 3 people to *NASA in 1999, and the *USA sent 40 of them to *UNESCO after 2 years.",
    ),
    Case(
        "class",
        "closing brackets",
        "opening brackets",
        "The old house (near the church*) was sold (twice*), and its garden [a small one*] became a road (too wide*).",
    ),
    Case(
        "meaning",
        "animals",
        "furniture",
        "A *dog slept on the sofa, a *cat under the table. The *horse and the *cow had no chair, nor had the *goat.",
    ),
    Case(
        "meaning",
        "colours",
        "parts of the body",
        "Her hand was *red from the cold, her coat *blue. His *green scarf hid his neck, and *white snow his head.",
    ),
    Case(
        "meaning",
        "being afraid",
        "eating and drinking",
        "They ate bread in *fear of the storm. The *scared child drank milk, then *panic came; *terrified, he ate it.",
    ),
    Case(
        "position",
        "any token right after ' the'",
        "any token right after ' a'",
        "On the *road a man met the *king of a town, and the *man gave a coin to the *poor in a street.",
    ),
    Case(
        "position",
        "capitalised words right after '.'",
        "lower-case words right after ','",
        "It rained. *We read, slept and ate. *Nobody came. *Then the sun, late, broke through. *All ran, shouting.",
    ),
    Case(
        "position",
        "numbers right after ' page'",
        "numbers right after ' room'",
        "See page *12 in room 7. On page *30 is a plan of room 5, and page *41 shows room 9 with 6 doors.",
    ),
)
"""The cases of a check."""


async def separation(make_simulator: SimulatorFactory, cases: Sequence[Case] = CASES) -> Score:
    """Return the separation of a simulator: -2..2, 0 for one that ignores the words.

    The mean over cases of the correlation of expected and true levels under the right words minus that under the wrong
    ones, with a 95% interval over cases (`mean_interval`). A simulator that expects the same of every token has no
    correlation: it counts as 0. Cases that cannot be simulated are left out; undefined with fewer than two others.

    Args:
        make_simulator: factory of the simulator; it gets one window for each of two rules of each case.
        cases: cases with known answers.

    Raises:
        RequestFailedError: if an endpoint leaves a request unanswered.
        EndpointConfigError, EndpointUnavailableError, BudgetExceededError: if the simulator cannot be used.
    """
    outcomes = await asyncio.gather(*(_difference(make_simulator, case) for case in cases), return_exceptions=True)
    found = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    for error in errors:
        if not isinstance(error, OF_ONE_FEATURE):
            raise error
    if len(found) < 2:
        reason = errors[0].problem if errors and isinstance(errors[0], FeatureInterpError) else "two cases are needed"
        return Score.undefined(f"{len(found)} of {len(cases)} cases could be simulated: {reason}")
    return Score(float(np.mean(found)), *mean_interval(found))


async def _difference(make_simulator: SimulatorFactory, case: Case) -> float:
    right, wrong = await asyncio.gather(
        *(_correlation(make_simulator, words, case) for words in (case.right, case.wrong))
    )
    return right - wrong


async def _correlation(make_simulator: SimulatorFactory, words: str, case: Case) -> float:
    simulator = make_simulator(StructuredExplanation.from_text(words))
    [simulation] = await simulator.simulate([case.tokens])
    found = pearson(simulation.expected_activations, case.levels)
    return 0.0 if np.isnan(found) else found


def tells_apart(found: Score) -> bool:
    """Return whether a simulator distinguishes right from wrong words: the interval of its separation is above 0."""
    return found.ci_low is not None and found.ci_low > 0
