"""Complexity, contributions and floors that cannot be measured are undefined with a reason; the explanation stays."""

from __future__ import annotations

import asyncio
import io
from dataclasses import replace

import pytest
from rich.console import Console

from featureinterp.analysis.rows import result_row
from featureinterp.codec import decode, encode
from featureinterp.complexity import ComplexityAnalyzer
from featureinterp.core import StructuredExplanation
from featureinterp.errors import (
    BudgetExceededError,
    ChatError,
    EndpointConfigError,
    InputError,
    RequestFailedError,
    SimulationError,
)
from featureinterp.experiment.result import FeatureResult
from featureinterp.experiment.run import FeatureRunParams, Method, explain_feature, shuffled_floor
from featureinterp.report.terminal import feature_line, feature_view
from tests.unit.experiment.conftest import MostActiveWord, WordSimulator, World

PARAMS = FeatureRunParams(3, 2)
REFUSED = ChatError("m refuses the request: status 403, no logprobs for you", "see the server's message")


def as_text(renderable) -> str:
    file = io.StringIO()
    Console(file=file, width=200, color_system=None).print(renderable)
    return file.getvalue()


class Judge:
    def __init__(self, error: Exception) -> None:
        self.error = error

    async def judge(self, words: str) -> float:
        raise self.error


def explained(error: Exception, **params) -> FeatureResult:
    world = World()
    method = Method("scripted", MostActiveWord(), WordSimulator, complexity=ComplexityAnalyzer(judge=Judge(error)))
    key = world.key(0)
    return asyncio.run(explain_feature(world.record(key), key, method, replace(PARAMS, **params)))


@pytest.mark.parametrize("error", [REFUSED, InputError("a rule needs 900 tokens, m takes 512"), SimulationError("odd")])
def test_a_complexity_that_nobody_tells_is_undefined_and_the_explanation_stays(error):
    result = explained(error, judge_attempts=True)
    assert (result.status, result.complexity, result.complexity_reason) == ("explained", None, str(error))
    assert result.scores and result.explanation is not None
    assert result.attempts[0].test_score is not None and result.attempts[0].complexity is None
    assert result_row(result)["complexity_undefined"] == str(error)
    assert "complexity undefined: " in as_text(feature_view(result))
    assert "complexity undefined" in as_text(feature_line(result, 1, 1))
    assert decode(encode(result), FeatureResult) == result


@pytest.mark.parametrize(
    "error", [RequestFailedError("no answer"), EndpointConfigError("no key"), BudgetExceededError("spent")]
)
def test_what_passes_or_concerns_the_endpoint_is_not_stored_as_undefined(error):
    with pytest.raises(type(error)):
        explained(error)


class Moody(WordSimulator):
    """A simulator that one explanation cannot be put to."""

    bad = ""

    async def simulate(self, token_sequences):
        if self.bad in self.words:
            raise ChatError("refused")
        return await super().simulate(token_sequences)


def test_a_floor_that_cannot_be_simulated_is_undefined_with_its_reason(monkeypatch):
    world = World()
    method = Method("scripted", MostActiveWord(), Moody)
    result = asyncio.run(explain_feature(world.record(world.key(0)), world.key(0), method, PARAMS))
    monkeypatch.setattr(Moody, "bad", "another")
    other = StructuredExplanation.from_text("another")
    made = asyncio.run(shuffled_floor(result, other, method))
    assert made.status == "explained" and made.explanation == result.explanation
    assert {(score.value, score.reason) for score in made.floors["shuffled"].values()} == {(None, "refused")}


def test_contributions_that_cannot_be_simulated_are_undefined_with_their_reason(monkeypatch):
    world, calls = World(), 0

    class Once(WordSimulator):
        """The whole explanation is simulated, its rules alone are not."""

        async def simulate(self, token_sequences):
            nonlocal calls
            calls += 1
            if calls > 1:
                raise SimulationError("a rule alone is too long")
            return await super().simulate(token_sequences)

    method = Method("scripted", MostActiveWord(), Once)
    result = asyncio.run(explain_feature(world.record(world.key(0)), world.key(0), method, PARAMS))
    assert result.status == "explained" and result.scores
    [contribution] = result.contributions
    reasons = {score.reason for scores in (contribution.without, contribution.lost) for score in scores.values()}
    assert reasons == {"a rule alone is too long"}
