"""A real HTTP server on loopback that speaks the OpenAI protocol, for tests and benchmarks.

What it answers is decided by a *brain*, a function from the request's JSON to a text; what goes wrong is decided by
a schedule, a function from the number of the request to a fault. It counts for itself what it was asked and what it
answered in full, so that a test can say that nothing was asked twice.

    with LLMServer(lambda body: "hello") as server:
        ...  # `local:some-model@{server.url}`
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from enum import Enum
from typing import Any

Body = Mapping[str, Any]


@dataclass(frozen=True)
class Reply:
    """More than a text: why it ended, and log probabilities (for every token, alternatives by token)."""

    text: str
    finish_reason: str = "stop"
    logprobs: Sequence[Mapping[str, float]] = ()


@dataclass(frozen=True)
class Refusal:
    """A status other than 200 and its body, or a whole body with status 200."""

    status: int
    body: str


Brain = Callable[[Body], "str | Reply | Refusal"]
Reader = Callable[[str], Sequence[tuple[str, Mapping[str, float]]]]
"""From a prompt to its tokens, each with log probabilities of what could stand in its place (none for the first)."""


class Fault(str, Enum):
    """What can go wrong with one request."""

    BUSY = "429 without Retry-After"
    BUSY_SECONDS = "429 with Retry-After in seconds"
    BUSY_DATE = "429 with Retry-After as a date"
    SERVER_ERROR = "500"
    UNAVAILABLE = "503"
    SLOW = "nothing for `slow_seconds`, then the connection closed"
    DROPPED = "the connection closed in the middle of the body"
    REFUSED = "the connection closed without a word"
    HTML = "200 with a web page"
    TRUNCATED = "200 with half of the JSON, complete as HTTP"
    EMPTY_CHOICES = "200 with no choice"
    ERROR_IN_200 = "200 with an error in it, as proxies do"
    WRONG_MODEL = "200 with another model's name"
    TOO_LONG = "400, the context is too long"
    BAD_REQUEST = "400"
    BAD_KEY = "401"
    NO_MONEY = "402"
    NO_SUCH_MODEL = "404"


PASSING = (
    Fault.BUSY,
    Fault.BUSY_SECONDS,
    Fault.SERVER_ERROR,
    Fault.UNAVAILABLE,
    Fault.SLOW,
    Fault.DROPPED,
    Fault.REFUSED,
    Fault.HTML,
    Fault.TRUNCATED,
    Fault.EMPTY_CHOICES,
    Fault.ERROR_IN_200,
)
"""Faults that are gone when the request is made again."""

Schedule = Callable[[int], "Fault | None"]


def never(number: int) -> Fault | None:
    """Nothing goes wrong."""
    return None


def always(fault: Fault) -> Schedule:
    """Every request meets the same fault."""
    return lambda number: fault


def first(*faults: Fault | None) -> Schedule:
    """The first requests meet these, the others none."""
    return lambda number: faults[number] if number < len(faults) else None


def at_rate(rate: float, faults: Sequence[Fault] = PASSING, seed: int = 0) -> Schedule:
    """A share `rate` of requests meets one of `faults`, decided by the request's number and the seed."""

    def schedule(number: int) -> Fault | None:
        rng = random.Random(f"{seed}/{number}")
        return rng.choice(faults) if rng.random() < rate else None

    return schedule


@dataclass
class Seen:
    """What the server saw; read it from the test, it only grows."""

    requests: list[Body] = field(default_factory=list)
    """The JSON of every request, in order."""
    keys: list[str] = field(default_factory=list)
    """The bearer token of every request."""
    answered: Counter[str] = field(default_factory=Counter)
    """How often each request (its canonical JSON) got a whole, good answer."""
    faults: Counter[Fault] = field(default_factory=Counter)
    in_flight: int = 0
    most_in_flight: int = 0


class LLMServer:
    """The server; a context manager that runs it in a thread of its own."""

    def __init__(
        self, brain: Brain, faults: Schedule = never, *, reader: Reader | None = None, cost: float | None = None
    ) -> None:
        self.brain = brain
        self.faults = faults
        self.reader = reader
        self.cost = cost
        """US dollars per answer, told in `usage` as OpenRouter does; None for not told."""
        self.usage: Callable[[dict[str, Any]], object] | None = None
        """What is told in place of the usage that was counted; None in the answer where it returns None."""
        self.delay = 0.0
        """Seconds before every answer."""
        self.slow_seconds = 5.0
        self.retry_after = "0"
        """What `Fault.BUSY_SECONDS` says."""
        self.seen = Seen()
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def url(self) -> str:
        """Base URL as a client wants it."""
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> LLMServer:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *exception: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._connection, "127.0.0.1", self.port, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
                data = await reader.readexactly(int(headers.get("content-length", 0)))
                if not await self._handle(head[0].split(" ")[1], headers, data, writer) or reader.at_eof():
                    break
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass  # the client has left, or the test is over
        finally:
            writer.close()

    async def _handle(self, path: str, headers: Mapping[str, str], data: bytes, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; False where the connection is to be closed."""
        if path.endswith("/models"):
            return await _send(writer, 200, json.dumps({"object": "list", "data": []}))
        body = json.loads(data)
        number = len(self.seen.requests)
        key = headers.get("authorization", "").removeprefix("Bearer ")
        self.seen.requests.append(body)
        self.seen.keys.append(key)
        self.seen.in_flight += 1
        self.seen.most_in_flight = max(self.seen.most_in_flight, self.seen.in_flight)
        try:
            fault = self.faults(number)
            if fault is not None:
                self.seen.faults[fault] += 1
            if fault is Fault.SLOW:
                await asyncio.sleep(self.slow_seconds)
                return False  # whoever waited so long gets nothing: no answer is counted that nobody read
            await asyncio.sleep(self.delay)
            if fault is not None and fault in _STATUS:
                return await self._send_error(fault, key, writer)
            return await self._send_answer(path, body, fault, key, writer)
        finally:
            self.seen.in_flight -= 1

    async def _send_error(self, fault: Fault, key: str, writer: asyncio.StreamWriter) -> bool:
        status, message, code = _STATUS[fault]
        extra = {}
        if fault is Fault.BUSY_SECONDS:
            extra["Retry-After"] = self.retry_after
        if fault is Fault.BUSY_DATE:
            extra["Retry-After"] = formatdate(time.time() + 1, usegmt=True)
        # An inconsiderate server: it repeats the key it was given.
        error = {"error": {"message": f"{message} (key {key})", "code": code, "type": code}}
        return await _send(writer, status, json.dumps(error), extra)

    async def _send_answer(
        self, path: str, body: Body, fault: Fault | None, key: str, writer: asyncio.StreamWriter
    ) -> bool:
        if fault is Fault.REFUSED:
            return False
        if fault is Fault.HTML:
            return await _send(writer, 200, f"<html><body>Bad gateway for {key}</body></html>", kind="text/html")
        if fault is Fault.ERROR_IN_200:
            error = {"error": {"message": f"the provider is overloaded (key {key})", "code": 502}}
            return await _send(writer, 200, json.dumps(error))
        is_prompt = path.endswith("/completions") and "prompt" in body
        reply = "" if is_prompt else self.brain(body)
        if isinstance(reply, Refusal):
            return await _send(writer, reply.status, reply.body)
        made = self._reading(body) if is_prompt else self._completion(body, reply)
        if made is None:
            return await _send(writer, 400, json.dumps({"error": {"message": "echo is not supported", "code": 400}}))
        if fault is Fault.EMPTY_CHOICES:
            made["choices"] = []
        if fault is Fault.WRONG_MODEL:
            made["model"] = "another-model"
        text = json.dumps(made)
        if fault is Fault.TRUNCATED:
            return await _send(writer, 200, text[: len(text) // 2])
        if fault is Fault.DROPPED:
            writer.write(_head(200, len(text), "application/json", {}) + text[: len(text) // 2].encode())
            await writer.drain()
            return False
        self.seen.answered[json.dumps(body, sort_keys=True)] += int(fault is not Fault.EMPTY_CHOICES)
        return await _send(writer, 200, text)

    def _completion(self, body: Body, reply: str | Reply) -> dict[str, Any]:
        reply = Reply(reply) if isinstance(reply, str) else reply
        choice: dict[str, Any] = {
            "index": 0,
            "finish_reason": reply.finish_reason,
            "message": {"role": "assistant", "content": reply.text},
        }
        if reply.logprobs:
            choice["logprobs"] = {"content": [_token_logprobs(alternatives) for alternatives in reply.logprobs]}
        asked = sum(len(message["content"].split()) for message in body["messages"])
        return self._envelope(body, "chat.completion", choice, asked, len(reply.text.split()))

    def _reading(self, body: Body) -> dict[str, Any] | None:
        if self.reader is None or not body.get("echo"):
            return None
        tokens = self.reader(body["prompt"])
        offsets = [sum(len(text) for text, _ in tokens[:i]) for i in range(len(tokens))]
        logprobs = {
            "tokens": [text for text, _ in tokens],
            "text_offset": offsets,
            "token_logprobs": [alternatives.get(text) for text, alternatives in tokens],
            "top_logprobs": [dict(alternatives) or None for _, alternatives in tokens],
        }
        choice = {"index": 0, "finish_reason": "length", "text": body["prompt"], "logprobs": logprobs}
        return self._envelope(body, "text_completion", choice, len(tokens), 0)

    def _envelope(
        self, body: Body, kind: str, choice: dict[str, Any], input_tokens: int, output_tokens: int
    ) -> dict[str, Any]:
        usage: dict[str, Any] = {
            "prompt_tokens": input_tokens,
            "completion_tokens": output_tokens,
            "total_tokens": input_tokens + output_tokens,
        }
        if self.cost is not None:
            usage["cost"] = self.cost
        made = {"id": "x", "object": kind, "created": 0, "model": body["model"], "choices": [choice]}
        return {**made, "usage": usage if self.usage is None else self.usage(usage)}


_STATUS = {
    Fault.BUSY: (429, "too many requests", "rate_limit_exceeded"),
    Fault.BUSY_SECONDS: (429, "too many requests", "rate_limit_exceeded"),
    Fault.BUSY_DATE: (429, "too many requests", "rate_limit_exceeded"),
    Fault.SERVER_ERROR: (500, "internal error", "server_error"),
    Fault.UNAVAILABLE: (503, "the model is loading", "unavailable"),
    Fault.TOO_LONG: (
        400,
        "This model's maximum context length is 4096 tokens. However, your messages resulted in 9000 tokens.",
        "context_length_exceeded",
    ),
    Fault.BAD_REQUEST: (400, "temperature is out of range", "invalid_request_error"),
    Fault.BAD_KEY: (401, "Incorrect API key provided", "invalid_api_key"),
    Fault.NO_MONEY: (402, "this account has no credits", "insufficient_credits"),
    Fault.NO_SUCH_MODEL: (404, "no endpoint serves this model", "model_not_found"),
}


def _token_logprobs(alternatives: Mapping[str, float]) -> dict[str, Any]:
    likeliest = max(alternatives, key=lambda token: alternatives[token])
    top = [{"token": token, "logprob": value} for token, value in alternatives.items()]
    return {"token": likeliest, "logprob": alternatives[likeliest], "top_logprobs": top}


def _head(status: int, length: int, kind: str, extra: Mapping[str, str]) -> bytes:
    headers = {"Content-Type": kind, "Content-Length": str(length), **extra}
    lines = [f"HTTP/1.1 {status} -", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def _send(
    writer: asyncio.StreamWriter,
    status: int,
    text: str,
    extra: Mapping[str, str] | None = None,
    *,
    kind: str = "application/json",
) -> bool:
    data = text.encode()
    writer.write(_head(status, len(data), kind, extra or {}) + data)
    await writer.drain()
    return True
