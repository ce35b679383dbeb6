"""Complexity: the estimate rises from tokens to meanings, and a model's is the expected digit."""

import asyncio
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featureinterp.chat import ChatAnswer
from featureinterp.complexity import ChatJudge, ComplexityAnalyzer
from featureinterp.complexity.chat import digit_logits
from featureinterp.complexity.lexical import LexicalJudge, lexical_complexity
from featureinterp.complexity.registry import (
    JUDGES,
    PROMPT_HASHES,
    check_complexity_name,
    is_local,
    make_judge,
    prompt_hash,
    prompt_version_of,
)
from featureinterp.core import Rule, StructuredExplanation
from featureinterp.errors import ChatError, InputError
from featureinterp.llm.api.scripted import ScriptedChatModel
from tests.property.test_phrases import phrases

RISING = [
    "the token ' a'",
    "the tokens ' a', ' b'",
    "the words 'a', 'b', 'c'",
    "words ending in 'ing'",
    "the token ' a' right after ' b'",
    "numbers right after ' b'",
    "numbers right after ' b', ' c'",
    "words like 'boat'",
    "things that go wrong",
    "words like 'boat' right after ' b'",
]


def test_tokens_then_classes_then_contexts_then_meanings():
    levels = [lexical_complexity(words) for words in RISING]
    assert levels == sorted(levels)
    assert len(set(levels)) == len(levels)
    assert levels[0] == 0.0
    assert lexical_complexity("numbers") == lexical_complexity("words ending in 'ing'") == 1.0
    assert lexical_complexity("numbers right after ' b' with ' c' before") == 1.0 + 2 * 1.5


def test_a_sentence_has_the_mean_of_its_phrases():
    assert lexical_complexity("the token ' a'; or numbers right after ' b'") == (0.0 + 2.5) / 2


def test_free_text_is_a_little_above_what_it_quotes():
    assert lexical_complexity('mentions of "error"') == 1.0
    assert lexical_complexity('"error" or digits') == 2.0
    assert lexical_complexity("a sense of doubt") == 4.0


@given(phrases)
def test_a_context_more_is_never_simpler(phrase):
    from dataclasses import replace

    from featureinterp.phrases import render

    whole = lexical_complexity(render(phrase))
    assert 0.0 <= whole <= 5.0
    for part in ("after", "not_after", "earlier"):
        assert lexical_complexity(render(replace(phrase, **{part: None}))) <= whole


@given(st.text(min_size=1))
def test_any_text_has_a_complexity(text):
    assert 0.0 <= lexical_complexity(text) <= 5.0


def test_an_explanations_is_the_mean_over_its_rules():
    explanation = StructuredExplanation((Rule("numbers", 5), Rule("numbers", 1), Rule("a sense of doubt", 3)))
    assert asyncio.run(ComplexityAnalyzer().complexity(explanation)) == pytest.approx((1 + 1 + 4) / 3)


class Model:
    name = "local:m"

    def __init__(self, logprobs):
        self.logprobs, self.asked = logprobs, []

    async def answer(self, request, n=1, first=0):
        self.asked.append(request)
        return [ChatAnswer("3", logprobs=self.logprobs)]


def test_a_models_is_the_expected_digit_and_each_rule_is_asked_for_once():
    model = Model(({"1": math.log(0.1), " 1": math.log(0.1), "3": math.log(0.2), "x": math.log(0.6), "7": -0.1},))
    analyzer = ComplexityAnalyzer(judge=ChatJudge(model))
    explanation = StructuredExplanation((Rule("numbers", 5), Rule("numbers", 1)))
    assert asyncio.run(analyzer.complexity(explanation)) == pytest.approx(2.0)
    assert asyncio.run(analyzer.complexity(explanation)) == pytest.approx(2.0)
    [request] = model.asked
    assert request.messages[-1].content == "What switches the feature on: numbers"
    assert (request.temperature, request.top_logprobs, request.purpose) == (0.0, 20, "complexity/1")


def test_a_model_that_tells_no_probabilities_or_no_digit_is_told():
    for logprobs, problem in (((), "returns no log probabilities"), (({"x": -0.1},), "answers '3'; expected a digit")):
        with pytest.raises(ChatError, match=problem):
            asyncio.run(ChatJudge(Model(logprobs)).judge("numbers"))


def test_digits_with_spaces_add_up():
    assert digit_logits({"2": math.log(0.25), "\n2": math.log(0.25), "12": -1.0})[2] == pytest.approx(math.log(0.5))


def test_a_name_without_a_model_is_told():
    with pytest.raises(InputError, match="'hf' names no model"):
        ComplexityAnalyzer("hf:")


@pytest.mark.parametrize(
    ("name", "stored", "local", "version"),
    [
        ("lexical", "lexical", True, None),
        ("hf:org/model", "hf:org/model", True, 1),
        ("openai:gpt-4.1", "openai:gpt-4.1", False, 1),
        ("vendor/model", "openrouter:vendor/model", False, 1),
        ("local:m@http://127.0.0.1:8000/v1", "local:m", False, 1),
    ],
)
def test_a_name_is_lexical_a_local_model_or_an_endpoint(name, stored, local, version):
    assert (check_complexity_name(name), is_local(name), prompt_version_of(name)) == (stored, local, version)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("lexical:x", "no provider 'lexical'"),
        ("chat:openai:x", "no provider 'chat'"),
        ("hf", "'hf' names no model"),
        ("x", "not the name of a language model"),
    ],
)
def test_other_names_are_refused_before_anything_is_loaded(name, problem):
    with pytest.raises(InputError, match=problem):
        check_complexity_name(name)


def test_every_kind_is_registered_where_it_is():
    assert all(callable(JUDGES.load(kind)) for kind in JUDGES)
    assert all(callable(PROMPT_HASHES.load(kind)) for kind in PROMPT_HASHES)
    assert isinstance(make_judge("lexical"), LexicalJudge)


def test_only_a_judge_with_a_prompt_has_a_hash_the_same_for_every_endpoint():
    assert prompt_hash("lexical") is None
    assert prompt_hash("openai:a") == prompt_hash("vendor/b")
    assert re.fullmatch("[0-9a-f]{64}", prompt_hash("openai:a") or "")


def thinking(text, *tokens):
    """Answer 4 tokens of thoughts, and the whole where more are allowed."""
    whole = ChatAnswer(text, "stop", logprobs=tuple({token: -0.1, "2": -3.0} for token in tokens))

    def script(request, _number):
        start = "".join(tokens[:4])
        return whole if request.max_tokens > 4 else ChatAnswer(start, "length", logprobs=whole.logprobs[:4])

    return ScriptedChatModel(script)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("<think>Is it hard?</think>\n4", ("<think>", "Is", " it", " hard", "?", "</think>", "\n", "4")),
        ("4", ("Is", " it", " hard", "?", "</think>", "\n\n", "4", "<|im_end|>")),
        ("Hard? 3?\n</think>\n\n4", ("Hard", "?", " 3", "?", "\n", "</think>", "\n\n", "4")),
    ],
)
def test_a_digit_behind_thoughts_is_found_and_nothing_is_read_from_the_thoughts(text, tokens):
    model = thinking(text, *tokens)
    weight = math.exp(-0.1) / (math.exp(-0.1) + math.exp(-3.0))
    assert asyncio.run(ChatJudge(model).judge("numbers")) == pytest.approx(4 * weight + 2 * (1 - weight))
    assert [request.max_tokens for request, _ in model.asked] == [4, 8192]


def test_thoughts_that_use_up_all_tokens_are_told():
    model = ScriptedChatModel(lambda *_: ChatAnswer("<think>Is it", "length", logprobs=({"<think>": -0.1},)))
    with pytest.raises(ChatError, match="100 tokens were used up before the answer began"):
        asyncio.run(ChatJudge(model, answer_tokens=100).judge("numbers"))


def test_prose_is_read_by_its_first_token_as_it_always_was():
    def script(request, _number):
        ending = "stop" if request.max_tokens > 4 else "length"
        return ChatAnswer("About three, since", ending, logprobs=({"About": 0, "3": -2},))

    model = ScriptedChatModel(script)
    assert asyncio.run(ChatJudge(model).judge("numbers")) == 3.0
