"""What an answer took: as the server says, and never nothing where it does not say."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featureinterp.chat import ChatRequest, Message, PromptRequest, Usage
from featureinterp.llm.api.billing import MOST_COST, MOST_TOKENS, Bill, most_of, read_bill
from featureinterp.llm.api.providers import parse_model_name
from featureinterp.llm.api.spending import Most, Price

LOCAL = parse_model_name("local:m@http://127.0.0.1:1/v1")
OPENROUTER = parse_model_name("openrouter:vendor/m")
MOST = Most(900, 100)
TOKENS = {"prompt_tokens": 7, "completion_tokens": 3}


def body(usage: object) -> str:
    return json.dumps({"choices": [{"message": {"content": "hello"}}], "usage": usage})


def took(usage: object, endpoint=OPENROUTER, most: Most = MOST) -> Usage:
    return read_bill(body(usage)).usage(endpoint, most, received=40)


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        ({"cost": 0.25}, 0.25),
        ({"cost": 0}, 0.0),
        ({"cost": "0.25"}, 0.25),
        ({"cost": 0.25, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.25}}, 0.25),
        ({"cost": 0.25, "cost_details": {"upstream_inference_cost": 0.25}}, 0.25),
        ({"cost": 0.25, "cost_details": {"upstream_inference_cost": None}}, 0.25),
        ({"cost": 0.25, "cost_details": {}}, 0.25),
        ({"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.9}}, 0.9),
        ({"cost": 0.95, "cost_details": {"upstream_inference_cost": 19}}, 19.95),
        ({"cost": 0.5, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.5}}, 1.0),
        ({"cost": 0, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.9}}, 0.9),
    ],
)
def test_the_cost_is_all_that_is_charged_by_whomever(usage, cost) -> None:
    assert took({**TOKENS, **usage}) == Usage(1, 7, 3, pytest.approx(cost))


@pytest.mark.parametrize(
    "usage",
    [
        {},
        {"cost": None},
        *({"cost": cost} for cost in (-0.1, "Infinity", "-inf", "nan", True, [0.1], {"usd": 0.1}, "free", 1e300, "")),
        {"cost": 0, "is_byok": True},
        {"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": None}},
        *({"cost": 0, "cost_details": {"upstream_inference_cost": cost}} for cost in (-1, "inf", "x", [], False)),
        {"cost": 0, "cost_details": 0.9e9},
        {"cost": 0, "cost_details": [0.9]},
    ],
)
def test_a_cost_that_is_no_cost_is_not_said(usage) -> None:
    assert took({**TOKENS, **usage}) == Usage(1, 7, 3, 0.0, unpriced=1)
    priced = took({**TOKENS, **usage}, most=Most(900, 100, Price(2e6, 8e6)))
    assert priced == Usage(1, 7, 3, 14.0 + 24.0)


def test_a_server_of_ones_own_is_free_unless_it_tries_to_price() -> None:
    assert took(TOKENS, LOCAL) == Usage(1, 7, 3)
    assert took({**TOKENS, "cost": 0.5}, LOCAL).cost == 0.5
    assert took({**TOKENS, "cost": "inf"}, LOCAL).unpriced == 1


@pytest.mark.parametrize(
    ("usage", "tokens", "estimated"),
    [
        ({"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}, (7, 3), 0),
        ({"prompt_tokens": 7.0, "completion_tokens": "3"}, (7, 3), 0),
        ({"prompt_tokens": 7, "completion_tokens": 0}, (7, 0), 0),
        ({"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 500}, (7, 493), 0),
        ({"prompt_tokens": 7, "total_tokens": 10}, (7, 3), 0),
        ({"completion_tokens": 3, "total_tokens": 10}, (7, 3), 0),
        ({"prompt_tokens": 7}, (7, 40), 1),
        ({"completion_tokens": 3}, (900, 3), 1),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, (900, 40), 1),
        ({"prompt_tokens": -7, "completion_tokens": -3}, (900, 40), 1),
        ({"prompt_tokens": 10**30, "completion_tokens": 10**300}, (900, 40), 1),
        ({"prompt_tokens": "Infinity", "completion_tokens": "NaN"}, (900, 40), 1),
        ({"prompt_tokens": 7.5, "completion_tokens": [3]}, (900, 40), 1),
        ({"prompt_tokens": True, "completion_tokens": {}}, (900, 40), 1),
        ({"input_tokens": 7, "output_tokens": 3}, (900, 40), 1),
        (None, (900, 40), 1),
        ([], (900, 40), 1),
        ("none", (900, 40), 1),
        (7, (900, 40), 1),
    ],
)
def test_tokens_that_are_not_said_are_the_most_they_can_be(usage, tokens, estimated) -> None:
    assert took(usage, LOCAL) == Usage(1, *tokens, estimated=estimated)


def test_an_untold_answer_is_no_longer_than_was_allowed() -> None:
    assert read_bill(body(None)).usage(LOCAL, MOST, received=5000).output_tokens == 100


@pytest.mark.parametrize(
    "text", ["", "<html>", "{", "[" * 100_000, '{"usage": {"cost": 1e999}}', '{"usage": {"a": NaN}}']
)
def test_what_is_no_json_says_nothing(text) -> None:
    assert read_bill(text).is_empty


def test_the_most_that_a_request_takes_is_a_token_per_byte_and_the_longest_answer() -> None:
    request = ChatRequest((Message("system", "be brief"), Message("user", "žluť \ud800")), max_tokens=77)
    most = most_of(request, Price(1, 1))
    assert most.input_tokens > len("be briefžluť ".encode())
    assert (most.output_tokens, most.price) == (77, Price(1, 1))
    assert most_of(PromptRequest("a b")).output_tokens == 1


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_USAGE = st.dictionaries(
    st.sampled_from(["prompt_tokens", "completion_tokens", "total_tokens", "cost", "cost_details", "is_byok"]),
    _JSON | st.dictionaries(st.just("upstream_inference_cost"), _JSON),
)


@given(_USAGE | _JSON)
def test_whatever_is_said_the_sums_stay_numbers_that_only_grow(usage) -> None:
    bill = read_bill(body(usage))
    for told, most in ((bill.input_tokens, MOST_TOKENS), (bill.output_tokens, MOST_TOKENS), (bill.cost, 2 * MOST_COST)):
        assert told is None or 0 <= told <= most
    found = bill.usage(OPENROUTER, MOST, 40)
    assert found.input_tokens > 0
    assert found.unpriced == (bill.cost is None)
    assert isinstance(bill, Bill)
