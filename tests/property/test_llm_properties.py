"""Laws of names, waits and answers that hold for any text."""

from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from random import Random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from featureinterp.chat import ChatAnswer, PromptReading, PromptRequest
from featureinterp.errors import InputError
from featureinterp.llm.api import wire
from featureinterp.llm.api.faults import Fault, backoff, fault_of_status, message_in, wait_asked_for
from featureinterp.llm.api.providers import PROVIDERS, parse_model_name

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
MODELS = st.text(st.characters(categories=("L", "N"), include_characters="-._:/@"), min_size=1).filter(
    lambda text: "@http" not in text
)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "message", "content", "error", "code", "usage", "x"]), inner, max_size=3
        )
    ),
)


@given(st.text())
def test_any_text_is_a_name_or_an_input_error(text) -> None:
    try:
        endpoint = parse_model_name(text, "http://127.0.0.1:8000/v1")
    except InputError as error:
        assert error.hint
    else:
        assert endpoint.provider.name in PROVIDERS
        assert endpoint.model


@given(st.sampled_from(sorted(PROVIDERS)), MODELS)
def test_provider_model_and_address_are_found_again(provider, model) -> None:
    url = "http://127.0.0.1:8000/v1"
    endpoint = parse_model_name(f"{provider}:{model}@{url}")
    assert (endpoint.provider.name, endpoint.model, endpoint.base_url) == (provider, model, url)
    assert parse_model_name(endpoint.name, url).model == model


@given(st.text(), st.text())
def test_any_header_gives_a_wait_or_none(seconds, milliseconds) -> None:
    waited = wait_asked_for({"retry-after": seconds, "retry-after-ms": milliseconds}, NOW)
    assert waited is None or 0 <= waited < float("inf")


@given(st.integers(-(10**6), 10**6))
def test_a_date_is_the_wait_until_then(seconds) -> None:
    then = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert wait_asked_for({"retry-after": then}, NOW) == max(0, seconds)


@given(st.integers(0, 10**9), st.floats(0.001, 10), st.floats(0.001, 1000), st.integers())
def test_a_wait_is_never_longer_than_the_longest(attempt, shortest, longest, seed) -> None:
    assert 0 < backoff(attempt, shortest, longest, Random(seed)) <= longest


@given(st.text() | JSON.map(lambda value: msgspec.json.encode(value).decode()))
def test_any_body_is_an_answer_or_a_fault(body) -> None:
    assert isinstance(wire.read_chat(body), (ChatAnswer, Fault))
    assert isinstance(wire.read_prompt(body, PromptRequest("a b")), PromptReading | Fault)


@given(st.integers(300, 599), st.text() | JSON.map(lambda value: msgspec.json.encode(value).decode()))
def test_any_refusal_is_a_fault_with_one_short_line(status, body) -> None:
    assert isinstance(message_in(body), str)
    message = fault_of_status(status, body, {}).message
    assert "\n" not in message
    assert len(message) < 350
