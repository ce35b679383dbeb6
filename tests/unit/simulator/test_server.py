"""Simulators behind an endpoint: a scripted model in its place reads the prompt that it gets."""

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featureinterp.chat import ChatAnswer, PromptReading, PromptToken
from featureinterp.core import StructuredExplanation
from featureinterp.errors import BudgetExceededError, ChatError, InputError, SimulationError
from featureinterp.formatting import escape, format_record
from featureinterp.simulator import make_simulator_factory
from featureinterp.simulator.alignment import simulation_prompt
from featureinterp.simulator.server import ATTEMPTS, THOUGHT_TOKENS, read_levels

WINDOWS = [("?", " cat", "\t", "\n", "0", "\t?\n", " ", "\\"), (" dog", "é", "?\t?")]


def simulate(name, model, windows=WINDOWS):
    factory = make_simulator_factory(name, open_model=lambda asked: model if asked == "local:m" else None)
    explanation = StructuredExplanation.from_text("cats\nand '?'\t")
    return [list(s.expected_activations) for s in asyncio.run(factory(explanation).simulate(windows))]


class Echo:
    """Rates prompts cut into single characters, or as `cut` says; a level at place n of a text is n modulo 6."""

    name = "local:m"

    def __init__(self, cut=lambda text: list(text), digits=True):
        self.cut, self.digits, self.requests = cut, digits, []

    async def read_prompt(self, request):
        self.requests.append(request)
        lines = request.prompt.split("\n\n")[-1].count("\t?\n") and len(request.prompt) - len(
            request.prompt.split("\n\n")[-1]
        )
        tokens, offset, slot = [], 0, 0
        for text in self.cut(request.prompt):
            logprobs = {"unrelated": -0.1, text: -3.0}
            if offset >= lines and text.startswith("?") and request.prompt[offset - 1] == "\t":
                if self.digits:  # twice as likely as the next: the expectation is that of {slot: 2/3, 0: 1/3}
                    logprobs |= {str(slot % 6): math.log(0.02), "0": math.log(0.02 if slot % 6 == 0 else 0.01)}
                slot += 1
            tokens.append(PromptToken(text, offset, logprobs))
            offset += len(text)
        return PromptReading(tuple(tokens))


def test_echo_reads_the_digits_in_the_place_of_each_level():
    model = Echo()
    levels = simulate("echo:local:m", model)
    assert levels == [pytest.approx([2 / 3 * (n % 6) for n in range(len(tokens))]) for tokens in WINDOWS]
    assert all(request.top_logprobs == 20 and request.purpose == "simulate-echo/1" for request in model.requests)
    assert model.requests[0].prompt.endswith(
        "by:\ncats and '?'\t\n\n\n?\t?\n cat\t?\n\\t\t?\n\\n\t?\n0\t?\n\\t?\\n\t?\n \t?\n\\\\\t?\n"
    )


def test_echo_tells_where_the_tokenizer_joins_a_level_with_its_tab():
    def cut(text):
        parts = text.split("\t?")
        return [part for i, part in enumerate(parts) for part in (["\t?"] if i else []) + [part] if part]

    with pytest.raises(SimulationError, match="local:m merges the level of token ' cat'"):
        simulate("echo:local:m", Echo(cut), [(" cat",)])


def test_echo_tells_where_no_digit_is_likely():
    with pytest.raises(SimulationError, match="no digit is among the 2 likeliest tokens"):
        simulate("echo:local:m", Echo(digits=False))


class Writer:
    """Answers in turn; notes what it is asked."""

    name = "local:m"

    def __init__(self, *answers):
        self.answers, self.asked = answers, []

    async def answer(self, request, n=1, first=0):
        self.asked.append((request, first))
        answer = self.answers[min(first, len(self.answers) - 1)]
        if isinstance(answer, Exception):
            raise answer
        return [answer if isinstance(answer, ChatAnswer) else ChatAnswer(answer)] * n


def test_chat_reads_levels_that_the_model_writes():
    levels = [[5, 0, 1, 2, 3, 4, 5, 0], [1, 1, 2]]
    for tokens, wanted in zip(WINDOWS, levels, strict=True):
        model = Writer(format_record(tokens, wanted))
        assert simulate("chat:local:m", model, [tokens]) == [wanted]
        [(request, first)] = model.asked
        assert (first, request.temperature, request.purpose) == (0, 0.0, "simulate-chat/1")
        assert request.messages[-1].content.startswith("The feature is switched on by:\ncats and '?'\t\n\nThe text:\n")
        assert [m.role for m in request.messages] == ["user", "assistant"] * 5 + ["user"]


def test_worked_examples_are_answered_as_asked():
    prompt = simulation_prompt()
    messages = prompt.messages("x", ("a",))
    for example, question, answer in zip(prompt.examples, messages[::2], messages[1::2], strict=False):
        assert read_levels(answer.content, example.tokens) == list(example.levels)
        assert question.content.split("The text:\n")[1].split("\n") == [escape(token) for token in example.tokens]
        withheld = example.pieces("unknown")[2::4]
        assert 0 < withheld.count("unknown") < len(example.tokens)
        assert withheld == ("unknown",) * example.known_from + tuple(map(str, example.levels[example.known_from :]))


def test_chat_asks_again_and_fails_in_the_end():
    good = format_record((" cat",), [3])
    model = Writer("sorry", " cat\t7", good)
    assert simulate("chat:local:m", model, [(" cat",)]) == [[3]]
    assert [first for _, first in model.asked] == [0, 1, 2]
    assert len({request.temperature for request, _ in model.asked[1:]}) == 1
    with pytest.raises(SimulationError, match=f"no levels in {ATTEMPTS} answers: the answer has 2 lines for 1 tokens"):
        simulate("chat:local:m", Writer("a\nb"), [(" cat",)])


def test_a_model_that_thinks_first_gets_room_for_it_and_its_thoughts_are_cut():
    levels = format_record((" cat",), [3])
    model = Writer(ChatAnswer("<think>The cat", "length"), f"<think>The cat it is.</think>\n{levels}")
    assert simulate("chat:local:m", model, [(" cat",)]) == [[3]]
    limits = [request.max_tokens for request, _ in model.asked]
    assert limits[1] == limits[0] + THOUGHT_TOKENS


def test_a_refused_request_spoils_one_and_a_limit_ends_all():
    with pytest.raises(ChatError):
        simulate("chat:local:m", Writer(ChatError("no")))
    with pytest.raises(BudgetExceededError):
        simulate("chat:local:m", Writer(BudgetExceededError("enough")))


def test_an_empty_text_is_not_asked_for():
    model = Writer("x")
    assert simulate("chat:local:m", model, [()]) == [[]]
    assert model.asked == []


@pytest.mark.parametrize("kind", ["echo", "chat"])
def test_a_name_without_a_model_is_told(kind):
    with pytest.raises(InputError, match=f"'{kind}' names no model"):
        make_simulator_factory(kind)


@given(st.lists(st.tuples(st.text(min_size=1, max_size=5), st.integers(0, 5)), min_size=1, max_size=8))
def test_levels_written_are_levels_read(lines):
    tokens, levels = zip(*lines, strict=True)
    assert read_levels(format_record(tokens, levels), tokens) == list(levels)


@given(st.text())
def test_no_answer_raises_anything_else(text):
    try:
        levels = read_levels(text, (" a", "b"))
    except SimulationError:
        return
    assert len(levels) == 2
    assert set(levels) <= set(range(6))
