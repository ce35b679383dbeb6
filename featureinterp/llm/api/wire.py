"""OpenAI protocol: JSON of requests and answers. Pure functions.

Servers omit different fields, so everything except the text may be missing. Anything other than an answer becomes a
`Fault`: a web page, truncated JSON, no choice, an error with status 200.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import accumulate
from typing import Any, TypeVar

import msgspec

from featureinterp.chat import ChatAnswer, ChatRequest, Message, PromptReading, PromptRequest, PromptToken
from featureinterp.llm.api.endings import Ending, ending_of
from featureinterp.llm.api.faults import Fault, FaultKind, fault_of_status, shorten
from featureinterp.llm.api.habits import Form, messages_in
from featureinterp.llm.api.providers import Endpoint

KEY_VERSION = 1
"""Incremented if equal requests no longer get equal answers, so that cached ones are not used."""

Request = TypeVar("Request", ChatRequest, PromptRequest)

_HALVES = re.compile("[\ud800-\udfff]")


class _Part(msgspec.Struct):
    text: str = ""
    type: str = "text"


class _Message(msgspec.Struct):
    content: str | list[_Part] | None = None
    refusal: str | None = None


class _Alternative(msgspec.Struct):
    token: str
    logprob: float


class _Token(msgspec.Struct):
    token: str
    logprob: float
    top_logprobs: list[_Alternative] | None = None


class _TokenLogprobs(msgspec.Struct):
    content: list[_Token] | None = None


class _Choice(msgspec.Struct):
    message: _Message | None = None
    finish_reason: str | None = None
    native_finish_reason: str | None = None
    logprobs: _TokenLogprobs | None = None
    error: str | dict[str, Any] | None = None


class _Blocked(msgspec.Struct, rename="camel"):
    block_reason: str | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice] | None = None
    model: str | None = None
    error: str | dict[str, Any] | None = None
    prompt_feedback: _Blocked | None = msgspec.field(default=None, name="promptFeedback")


class _Echo(msgspec.Struct):
    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None] | None = None
    text_offset: list[int] | None = None


class _EchoChoice(msgspec.Struct):
    logprobs: _Echo | None = None


class _EchoCompletion(msgspec.Struct):
    choices: list[_EchoChoice]
    model: str | None = None


class _ErrorIn200(msgspec.Struct):
    error: str | dict[str, Any]


class _Asked(msgspec.Struct):
    """Identifying fields of a conversation, in their stored order."""

    messages: tuple[Message, ...]
    temperature: float | None
    max_tokens: int
    top_logprobs: int
    purpose: str


def canonical(endpoint: Endpoint, request: Request) -> bytes:
    """Return the canonical JSON of a request, without the sample number."""
    kind = type(request).__name__
    asked = sendable(request)
    if isinstance(asked, ChatRequest):
        asked = _Asked(asked.messages, asked.temperature, asked.max_tokens, asked.top_logprobs, asked.purpose)
    whole = {"version": KEY_VERSION, "model": endpoint.name, "kind": kind, "request": asked}
    return msgspec.json.encode(whole, order="deterministic")


def sendable(request: Request) -> Request:
    """Return a request with lone surrogates replaced by U+FFFD."""
    if isinstance(request, PromptRequest):
        return replace(request, prompt=_HALVES.sub("\ufffd", request.prompt))
    if not any(_HALVES.search(message.content) for message in request.messages):
        return request
    messages = (replace(message, content=_HALVES.sub("\ufffd", message.content)) for message in request.messages)
    return replace(request, messages=tuple(messages))


def chat_body(endpoint: Endpoint, request: ChatRequest, sample: int, form: Form | None = None) -> dict[str, Any]:
    """Return the JSON request for one sample, in the provider's form."""
    form = form or Form.of(endpoint.provider)
    messages = messages_in(form, sendable(request).messages)
    body: dict[str, Any] = {
        "model": endpoint.model,
        "messages": [{"role": message.role, "content": message.content} for message in messages],
        **endpoint.provider.extra,
    }
    if form.temperature and request.temperature is not None:
        body["temperature"] = request.temperature
    if form.limit:
        body[form.limit_names[0]] = request.max_tokens
    if form.seed:
        body["seed"] = sample
    if request.top_logprobs:
        body |= {"logprobs": True, "top_logprobs": request.top_logprobs}
    return body


def prompt_body(endpoint: Endpoint, request: PromptRequest) -> dict[str, Any]:
    """Return the JSON request for a prompt's log probabilities.

    One token is generated, since some servers refuse to generate none; it is dropped.
    """
    return {
        "model": endpoint.model,
        "prompt": sendable(request).prompt,
        "echo": True,
        "logprobs": request.top_logprobs,
        "max_tokens": 1,
        "temperature": 0.0,
    }


def read_chat(text: str) -> ChatAnswer | Fault:
    """Parse the answer in a server's JSON, or its fault; `billing` reads the usage."""
    found = _decode(text, _Completion)
    if isinstance(found, Fault):
        return found
    if found.error:
        return _fault_of(found.error, text)
    if not found.choices:
        if found.prompt_feedback is not None and found.prompt_feedback.block_reason:
            return ChatAnswer("", Ending.BLOCKED.value, model=found.model or "")
        if found.choices is None:
            return Fault(FaultKind.MALFORMED, f"no choices: {shorten(text)}")
        return Fault(FaultKind.NO_CHOICE)
    choice = found.choices[0]
    if choice.error:
        return _fault_of(choice.error, text)
    if (choice.finish_reason or "").lower() == "error":
        return Fault(FaultKind.FAILING, "the answer ends in an error")
    ending = ending_of(choice.finish_reason, choice.native_finish_reason)
    if ending is None:
        return Fault(FaultKind.ENDING, repr(shorten(choice.finish_reason or choice.native_finish_reason or "")))
    if choice.message is None and ending is Ending.WHOLE:
        return Fault(FaultKind.MALFORMED, "a choice without a message")
    logprobs = choice.logprobs.content if choice.logprobs else None
    return ChatAnswer(
        text=_text(choice.message),
        finish_reason=ending.value,
        logprobs=tuple(_alternatives(token) for token in logprobs or ()),
        model=found.model or "",
    )


def _text(message: _Message | None) -> str:
    """Return the text of a message, without reasoning parts."""
    if message is None:
        return ""
    content = message.content
    if isinstance(content, list):
        content = "".join(part.text for part in content if part.type in ("text", "output_text"))
    return content or message.refusal or ""


def read_prompt(text: str, request: PromptRequest) -> PromptReading | Fault:
    """Parse a prompt reading in a server's JSON, or its fault; `billing` reads the usage."""
    found = _decode(text, _EchoCompletion)
    if isinstance(found, Fault):
        return found
    echo = found.choices[0].logprobs if found.choices else None
    if echo is None:
        return Fault(FaultKind.REFUSED, "it does not echo prompts with log probabilities")
    tokens = _prompt_tokens(echo, sendable(request).prompt)
    if not tokens:
        return Fault(FaultKind.REFUSED, "the prompt that it echoes is not the one that was sent")
    return PromptReading(tokens, model=found.model or "")


def is_other_model(asked: str, answered: str) -> bool:
    """Return whether an answer names another model than requested, ignoring dates and vendors.

    >>> is_other_model("gpt-4.1-mini", "gpt-4.1-mini-2025-04-14"), is_other_model("meta/llama:free", "meta/llama")
    (False, False)
    >>> is_other_model("meta-llama/llama-4-scout", "gpt-4.1-mini")
    True
    """
    wanted, found = (name.lower().rpartition("/")[2].partition(":")[0] for name in (asked, answered))
    return not (not found or found.startswith(wanted) or wanted.startswith(found))


def _decode(text: str, wanted: type[Any]) -> Any | Fault:  # noqa: ANN401 - one of the structs above
    try:
        return msgspec.json.decode(text, type=wanted, strict=False)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        fault = Fault(FaultKind.MALFORMED, f"{error}: {shorten(text)}" if text.strip() else "an empty body")
    try:
        return _fault_of(msgspec.json.decode(text, type=_ErrorIn200).error, text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return fault


def _fault_of(error: str | dict[str, Any], text: str) -> Fault:
    """Return the fault of an error inside a 200 response; transient without a status code."""
    code = str(error.get("code")) if isinstance(error, dict) else ""
    status = int(code) if code.isascii() and code.isdigit() and len(code) == 3 else 0
    told = msgspec.json.encode({"error": error}).decode() if error else text
    return fault_of_status(status if 300 <= status < 600 else 502, told, {})


def _alternatives(token: _Token) -> Mapping[str, float]:
    likelier = {each.token: each.logprob for each in reversed(token.top_logprobs or [])}
    return {token.token: token.logprob, **likelier}


def _prompt_tokens(echo: _Echo, prompt: str) -> tuple[PromptToken, ...]:
    """Return the tokens of the prompt; none if they do not match it.

    A server may prepend a token and generates one at the end: both are dropped.
    """
    tops = echo.top_logprobs or [None] * len(echo.tokens)
    offsets = _offsets(echo, prompt)
    if not len(echo.tokens) == len(echo.token_logprobs) == len(tops) == len(offsets):
        return ()
    made = [
        PromptToken(text, offset, {**({} if own is None else {text: own}), **(top or {})})
        for text, own, top, offset in zip(echo.tokens, echo.token_logprobs, tops, offsets, strict=True)
        if 0 <= offset < len(prompt)
    ]
    return tuple(made) if made and made[0].offset == 0 else ()


def _offsets(echo: _Echo, prompt: str) -> list[int]:
    """Return the offset of each token in the prompt: from their texts, else from the server."""
    start = "".join(echo.tokens).find(prompt)
    if start < 0:
        return echo.text_offset or []
    ends = list(accumulate(map(len, echo.tokens)))
    return [end - len(text) - start for end, text in zip(ends, echo.tokens, strict=True)]
