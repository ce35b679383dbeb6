"""The OpenAI protocol: what is sent, and what is read from whatever comes back."""

import json

import pytest

from featureinterp.chat import ChatRequest, Message, PromptRequest
from featureinterp.llm.api import wire
from featureinterp.llm.api.faults import Fault, FaultKind
from featureinterp.llm.api.providers import parse_model_name

LOCAL = parse_model_name("local:m@http://127.0.0.1:1/v1")
OPENAI = parse_model_name("openai:gpt-4.1-mini")
REQUEST = ChatRequest((Message("system", "be brief"), Message("user", "hi")), 0.5, 100)


def completion(**changes) -> str:
    message = {"role": "assistant", "content": "hello"}
    body = {
        "id": "1",
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3},
    }
    return json.dumps({**body, **changes})


def test_what_is_sent_follows_the_providers_habits() -> None:
    local = wire.chat_body(LOCAL, REQUEST, sample=3)
    assert local == {
        "model": "m",
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}],
        "temperature": 0.5,
        "max_tokens": 100,
        "seed": 3,
    }
    assert wire.chat_body(OPENAI, REQUEST, 0)["max_completion_tokens"] == 100
    assert wire.chat_body(parse_model_name("a/b"), REQUEST, 0)["usage"] == {"include": True}
    assert "seed" not in wire.chat_body(parse_model_name("gemini:g"), REQUEST, 0)
    with_logprobs = wire.chat_body(LOCAL, ChatRequest((), top_logprobs=6), 0)
    assert (with_logprobs["logprobs"], with_logprobs["top_logprobs"]) == (True, 6)


@pytest.mark.parametrize(
    "changed",
    [
        ChatRequest((Message("system", "be brief"), Message("user", "ho")), 0.5, 100),
        ChatRequest((Message("user", "be brief"), Message("user", "hi")), 0.5, 100),
        ChatRequest(REQUEST.messages, 0.6, 100),
        ChatRequest(REQUEST.messages, 0.5, 101),
        ChatRequest(REQUEST.messages, 0.5, 100, top_logprobs=1),
        ChatRequest(REQUEST.messages, 0.5, 100, purpose="propose/2"),
    ],
)
def test_all_that_decides_an_answer_identifies_it(changed) -> None:
    assert wire.canonical(LOCAL, changed) != wire.canonical(LOCAL, REQUEST)


def test_provider_and_model_identify_it_and_the_address_does_not() -> None:
    elsewhere = parse_model_name("local:m@http://10.0.0.1:9/v1")
    assert wire.canonical(LOCAL, REQUEST) == wire.canonical(elsewhere, REQUEST)
    assert wire.canonical(LOCAL, REQUEST) != wire.canonical(OPENAI, REQUEST)
    assert wire.canonical(LOCAL, REQUEST) != wire.canonical(LOCAL, PromptRequest("hi"))


def test_half_a_character_is_sent_as_something_that_can_be_sent() -> None:
    half = ChatRequest((Message("user", "a\ud83d\tb"),))
    assert wire.chat_body(LOCAL, half, 0)["messages"][0]["content"] == "a\ufffd\tb"
    assert b"a\xef\xbf\xbd" in wire.canonical(LOCAL, half)
    assert wire.prompt_body(LOCAL, PromptRequest("\udc00"))["prompt"] == "\ufffd"


def test_an_answer_is_read() -> None:
    answer = wire.read_chat(completion())
    assert (answer.text, answer.finish_reason, answer.model) == ("hello", "stop", "m")


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": None}, ""),
        ({}, ""),
        ({"content": None, "refusal": "I will not"}, "I will not"),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "ab"),
        ({"content": "a", "reasoning": "hm", "tool_calls": None}, "a"),
    ],
)
def test_forms_of_content(message, text) -> None:
    choices = [{"message": message, "finish_reason": None}]
    assert wire.read_chat(completion(choices=choices)).text == text


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("<html>hello</html>", FaultKind.MALFORMED),
        ("", FaultKind.MALFORMED),
        (completion()[:60], FaultKind.MALFORMED),
        (completion(choices=[]), FaultKind.NO_CHOICE),
        (completion(choices=[{"message": None, "finish_reason": "stop"}]), FaultKind.MALFORMED),
        (
            completion(choices=[{"message": {"content": "ha"}, "error": {"code": 502, "message": "upstream died"}}]),
            FaultKind.FAILING,
        ),
        (completion(choices=[{"message": {"content": "ha"}, "error": {"code": "429"}}]), FaultKind.RATE_LIMITED),
        (completion(choices=[{"message": {"content": "ha"}, "error": "died"}]), FaultKind.FAILING),
        (completion(error={"code": 400, "message": "bad"}), FaultKind.REFUSED),
        ('{"error": {"message": "odd", "code": null}}', FaultKind.FAILING),
        ("[" * 100_000, FaultKind.MALFORMED),
        (completion(choices=None), FaultKind.MALFORMED),
        ('{"object": "list", "data": []}', FaultKind.MALFORMED),
        ("[1, 2]", FaultKind.MALFORMED),
        ('{"error": {"message": "overloaded", "code": 502}}', FaultKind.FAILING),
        ('{"error": {"message": "slow down", "code": 429}}', FaultKind.RATE_LIMITED),
        ('{"error": "something"}', FaultKind.FAILING),
        (completion(choices=[{"message": {"content": "ha"}, "finish_reason": "error"}]), FaultKind.FAILING),
    ],
)
def test_what_is_no_answer_is_a_fault(text, kind) -> None:
    fault = wire.read_chat(text)
    assert isinstance(fault, Fault)
    assert fault.kind is kind
    assert len(fault.message) < 500


@pytest.mark.parametrize(
    ("told", "ending"),
    [
        *((word, "stop") for word in ("stop", "STOP", "end_turn", "eos", "stop_sequence", "COMPLETE", "", None)),
        *((word, "length") for word in ("length", "MAX_TOKENS", "max_output_tokens", "model_context_window_exceeded")),
        *((word, "content_filter") for word in ("content_filter", "SAFETY", "PROHIBITED_CONTENT", "refusal")),
        ("FINISH_REASON_MAX_TOKENS", "length"),
        ("model-length", "length"),
        *((word, None) for word in ("insufficient_system_resource", "abort", "tool_calls", "OTHER", "stopp")),
    ],
)
def test_only_endings_that_are_known_to_be_good_make_a_whole_answer(told, ending) -> None:
    found = wire.read_chat(completion(choices=[{"message": {"content": "half a"}, "finish_reason": told}]))
    if ending is None:
        assert isinstance(found, Fault)
        assert (found.kind, found.message) == (FaultKind.ENDING, repr(told))
    else:
        assert (found.text, found.finish_reason) == ("half a", ending)


@pytest.mark.parametrize(
    ("proxy", "provider", "ending"),
    [("stop", "MAX_TOKENS", "length"), (None, "SAFETY", "content_filter"), ("stop", "whatever", "stop")],
)
def test_a_provider_behind_a_proxy_is_believed_where_it_says_worse(proxy, provider, ending) -> None:
    choice = {"message": {"content": "a"}, "finish_reason": proxy, "native_finish_reason": provider}
    assert wire.read_chat(completion(choices=[choice])).finish_reason == ending


@pytest.mark.parametrize(
    "changes",
    [
        {"choices": [{"message": None, "finish_reason": "content_filter"}]},
        {"choices": [{"finish_reason": "PROHIBITED_CONTENT"}]},
        {"choices": [], "promptFeedback": {"blockReason": "SAFETY"}},
        {"choices": None, "promptFeedback": {"blockReason": "OTHER"}},
    ],
)
def test_a_blocked_answer_is_an_answer_without_text(changes) -> None:
    answer = wire.read_chat(completion(**changes))
    assert (answer.text, answer.finish_reason) == ("", "content_filter")


def test_parts_of_an_answer_that_are_thoughts_are_left_out() -> None:
    content = [{"type": "thinking", "text": "hm"}, {"type": "thinking", "thinking": []}, {"type": "text", "text": "a"}]
    assert wire.read_chat(completion(choices=[{"message": {"content": content}}])).text == "a"


def test_log_probabilities_are_by_token_with_the_chosen_one_among_them() -> None:
    tokens = [
        {
            "token": "3",
            "logprob": -0.1,
            "top_logprobs": [{"token": "3", "logprob": -0.1}, {"token": "4", "logprob": -2}],
        },
        {"token": "x", "logprob": -9, "top_logprobs": [{"token": "\n", "logprob": -0.2}]},
        {"token": "y", "logprob": -1, "top_logprobs": None},
    ]
    choices = [{"message": {"content": "3xy"}, "logprobs": {"content": tokens}}]
    answer = wire.read_chat(completion(choices=choices))
    assert answer.logprobs == ({"3": -0.1, "4": -2.0}, {"x": -9.0, "\n": -0.2}, {"y": -1.0})


def echoed(tokens, tops, **changes) -> str:
    own = [None if top is None else top.get(token) for token, top in zip(tokens, tops, strict=True)]
    logprobs = {"tokens": tokens, "token_logprobs": own, "top_logprobs": tops, **changes}
    return json.dumps({"model": "m", "choices": [{"text": "", "logprobs": logprobs}], "usage": {"prompt_tokens": 3}})


def test_a_prompt_is_read_without_what_the_server_puts_around_it() -> None:
    text = echoed(
        ["<s>", "a\t", "unknown", "\n", "z"], [None, {"a\t": -1.0}, {"unknown": -0.5, "3": -1.5}, {"\n": -0.1}, {}]
    )
    reading = wire.read_prompt(text, PromptRequest("a\tunknown\n"))
    assert [(token.text, token.offset) for token in reading.tokens] == [("a\t", 0), ("unknown", 2), ("\n", 9)]
    assert reading.tokens[1].logprobs == {"unknown": -0.5, "3": -1.5}


def test_tokens_that_are_parts_of_a_character_lie_where_the_server_says() -> None:
    tokens, tops = ["a", "\\xc3", "\\xa9", "b"], [None, {"\\xc3": -1.0}, {"\\xa9": -1.0}, {"b": -2.0}]
    text = echoed(tokens, tops, text_offset=[0, 1, 1, 2])
    reading = wire.read_prompt(text, PromptRequest("aéb"))
    assert [token.offset for token in reading.tokens] == [0, 1, 1, 2]


@pytest.mark.parametrize(
    "text",
    [
        echoed(["a", "c"], [None, {"c": -1.0}]),
        echoed([], []),
        echoed(["a"], [None], token_logprobs=[]),
        '{"choices": [{"text": "generated", "logprobs": null}]}',
        '{"choices": []}',
    ],
)
def test_a_server_that_does_not_echo_the_prompt_is_refused(text) -> None:
    fault = wire.read_prompt(text, PromptRequest("a b"))
    assert isinstance(fault, Fault)
    assert fault.kind is FaultKind.REFUSED


@pytest.mark.parametrize(
    ("asked", "answered", "other"),
    [
        ("gpt-4.1-mini", "gpt-4.1-mini-2025-04-14", False),
        ("google/gemma-2-9b-it", "gemma-2-9b-it", False),
        ("gemini-2.5-flash", "models/gemini-2.5-flash", False),
        ("qwen/qwen3-8b:free", "qwen/qwen3-8b", False),
        ("m", "", False),
        ("meta-llama/llama-4-scout", "meta-llama/llama-4-maverick", True),
        ("m", "another-model", True),
    ],
)
def test_another_model_is_noticed(asked, answered, other) -> None:
    assert wire.is_other_model(asked, answered) is other
