"""Every chat model keeps the promises that proposers rely on; those behind an endpoint are tested with a server."""

from __future__ import annotations

import asyncio
from copy import deepcopy

import pytest

from featureinterp.chat import ChatAnswer, ChatRequest, Message
from featureinterp.protocols import ChatModel
from tests.contract.parts import CHAT_MODELS

REQUEST = ChatRequest((Message("system", "Explain."), Message("user", " raise\t5\n error\t1\nOr \ud83d\x00<end>?")))


@pytest.fixture(params=CHAT_MODELS)
def model(request: pytest.FixtureRequest) -> ChatModel:
    return CHAT_MODELS[request.param]()


def answers(model: ChatModel, n: int, first: int = 0) -> list[ChatAnswer]:
    return asyncio.run(model.answer(REQUEST, n, first))


def test_it_has_a_name_of_provider_and_model(model: ChatModel) -> None:
    provider, _, name = model.name.partition(":")
    assert provider
    assert name


@pytest.mark.parametrize("n", [0, 1, 3])
def test_as_many_answers_as_samples_were_asked_for(model: ChatModel, n: int) -> None:
    found = answers(model, n)
    assert len(found) == n
    assert all(answer.text and answer.finish_reason == "stop" for answer in found)


def test_the_same_number_gives_the_same_sample(model: ChatModel) -> None:
    together = [answer.text for answer in answers(model, 4)]
    assert [answers(model, 1, number)[0].text for number in (3, 2, 1, 0)] == together[::-1]
    assert [answer.text for answer in answers(model, 2, first=1)] == together[1:3]


def test_a_request_is_left_as_it_was(model: ChatModel) -> None:
    before = deepcopy(REQUEST)
    answers(model, 2)
    assert before == REQUEST
