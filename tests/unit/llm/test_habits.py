"""Requests whose form an endpoint refuses: asked otherwise once, in the words of real servers, and known by one key."""

import asyncio
import json
import logging

import pytest

from featureinterp.chat import ChatRequest, Message
from featureinterp.errors import ChatError, EndpointConfigError
from featureinterp.llm.api import wire
from featureinterp.llm.api.client import open_chat_model
from featureinterp.llm.api.connection import ChatParams
from featureinterp.llm.api.faults import fault_of_status
from featureinterp.llm.api.habits import Form, asked_otherwise
from featureinterp.llm.api.providers import parse_model_name
from tests.llm_server import LLMServer, Refusal

REQUEST = ChatRequest((Message("system", "be brief"), Message("user", "hi")), 1.0, 8192)


def error(message: str, **more) -> str:
    return json.dumps({"error": {"message": message, "type": "invalid_request_error", **more}})


SYSTEM = {"system_role": False}
NO_TEMPERATURE = {"temperature": False}
REFUSALS = [
    (400, '{"object": "error", "message": "System role not supported", "code": 400}', SYSTEM),
    (400, error("Developer instruction is not enabled for models/gemma-3-27b-it"), SYSTEM),
    (400, error("Unsupported value: 'messages[0].role' does not support 'system' with this model."), SYSTEM),
    (400, error("Conversation roles must alternate user/assistant/user/assistant/..."), SYSTEM),
    (422, '{"detail": "Only user and assistant roles are supported!"}', SYSTEM),
    (400, error("Provider returned error", metadata={"raw": error("System role not supported")}), SYSTEM),
    (400, error("Unsupported value: 'temperature' does not support 1 with this model."), NO_TEMPERATURE),
    (400, error("Unsupported parameter: 'temperature' is not supported with this model."), NO_TEMPERATURE),
    (400, error("`temperature` is deprecated for this model."), NO_TEMPERATURE),
    (422, '{"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs"}]}', {"seed": False}),
    (400, error("Unrecognized request argument supplied: seed"), {"seed": False}),
    (
        400,
        error("Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."),
        {"limit_names": ("max_completion_tokens",)},
    ),
    (400, error("This model's maximum context length is 8192 tokens. However, you requested 9292"), {"limit": False}),
    (400, error("'max_tokens' or 'max_completion_tokens' is too large: 8192."), {"limit": False}),
    (422, error("`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 1100 and 8192"), {"limit": False}),
]


@pytest.mark.parametrize(("status", "body", "changed"), REFUSALS)
def test_the_words_of_servers_are_understood(status, body, changed):
    form = Form()
    other = asked_otherwise(form, fault_of_status(status, body, {}), REQUEST, "local:m")
    assert other is not None
    assert {name: getattr(other, name) for name in changed} == changed
    assert asked_otherwise(other, fault_of_status(status, body, {}), REQUEST, "local:m") in (None, other) or (
        "limit" in changed
    )


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, error("temperature is out of range")),
        (403, error("You are not allowed to request logprobs from this model")),
        (400, error("Your prompt was flagged")),
        (401, error("System role not supported")),
        (500, error("System role not supported")),
        (400, error("Unsupported parameter: 'logprobs', among temperature, seed, max_tokens")),
        (400, ""),
    ],
)
def test_other_refusals_change_no_form(status, body):
    assert asked_otherwise(Form(), fault_of_status(status, body, {}), REQUEST, "local:m") is None


def asked(server: LLMServer, ledger, *requests: ChatRequest, offline: bool = False):
    async def run():
        params = ChatParams(backoff_seconds=0.002, offline=offline)
        async with open_chat_model(f"local:m@{server.url}", ledger=ledger, params=params) as model:
            return [(await model.answer(request))[0].text for request in requests]

    return asyncio.run(run())


def test_a_model_that_refuses_all_of_it_is_asked_otherwise_and_the_answer_is_stored_under_what_was_asked(
    tmp_path, caplog
):
    """It takes no system role, no temperature, no seed, and calls the limit otherwise: each is learned once."""

    def brain(body):
        if any(message["role"] == "system" for message in body["messages"]):
            return Refusal(400, error("System role not supported"))
        for name in ("seed", "temperature", "max_tokens"):
            if name in body:
                return Refusal(400, error(f"Unsupported parameter: '{name}' is not supported with this model."))
        return f"{body['messages'][0]['content']}|{body['max_completion_tokens']}"

    other = ChatRequest((Message("system", "be brief"), Message("user", "ho")), 1.0, 8192)
    ledger = tmp_path / "llm.sqlite"
    with LLMServer(brain) as server, caplog.at_level(logging.WARNING):
        texts = asked(server, ledger, REQUEST, other)
        assert texts == ["be brief\n\nhi|8192", "be brief\n\nho|8192"]
        assert len(server.seen.requests) == 5 + 1
        assert asked(server, ledger, REQUEST, other, offline=True) == texts
    told = " ".join(record.getMessage() for record in caplog.records)
    assert told.count("refuses") == 4 and "the user's turn" in told


def test_a_temperature_that_the_user_asked_for_is_not_dropped_in_silence(tmp_path):
    def brain(body):
        if body.get("temperature", 1.0) != 1.0:
            return Refusal(400, error("Unsupported value: 'temperature' does not support 0.7 with this model."))
        return "fine"

    mine = ChatRequest(REQUEST.messages, 0.7)
    ours = ChatRequest(REQUEST.messages, 0.0, any_temperature=True)
    none = ChatRequest(REQUEST.messages, None)
    with LLMServer(brain) as server:
        with pytest.raises(EndpointConfigError, match="refuses the temperature 0.7") as raised:
            asked(server, tmp_path / "a.sqlite", mine)
        assert "--temperatures none" in raised.value.hint
        assert asked(server, tmp_path / "b.sqlite", ours, none) == ["fine", "fine"]
        assert "temperature" not in server.seen.requests[-1]


def test_a_context_that_the_limit_exceeds_gets_what_is_left_of_it(tmp_path):
    def brain(body):
        prompt = len(body["messages"][-1]["content"])
        if prompt + body.get("max_tokens", 0) > 4096:
            return Refusal(400, error(f"This model's maximum context length is 4096 tokens, you requested {prompt}"))
        return str(body.get("max_tokens"))

    short, long = (ChatRequest((Message("user", "x" * n),), max_tokens=4000) for n in (50, 500))
    with LLMServer(brain) as server:
        assert asked(server, tmp_path / "llm.sqlite", long, short) == ["None", "4000"]
        with pytest.raises(ChatError, match="too long for the model"):
            asked(server, tmp_path / "llm.sqlite", ChatRequest((Message("user", "x" * 5000),), max_tokens=10))


def test_the_key_of_a_request_is_that_of_earlier_versions():
    endpoint = parse_model_name("local:m@http://127.0.0.1:1/v1")
    request = ChatRequest((Message("user", "hi"),), 0.0, 4, 20, "complexity/1", any_temperature=True)
    assert wire.canonical(endpoint, request) == (
        b'{"kind":"ChatRequest","model":"local:m","request":{"messages":[{"role":"user","content":"hi"}],'
        b'"temperature":0.0,"max_tokens":4,"top_logprobs":20,"purpose":"complexity/1"},"version":1}'
    )
