"""Thoughts in the text of an answer: every way in which models mark them, and texts that only tell of a mark."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featureinterp.chat import ChatAnswer
from featureinterp.errors import ExplanationError
from featureinterp.llm.api.thoughts import MOST_MARKS, has_begun, without_thoughts

THOUGHT, ANSWER = 'Rivers? [{"activates_on": "rivers", "strength": 1}]\nOr "lakes"?', "Names of lakes."
FORMS = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<THINK>\n", "\n</THINK>\n\n"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("<thinking effort='high'>", "</thinking>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|channel>thought\n", "<channel|>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    ("<|channel|>analysis<|message|>", "<|end|><|channel|>final <|constrain|>json<|message|>"),
    ("analysis", "assistantfinal"),
    ("Here is my thought process:\n", "\n\nHere is my response:\n"),
]


@pytest.mark.parametrize(("opening", "closing"), FORMS)
def test_thoughts_are_cut_and_nothing_is_read_from_thoughts_that_never_end(opening, closing):
    assert without_thoughts(f"{opening}{THOUGHT}{closing}{ANSWER}") == ANSWER
    assert without_thoughts(f"{opening}{THOUGHT}") == ""


@pytest.mark.parametrize("closing", [c for o, c in FORMS if "channel" not in o and not o[0].isalpha()])
def test_thoughts_that_the_template_opened_are_cut(closing):
    assert without_thoughts(f"{THOUGHT}\n{closing}\n\n{ANSWER}") == ANSWER
    assert without_thoughts(f"{THOUGHT.strip('?')}{closing}{ANSWER}") == ANSWER


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (f"<think>a</think>\n<think>b</think>{ANSWER}", ANSWER),
        (f"<think>I say <think> here,\nthen </think>\nstill </think>\n{ANSWER}", ANSWER),
        (f'<think>the token "</think>" ends it</think>{ANSWER}', ANSWER),
        ('<think>the token "</think>" ends', ""),
        (f"{ANSWER}\n<think>was that right", ANSWER),
        (f"<think>a</think><answer>{ANSWER}</answer>", ANSWER),
        (f"<|START_THINKING|>a<|END_THINKING|><|START_RESPONSE|>{ANSWER}<|END_RESPONSE|>", ANSWER),
        (f"<|channel|>analysis<|message|>a<|end|><|channel|>final<|message|>{ANSWER}<|return|>", ANSWER),
        (ANSWER, ANSWER),
        ("", ""),
    ],
)
def test_several_and_nested_thoughts_and_wrapped_answers(text, answer):
    assert without_thoughts(text) == answer


@pytest.mark.parametrize(
    "text",
    [
        '[{"activates_on": "the token </think> after a word", "strength": 5}]',
        "The tag <think> and what follows.",
        "The tag `</think>` that ends thoughts.",
        "The closing tag '</think>' alone.",
        "</think>\t5\n<think>\t0",
        "analysis of numbers",
        "[reason] and",
    ],
)
def test_an_answer_may_be_about_a_mark(text):
    assert without_thoughts(text) == text


def test_a_mark_that_may_be_either_is_not_guessed():
    with pytest.raises(ExplanationError, match="middle of a line"):
        without_thoughts("fires on </think> of reasoning models")


def test_an_answer_has_begun_unless_its_tokens_went_into_thoughts():
    assert not has_begun(ChatAnswer("", "length"))
    assert not has_begun(ChatAnswer("<think>hm", "MAX_TOKENS"))
    assert has_begun(ChatAnswer("<think>hm</think>[", "length"))
    assert has_begun(ChatAnswer("", "stop"))


@given(st.lists(st.sampled_from(["<think>", "</think>", "[THINK]", "\n", '"', " ", "a", "`", "\t", "◁/think▷"])))
def test_any_order_of_marks_is_read_or_refused(parts):
    try:
        assert len(without_thoughts("".join(parts))) <= sum(map(len, parts))
    except ExplanationError as error:
        assert error.problem


def test_endless_answers_take_no_time():
    began = time.process_time()
    without_thoughts("<think>" + "word " * 300_000 + "</think>done")
    without_thoughts("<" * 300_000)
    with pytest.raises(ExplanationError, match=f"more than {MOST_MARKS} reasoning markers"):
        without_thoughts("<think>x" * 100_000)
    with pytest.raises(ExplanationError, match="characters"):
        without_thoughts("x" * 2_000_001)
    assert time.process_time() - began < 10
