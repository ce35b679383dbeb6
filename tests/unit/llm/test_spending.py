"""Limits of a run, and what each feature took."""

import asyncio

import pytest

from featureinterp.chat import ChatAnswer, ChatRequest, PromptReading, PromptRequest, Usage
from featureinterp.errors import BudgetExceededError, InputError
from featureinterp.llm.api.spending import Budget, MeteredModel, Most, Price, RunLimits


def test_nothing_is_limited_by_default() -> None:
    budget = Budget()
    budget.pay(Usage(10**6, 10**9, 10**9, 1e6, 7))
    budget.check()


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
    with pytest.raises(BudgetExceededError, match=told):
        budget.check()


def test_a_limit_of_money_that_cannot_be_kept_is_told() -> None:
    budget = Budget(RunLimits(max_cost=5))
    budget.pay(Usage(1, 10, 10, unpriced=1))
    with pytest.raises(BudgetExceededError, match="reports no cost"):
        budget.check()


@pytest.mark.parametrize("limits", [{"max_cost": 0}, {"max_tokens": -1}, {"max_cost": float("nan")}])
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


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def most_at_once(budget: Budget, most: Most, usage: Usage, n: int = 16, model: str = "m") -> tuple[list[int], int]:
    """Send `n` requests at once that each take `usage`; returns how many were on their way, and how many went out."""
    together, on_way, sent = [], 0, 0

    async def one() -> None:
        nonlocal on_way, sent
        async with budget.place(model, most):
            on_way, sent = on_way + 1, sent + 1
            together.append(on_way)
            await settle()
            budget.pay(usage, model)
            on_way -= 1

    async def run() -> list[BaseException | None]:
        return await asyncio.gather(*(one() for _ in range(n)), return_exceptions=True)

    errors = [error for error in asyncio.run(run()) if error is not None]
    assert {type(error) for error in errors} <= {BudgetExceededError}
    assert not budget._on_way and not budget._waiting
    return together, sent


def test_without_limits_nothing_waits() -> None:
    assert most_at_once(Budget(), Most(10**6, 10**6), Usage(1, 1, 1, 1.0)) == (list(range(1, 17)), 16)


def test_the_first_request_of_an_unknown_price_goes_alone_and_then_all_that_fit() -> None:
    together, sent = most_at_once(Budget(RunLimits(max_cost=100)), Most(100, 50), Usage(1, 100, 50, 0.25))
    assert together == [1, *range(1, 16)] and sent == 16


@pytest.mark.parametrize("cost", [0.25, 0.3, 1.5, 0.07])
@pytest.mark.parametrize("price", [None, Price(1000.0, 1000.0)])
def test_a_limit_of_money_is_passed_by_less_than_one_answer(cost, price) -> None:
    budget = Budget(RunLimits(max_cost=1.0))
    most_at_once(budget, Most(1000, 500, price), Usage(1, 800, 20, cost), n=32)
    assert 1.0 <= budget.spent.cost < 1.0 + cost


def test_a_limit_holds_though_later_answers_are_dearer_by_their_length() -> None:
    """Most answers are short; then all sixteen are as long as they may be, at the same price per token."""
    budget, price = Budget(RunLimits(max_cost=1.0)), Price(100.0, 400.0)
    budget.pay(Usage(1, 900, 10, price.of(900, 10)), "m")
    longest = price.of(1000, 500)
    most_at_once(budget, Most(1000, 500), Usage(1, 1000, 500, longest), n=32)
    assert 1.0 <= budget.spent.cost < 1.0 + longest


def test_a_limit_of_tokens_is_passed_by_less_than_one_answer() -> None:
    budget = Budget(RunLimits(max_tokens=10_000))
    together, _ = most_at_once(budget, Most(1500, 200), Usage(1, 1400, 150), n=32)
    assert max(together) == 5  # 6 could be more than is allowed
    assert 10_000 <= budget.spent.input_tokens + budget.spent.output_tokens < 10_000 + 1550


def test_answers_larger_than_they_can_be_are_expected_from_then_on() -> None:
    budget = Budget(RunLimits(max_tokens=10_000))
    together, sent = most_at_once(budget, Most(10, 10), Usage(1, 4000, 0), n=16)
    assert max(together[16:], default=0) <= 1
    budget = Budget(RunLimits(max_tokens=10_000))
    budget.pay(Usage(1, 4000, 0), "m")
    assert most_at_once(budget, Most(10, 10), Usage(1, 4000, 0), n=16) == ([1, 1], 2)


def test_models_share_the_limit_and_each_has_a_price_of_its_own() -> None:
    budget = Budget(RunLimits(max_cost=2.0))
    budget.pay(Usage(1, 100, 10, 0.0), "free")
    budget.pay(Usage(1, 100, 10, 0.4), "dear")  # 0.8 at most for another: all of it for input, all of it for output

    async def ask(model: str) -> None:
        async with budget.place(model, Most(100, 10)):
            pass

    async def run() -> None:
        async with budget.place("dear", Most(100, 10)):
            await asyncio.wait_for(ask("free"), 5)
            waits = asyncio.ensure_future(ask("dear"))
            await settle()
            assert waits.done()
            budget.pay(Usage(1, 100, 10, 0.4), "dear")
            waits = asyncio.ensure_future(ask("dear"))
            await settle()
            assert not waits.done()
            waits.cancel()
            await asyncio.gather(waits, return_exceptions=True)
        assert not budget._waiting
        await asyncio.wait_for(ask("dear"), 5)

    asyncio.run(run())


def test_a_request_that_waits_is_told_when_the_limit_is_reached_or_cannot_be_enforced() -> None:
    for usage, told in ((Usage(1, 1, 1, 2.0), "is reached"), (Usage(1, 1, 1, unpriced=1), "cannot be enforced")):
        budget = Budget(RunLimits(max_cost=1.0))

        async def one(budget: Budget = budget, usage: Usage = usage) -> None:
            async with budget.place("m", Most(1, 1)):
                await settle()
                budget.pay(usage, "m")

        async def run(ask=one) -> list[BaseException | None]:
            return await asyncio.gather(*(ask() for _ in range(8)), return_exceptions=True)

        first, *others = asyncio.run(run())
        assert first is None
        assert all(isinstance(other, BudgetExceededError) and told in str(other) for other in others)


def test_an_attempt_that_fails_makes_room_again() -> None:
    budget = Budget(RunLimits(max_tokens=100))

    async def failing() -> None:
        async with budget.place("m", Most(60, 20)):
            await settle()
            raise ValueError("the endpoint failed")

    async def run() -> list[BaseException | None]:
        return await asyncio.gather(*(failing() for _ in range(5)), return_exceptions=True)

    assert [type(error) for error in asyncio.run(run())] == [ValueError] * 5
    assert most_at_once(budget, Most(60, 20), Usage(1, 20, 5), n=3)[1] == 3
