"""Limits of a run, and what each feature took."""

import asyncio

import pytest

from featureinterp.chat import ChatAnswer, ChatRequest, PromptReading, PromptRequest, Usage
from featureinterp.errors import BudgetError, InputError
from featureinterp.llm.api.spending import Budget, MeteredModel, Price, RunLimits


def test_nothing_is_limited_by_default() -> None:
    budget = Budget()
    budget.pay(Usage(10**6, 10**9, 10**9, 1e6, 7))
    budget.check(wait=1e9)


@pytest.mark.parametrize(
    ("limits", "below", "reached", "told"),
    [
        (RunLimits(max_cost=0.5), Usage(1, 1, 1, 0.49), Usage(1, 1, 1, 0.01), r"\$0\.5 is reached: \$0\.5000"),
        (RunLimits(max_tokens=100), Usage(1, 60, 39), Usage(1, 1, 0), "100 tokens is reached: 100"),
    ],
)
def test_a_limit_stops_the_next_request(limits, below, reached, told) -> None:
    budget = Budget(limits)
    budget.pay(below)
    budget.check()
    budget.pay(reached)
    with pytest.raises(BudgetError, match=told):
        budget.check()


def test_time_runs_from_the_beginning_and_a_wait_counts() -> None:
    now = [100.0]
    budget = Budget(RunLimits(max_seconds=60), clock=lambda: now[0])
    budget.check(wait=59)
    now[0] = 130.0
    with pytest.raises(BudgetError, match="60 seconds"):
        budget.check(wait=30)


def test_a_limit_of_money_that_cannot_be_kept_is_told() -> None:
    budget = Budget(RunLimits(max_cost=5))
    budget.pay(Usage(1, 10, 10, unpriced=1))
    with pytest.raises(BudgetError, match="does not say what an answer costs"):
        budget.check()


@pytest.mark.parametrize("limits", [{"max_cost": 0}, {"max_tokens": -1}, {"max_seconds": float("nan")}])
def test_a_limit_of_nothing_is_refused(limits) -> None:
    with pytest.raises(InputError, match=next(iter(limits))):
        RunLimits(**limits)


def test_a_price_is_per_million() -> None:
    assert Price(input=0.15, output=0.6).of(2_000_000, 500_000) == pytest.approx(0.6)


class Canned:
    name = "local:m"

    async def answer(self, request: ChatRequest, n: int = 1, first: int = 0) -> list[ChatAnswer]:
        return [ChatAnswer(str(i), usage=Usage(1, 10, i), stored=i == 0) for i in range(first, first + n)]

    async def read_prompt(self, request: PromptRequest) -> PromptReading:
        return PromptReading((), Usage(1, 5))


def test_each_feature_adds_up_what_it_took_stored_or_not() -> None:
    async def ask() -> tuple[Usage, Usage, list[ChatAnswer]]:
        one, other = MeteredModel(Canned()), MeteredModel(Canned())
        answers = await one.answer(ChatRequest(()), n=2)
        await one.read_prompt(PromptRequest(""))
        await other.answer(ChatRequest(()), first=7)
        return one.meter.usage, other.meter.usage, answers

    one, other, answers = asyncio.run(ask())
    assert one == Usage(3, 25, 1)
    assert other == Usage(1, 10, 7)
    assert [answer.text for answer in answers] == ["0", "1"]
