"""Limits of money and tokens, waits and secrets, against real servers on loopback at the default concurrency."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from featureinterp.chat import ChatRequest, Message, Usage
from featureinterp.errors import BudgetExceededError, EndpointConfigError, EndpointUnavailableError, RequestFailedError
from featureinterp.llm.api.client import ChatClient, open_chat_model
from featureinterp.llm.api.connection import ChatParams
from featureinterp.llm.api.spending import Budget, RunLimits
from tests.llm_server import Fault, LLMServer, Reply, always, first

KEY = "sk-or-v1-a/b+c=d&e9"


@pytest.fixture
def ledger(tmp_path) -> Path:
    return tmp_path / "llm.sqlite"


@pytest.fixture(autouse=True)
def key(monkeypatch) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", KEY)
    monkeypatch.setenv("FEATUREINTERP_API_KEY", KEY)


def echo(body) -> str:
    return f"{body['messages'][-1]['content']}/{body['seed']}"


def ask(model: ChatClient, n: int = 16) -> list[Any]:
    """Ask `n` different questions at once, and close the client; returns answers and errors."""

    async def run() -> list[Any]:
        async with model:
            requests = [ChatRequest((Message("user", f"question {i}"),)) for i in range(n)]
            asked = (model.answer(request) for request in requests)
            return list(await asyncio.gather(*asked, return_exceptions=True))

    return asyncio.run(run())


def told(usage: object) -> Callable[[dict], object]:
    return lambda _counted: usage


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        ({"cost": 0.25}, 0.25),
        ({"cost": 0.9, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.9}}, 0.9),
        ({"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.9}}, 0.9),
        ({"cost": 0.01, "cost_details": {"upstream_inference_cost": 0.2}}, 0.21),
    ],
)
def test_a_limit_of_money_holds_at_the_default_concurrency(ledger, usage, cost) -> None:
    with LLMServer(echo) as server:
        server.delay = 0.01
        server.usage = told({"prompt_tokens": 900, "completion_tokens": 50, **usage})
        budget = Budget(RunLimits(max_cost=1.0))
        found = ask(open_chat_model(f"openrouter:v/m@{server.url}", ledger=ledger, budget=budget), n=40)
        assert 1.0 <= budget.spent.cost < 1.0 + cost
        assert budget.spent.cost == pytest.approx(cost * len(server.seen.requests))
        assert {type(each) for each in found} == {list, BudgetExceededError}
        assert "is reached" in str(next(each for each in found if isinstance(each, BudgetExceededError)))


def test_a_limit_well_above_what_is_taken_keeps_all_of_them_at_once(ledger) -> None:
    with LLMServer(echo) as server:
        server.delay = 0.1
        server.usage = told({"prompt_tokens": 9, "completion_tokens": 5, "cost": 0.001})
        budget = Budget(RunLimits(max_cost=100.0, max_tokens=10**6))
        found = ask(open_chat_model(f"openrouter:v/m@{server.url}", ledger=ledger, budget=budget), n=40)
        assert {type(each) for each in found} == {list}
        assert server.seen.most_in_flight == 16


@pytest.mark.parametrize("cost", ["Infinity", -1, None, {"usd": 1}, 1e300])
def test_an_unusable_price_is_found_out_after_one_request(ledger, cost) -> None:
    with LLMServer(echo) as server:
        server.usage = told({"prompt_tokens": 900, "completion_tokens": 50, "cost": cost})
        budget = Budget(RunLimits(max_cost=1.0))
        found = ask(open_chat_model(f"openrouter:v/m@{server.url}", ledger=ledger, budget=budget))
        assert len(server.seen.requests) == 1 and isinstance(found[0], list)
        assert {str(each).partition(":")[0] for each in found[1:]} == {"the limit of $1 cannot be enforced"}


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": 0, "completion_tokens": 0}, {"total_tokens": "many"}])
def test_a_limit_of_tokens_holds_where_nobody_counts_them(ledger, usage) -> None:
    with LLMServer(echo) as server:
        server.usage = told(usage)
        budget = Budget(RunLimits(max_tokens=300))
        found = ask(open_chat_model(f"local:m@{server.url}", ledger=ledger, budget=budget))
        [[answer]] = [each for each in found[:1] if isinstance(each, list)]
        each = answer.usage.input_tokens + answer.usage.output_tokens
        assert answer.usage.estimated == 1 and each > len("question 0question 0/0")
        assert len(server.seen.requests) == budget.spent.requests == -(-300 // each)
        assert "at most" in str(found[-1])


def test_an_answer_that_cannot_be_used_is_paid_for(ledger) -> None:
    def brain(body) -> Reply:
        return Reply("", finish_reason="error")

    with LLMServer(brain, cost=0.5) as server:
        budget = Budget(RunLimits(max_cost=1.0))
        params = ChatParams(backoff_seconds=0.002)
        [error] = ask(open_chat_model(f"openrouter:v/m@{server.url}", ledger=ledger, params=params, budget=budget), 1)
        assert isinstance(error, BudgetExceededError) and "$1.0000 are spent" in str(error)
        assert len(server.seen.requests) == 2


def test_a_request_that_is_never_answered_is_made_twice_and_the_run_goes_on(ledger) -> None:
    """One request hangs each time, the others are answered: its feature is left unfinished, nothing else."""

    def brain(body) -> str:
        if body["messages"][0]["content"] == "question 3":
            time.sleep(0)
            return "hang"
        return echo(body)

    class Hanging(LLMServer):
        async def _send_answer(self, path, body, fault, key, writer):
            if body["messages"][0]["content"] == "question 3":
                await asyncio.sleep(30)
            return await super()._send_answer(path, body, fault, key, writer)

    with Hanging(brain) as server:
        params = ChatParams(total_seconds=3.0, backoff_seconds=0.002)
        found = ask(open_chat_model(f"local:m@{server.url}", ledger=ledger, params=params), n=8)
        assert isinstance(found[3], RequestFailedError)
        assert "within 3 seconds" in str(found[3]) and "--request-timeout" in str(found[3])
        assert [type(each) for each in found[:3] + found[4:]] == [list] * 7
        assert len(server.seen.requests) == 7 + 2


@pytest.mark.parametrize("concurrency", [1, 16])
def test_a_silent_endpoint_is_given_up_after_a_few_waits(ledger, concurrency) -> None:
    with LLMServer(echo, always(Fault.SLOW)) as server:
        server.slow_seconds = 60.0
        params = ChatParams(concurrency=concurrency, total_seconds=0.5, backoff_seconds=0.002)
        began = time.monotonic()
        found = ask(open_chat_model(f"local:m@{server.url}", ledger=ledger, params=params), n=16)
        assert time.monotonic() - began < 12 * 0.5  # without giving up, one at a time: 32 waits
        assert any(
            isinstance(each, EndpointUnavailableError) and "local:m is down: no data arrived within" in str(each)
            for each in found
        )
        assert {type(each) for each in found} <= {EndpointUnavailableError, RequestFailedError}


def test_one_silence_is_forgiven(ledger) -> None:
    with LLMServer(echo, first(*[Fault.SLOW] * 16)) as server:
        server.slow_seconds = 60.0
        params = ChatParams(total_seconds=3.0, backoff_seconds=0.002)
        found = ask(open_chat_model(f"local:m@{server.url}", ledger=ledger, params=params), n=16)
        assert {type(each) for each in found} == {list}


@contextmanager
def raw_server(reply: Callable[[str], tuple[int, dict[str, str], str]]) -> Iterator[tuple[str, list[str]]]:
    """Answer every POST by `reply(path) -> (status, headers, body)`; yields the address and the paths asked for."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002, ARG002 - the base class's names
            pass

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            paths.append(self.path)
            status, headers, body = reply(self.path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body.encode()))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_POST

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", paths
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("same", [False, True])
def test_a_redirect_is_not_followed_and_is_the_endpoints_fault(ledger, status, same) -> None:
    with raw_server(lambda path: (200, {}, "{}")) as (other, stolen):
        place = "/v2/chat/completions" if same else f"{other}/steal?key={KEY}"
        with raw_server(lambda path: (status, {"Location": place}, "")) as (url, paths):
            [error] = ask(open_chat_model(f"local:m@{url}", ledger=ledger), n=1)
    assert type(error) is EndpointConfigError and "answers with a redirect" in str(error)
    assert place.split("?")[0] in str(error) and KEY not in str(error)
    assert stolen == [] and paths == ["/v1/chat/completions"]


def in_json(text: str, how: str) -> str:
    """Write the key in one of the ways JSON has."""
    forms = {
        "plain": KEY,
        "slashes": KEY.replace("/", r"\/"),
        "pluses": KEY.replace("+", r"\u002b").replace("/", r"\u002F"),
        "all": "".join(f"\\u{ord(c):04x}" for c in KEY),
        "percent": KEY.replace("/", "%2F").replace("+", "%2b").replace("&", "%26").replace("=", "%3D"),
        "entities": KEY.replace("&", "&amp;").replace("/", "&#x2f;").replace("+", "&#43;"),
        "nested": json.dumps(json.dumps({"raw": KEY}).replace("/", r"\/"))[1:-1],
    }
    return text.replace("KEY", forms[how])


FORMS = ["plain", "slashes", "pluses", "all", "percent", "entities", "nested"]


def without_escapes(text: str) -> str:
    return text.replace("\\", "").replace("u002b", "+").replace("u002F", "/")


@pytest.mark.parametrize("how", FORMS)
def test_the_key_is_in_no_answer_however_it_is_written(ledger, how) -> None:
    body = (
        '{"model": "m-KEY", "choices": [{"finish_reason": "stop", "message": {"content": "a KEY b"}}], '
        '"usage": {"prompt_tokens": 1, "completion_tokens": 1}}'
    )
    with raw_server(lambda path: (200, {}, in_json(body, how))) as (url, _):
        [[answer]] = ask(open_chat_model(f"local:m@{url}", ledger=ledger), n=1)
    assert "[key]" in answer.text and answer.text.startswith("a ") and answer.text.endswith(" b")
    assert "[key]" in answer.model
    for stored in (answer.text, answer.model):
        assert KEY not in stored and "e9" not in stored
    assert b"e9" not in ledger.read_bytes()


def test_the_key_is_in_no_answer_that_comes_in_parts(ledger) -> None:
    parts = [{"type": "text", "text": part} for part in (KEY[:7], KEY[7:])]
    body = json.dumps({"choices": [{"message": {"content": parts}, "finish_reason": "stop"}]})
    with raw_server(lambda path: (200, {}, body)) as (url, _):
        [[answer]] = ask(open_chat_model(f"local:m@{url}", ledger=ledger), n=1)
    assert answer.text == "[key]"


@pytest.mark.parametrize("how", FORMS)
@pytest.mark.parametrize("status", [200, 400, 401, 500])
def test_the_key_is_in_no_error(ledger, status, how) -> None:
    body = in_json('{"error": {"message": "the key KEY is bad", "code": 400}}', how)
    with raw_server(lambda path: (status, {}, body)) as (url, _):
        [error] = ask(open_chat_model(f"local:m@{url}", ledger=ledger, params=ChatParams(attempts=1)), n=1)
    assert isinstance(error, Exception)
    assert "[key]" in str(error) and "e9" not in str(error) and "is bad" in str(error)


def test_a_placeholder_for_a_key_cuts_no_words_out_of_answers(ledger, monkeypatch) -> None:
    monkeypatch.setenv("FEATUREINTERP_API_KEY", "none")
    with LLMServer(lambda body: "none of them is done") as server:
        [[answer]] = ask(open_chat_model(f"local:m@{server.url}", ledger=ledger), n=1)
    assert answer.text == "none of them is done"
    assert answer.usage == Usage(1, 2, 5)
