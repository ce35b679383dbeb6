"""The client against a real server on loopback: what it asks, how often, and what becomes of every fault."""

import asyncio
import logging
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from featureinterp.chat import ChatAnswer, ChatRequest, Message, PromptRequest, Usage
from featureinterp.errors import (
    BudgetExceededError,
    ChatError,
    EndpointConfigError,
    EndpointUnavailableError,
    InputError,
    RequestFailedError,
)
from featureinterp.llm.api.client import ChatClient, open_chat_model
from featureinterp.llm.api.connection import ChatParams
from featureinterp.llm.api.spending import Budget, Price, RunLimits
from tests.llm_server import PASSING, Fault, LLMServer, Reply, always, first

QUICK = ChatParams(backoff_seconds=0.002, longest_wait=5.0, total_seconds=60.0)


def asking(text: str, **settings) -> ChatRequest:
    return ChatRequest((Message("user", text),), **settings)


def echo(body) -> str:
    return f"{body['messages'][-1]['content']}/{body['seed']}"


@pytest.fixture
def ledger(tmp_path) -> Path:
    return tmp_path / "llm.sqlite"


def client(server: LLMServer, ledger: Path, params: ChatParams = QUICK, **settings) -> ChatClient:
    return open_chat_model(f"local:m@{server.url}", ledger=ledger, params=params, **settings)


def ask(model: ChatClient, *requests: ChatRequest, n: int = 1) -> list[list[ChatAnswer]]:
    """Ask all at once, and close the client."""

    async def run() -> list[list[ChatAnswer]]:
        async with model:
            return list(await asyncio.gather(*(model.answer(request, n) for request in requests)))

    return asyncio.run(run())


def test_samples_are_numbered_and_asked_once_however_often_they_are_wanted(ledger) -> None:
    with LLMServer(echo) as server:
        [answers] = ask(client(server, ledger), asking("a"), n=3)
        assert [answer.text for answer in answers] == ["a/0", "a/1", "a/2"]
        assert not any(answer.stored for answer in answers)
        [more] = ask(client(server, ledger), asking("a"), n=4)
        assert [answer.text for answer in more] == ["a/0", "a/1", "a/2", "a/3"]
        assert [answer.stored for answer in more] == [True, True, True, False]
        assert more[0].usage == answers[0].usage == Usage(1, 1, 1)
        assert len(server.seen.requests) == 4


def test_those_who_want_the_same_at_once_wait_for_one_request(ledger) -> None:
    with LLMServer(echo) as server:
        server.delay = 0.05
        found = ask(client(server, ledger), *[asking("a")] * 10, asking("b"))
        assert [answers[0].text for answers in found] == ["a/0"] * 10 + ["b/0"]
        assert len(server.seen.requests) == 2


def test_no_more_are_on_their_way_than_allowed(ledger) -> None:
    with LLMServer(echo) as server:
        server.delay = 0.02
        ask(client(server, ledger, ChatParams(concurrency=3)), *(asking(str(i)) for i in range(12)))
        assert server.seen.most_in_flight == 3


@pytest.mark.parametrize("fault", PASSING)
def test_a_passing_fault_is_asked_again_until_it_has_passed(ledger, fault) -> None:
    with LLMServer(echo, first(fault, fault)) as server:
        server.slow_seconds = 0.05
        [[answer]] = ask(client(server, ledger), asking("a"))
        assert answer.text == "a/0"
        assert len(server.seen.requests) == 3


def test_an_answer_that_takes_too_long_is_asked_for_again(ledger) -> None:
    with LLMServer(echo, first(Fault.SLOW)) as server:
        [[answer]] = ask(client(server, ledger, ChatParams(total_seconds=1.0, backoff_seconds=0.01)), asking("a"))
        assert answer.text == "a/0"


@pytest.mark.parametrize(
    ("fault", "error", "told"),
    [
        (Fault.TOO_LONG, ChatError, "maximum context length is 4096 tokens"),
        (Fault.BAD_REQUEST, ChatError, "temperature is out of range"),
        (Fault.BAD_KEY, EndpointConfigError, "Incorrect API key"),
        (Fault.NO_SUCH_MODEL, EndpointConfigError, "no endpoint serves this model"),
        (Fault.NO_MONEY, BudgetExceededError, "no credits"),
    ],
)
def test_a_refusal_is_passed_on_at_once(ledger, fault, error, told) -> None:
    with LLMServer(echo, always(fault)) as server:
        with pytest.raises(error, match=told) as raised:
            ask(client(server, ledger), asking("a"))
        assert type(raised.value) is error
        assert len(server.seen.requests) == 1 + (fault is Fault.TOO_LONG)  # once more without a limit of the answer


@pytest.mark.parametrize(("fault", "least"), [(Fault.BUSY_SECONDS, 0.6), (Fault.BUSY_DATE, 0.01)])
def test_the_wait_that_the_server_asks_for_is_kept(ledger, fault, least) -> None:
    with LLMServer(echo, first(fault)) as server:
        server.retry_after = "0.6"
        began = time.monotonic()
        ask(client(server, ledger), asking("a"))
        assert time.monotonic() - began >= least


def test_a_wait_longer_than_anybody_would_ends_the_run(ledger) -> None:
    with LLMServer(echo, first(Fault.BUSY_SECONDS)) as server:
        server.retry_after = "3600"
        with pytest.raises(EndpointUnavailableError, match="asks to wait 3600 seconds"):
            ask(client(server, ledger), asking("a"))


def test_a_request_that_alone_makes_the_server_fail_is_an_error_of_its_own(ledger) -> None:
    def brain(body) -> str | Reply:
        if "poison" in echo(body):
            return Reply("", finish_reason="error")
        return echo(body)

    async def run(model: ChatClient) -> list[Any]:
        async with model:
            requests = [asking("poison" if i == 3 else str(i)) for i in range(8)]
            return await asyncio.gather(*(model.answer(each) for each in requests), return_exceptions=True)

    with LLMServer(brain) as server:
        found = asyncio.run(run(client(server, ledger)))
        assert [type(each) for each in found] == [list] * 3 + [RequestFailedError] + [list] * 4
        assert str(found[3]).startswith("local:m fails after 6 attempts: ")
        assert len(server.seen.requests) == 7 + 6


def test_an_endpoint_that_only_fails_is_given_up_for_all_in_one_sentence(ledger) -> None:
    async def run(model: ChatClient) -> list[Any]:
        async with model:
            return await asyncio.gather(*(model.answer(asking(str(i))) for i in range(50)), return_exceptions=True)

    params = ChatParams(concurrency=8, attempts=3, failures=10, backoff_seconds=0.002)
    with LLMServer(echo, always(Fault.UNAVAILABLE)) as server:
        found = asyncio.run(run(client(server, ledger, params)))
        assert {type(each) for each in found} == {EndpointUnavailableError}
        assert len({str(each) for each in found}) == 1
        assert "is down" in str(found[0])
        assert "the model is loading" in str(found[0])
        assert len(server.seen.requests) <= 50 * 2 + 8  # nobody began a third attempt after it was given up


def test_an_address_where_nothing_listens_ends_the_run(ledger) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        name = f"local:m@http://127.0.0.1:{closed.getsockname()[1]}/v1"
        with pytest.raises(EndpointUnavailableError, match="cannot be reached after 6 attempts"):
            ask(open_chat_model(name, ledger=ledger, params=QUICK), asking("a"))


def test_a_busy_endpoint_ends_the_run_and_fails_no_feature(ledger) -> None:
    with (
        LLMServer(echo, always(Fault.BUSY)) as server,
        pytest.raises(EndpointUnavailableError, match="is rate-limited"),
    ):
        ask(client(server, ledger), asking("a"))


def test_another_model_in_the_answer_is_told_once(ledger, caplog) -> None:
    with LLMServer(echo, first(Fault.WRONG_MODEL, Fault.WRONG_MODEL)) as server, caplog.at_level(logging.WARNING):
        [answers] = ask(client(server, ledger), asking("a"), n=2)
    assert [answer.model for answer in answers] == ["another-model"] * 2
    assert [r.getMessage() for r in caplog.records] == ["requested local:m, answered by another-model"]


def test_a_limit_stops_what_has_not_gone_out_and_stores_what_is_on_its_way(ledger) -> None:
    async def run(model: ChatClient) -> list[Any]:
        async with model:
            return await asyncio.gather(*(model.answer(asking(str(i))) for i in range(20)), return_exceptions=True)

    with LLMServer(echo, cost=0.25) as server:
        server.delay = 0.02
        params = ChatParams(concurrency=4)
        budget = Budget(RunLimits(max_cost=1.0))
        found = asyncio.run(run(client(server, ledger, params, budget=budget)))
        answered = [each for each in found if isinstance(each, list)]
        assert 4 <= len(answered) <= 4 + 3  # the limit, and those on their way when it was reached
        assert {type(each) for each in found if not isinstance(each, list)} == {BudgetExceededError}
        assert budget.spent.cost == 0.25 * len(answered) == 0.25 * len(server.seen.requests)
        found = asyncio.run(run(client(server, ledger, params)))
        assert [answers[0].text for answers in found] == [f"{i}/0" for i in range(20)]
        assert set(server.seen.answered.values()) == {1}


def test_a_limit_of_money_wants_to_know_what_answers_cost(ledger) -> None:
    budget = Budget(RunLimits(max_cost=1))
    with pytest.raises(InputError, match="openai reports no cost"):
        open_chat_model("openai:m", ledger=ledger, budget=budget)
    params = ChatParams(price=Price(1, 2))
    open_chat_model("openai:m", ledger=ledger, params=params, budget=budget).ledger.close()
    open_chat_model("openrouter:a/b", ledger=ledger, budget=budget).ledger.close()


def test_what_is_paid_for_is_stored_though_nobody_waits_for_it_any_more(ledger) -> None:
    async def run(model: ChatClient) -> None:
        async with model:
            task = asyncio.create_task(model.answer(asking("a")))
            while not server.seen.requests:
                await asyncio.sleep(0.005)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    with LLMServer(echo) as server:
        server.delay = 0.1
        asyncio.run(run(client(server, ledger)))
        [[answer]] = ask(client(server, ledger, ChatParams(offline=True)), asking("a"))
        assert (answer.text, answer.stored) == ("a/0", True)


def test_what_has_not_gone_out_never_does_when_nobody_waits_for_it(ledger) -> None:
    async def run(model: ChatClient) -> None:
        async with model:
            tasks = [asyncio.create_task(model.answer(asking(text))) for text in "abcdef"]
            while not server.seen.requests:
                await asyncio.sleep(0.005)
            for task in tasks[:-1]:
                task.cancel()
            await asyncio.wait(tasks)
            assert tasks[-1].result()[0].text == "f/0"
            assert len(server.seen.requests) == 2
            assert (await model.answer(asking("b")))[0].text == "b/0"
            assert not model._waiting

    with LLMServer(echo) as server:
        server.delay = 0.1
        asyncio.run(run(client(server, ledger, ChatParams(concurrency=1))))


def test_offline_uses_what_is_stored_and_nothing_else(ledger) -> None:
    with LLMServer(echo) as server:
        ask(client(server, ledger), asking("a"))
        offline = ChatParams(offline=True)
        assert ask(client(server, ledger, offline), asking("a"))[0][0].text == "a/0"
        with pytest.raises(EndpointConfigError, match="no cached answer of local:m"):
            ask(client(server, ledger, offline), asking("b"))
        assert len(server.seen.requests) == 1


def test_the_key_is_wanted_only_when_a_request_goes_out(ledger, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENROUTER_API_KEY", raising=False)
    with LLMServer(echo) as server:
        name = f"openrouter:a/b@{server.url}"
        with pytest.raises(EndpointConfigError, match="no key for openrouter"):
            ask(open_chat_model(name, ledger=ledger), asking("a"))
        (tmp_path / ".env").write_text("OPENROUTER_API_KEY=sk-or-from-file")
        ask(open_chat_model(name, ledger=ledger), asking("a"))
        assert server.seen.keys == ["sk-or-from-file"]
        (tmp_path / ".env").unlink()
        [[answer]] = ask(open_chat_model(name, ledger=ledger), asking("a"))
        assert answer.stored


def test_a_notebook_may_ask_in_one_event_loop_after_the_other(ledger) -> None:
    with LLMServer(echo) as server:
        model = client(server, ledger)
        texts = [asyncio.run(model.answer(asking(text)))[0].text for text in "abc"]
        assert texts == ["a/0", "b/0", "c/0"]
        asyncio.run(model.aclose())


def test_log_probabilities_come_with_the_answer_and_out_of_the_ledger(ledger) -> None:
    def brain(body) -> Reply:
        assert body["top_logprobs"] == 2
        return Reply("3", logprobs=[{"3": -0.1, "4": -2.4}])

    with LLMServer(brain) as server:
        for stored in (False, True):
            [[answer]] = ask(client(server, ledger), asking("a", top_logprobs=2))
            assert answer.logprobs == ({"3": -0.1, "4": -2.4},)
            assert answer.stored is stored


def test_a_prompt_is_read_through_faults_and_stored(ledger) -> None:
    def reader(prompt: str) -> list[tuple[str, dict[str, float]]]:
        return [("<s>", {}), *((word, {word: -1.0, "0": -2.0}) for word in prompt.split(" "))]

    async def read(model: ChatClient, prompt: str):
        async with model:
            return await model.read_prompt(PromptRequest(prompt))

    with LLMServer(echo, first(Fault.DROPPED, Fault.TRUNCATED, Fault.BUSY), reader=reader) as server:
        for stored in (False, True):
            reading = asyncio.run(read(client(server, ledger), "word"))
            assert [(token.text, token.offset) for token in reading.tokens] == [("word", 0)]
            assert reading.tokens[0].logprobs == {"word": -1.0, "0": -2.0}
            assert reading.stored is stored
        assert len(server.seen.requests) == 4
        server.reader = None
        with pytest.raises(ChatError, match="echo is not supported"):
            asyncio.run(read(client(server, ledger), "other"))


@pytest.mark.parametrize("wrong", [{"concurrency": 0}, {"attempts": -1}, {"total_seconds": 0}])
def test_settings_that_allow_nothing_are_refused(wrong) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        ChatParams(**wrong)
