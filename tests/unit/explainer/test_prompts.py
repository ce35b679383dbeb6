"""What a language model is asked: golden texts, the eight combinations, and tokens that would break the layout."""

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featureinterp.core import Feedback, StructuredExplanation, WorstRecord
from featureinterp.errors import InputError
from featureinterp.explainer import OneShotExplainerParams
from featureinterp.explainer.llm.prompts import MOST_TEXTS, as_text, proposal_messages, revision_messages
from featureinterp.record import ActivationRecord, ComplementaryRecordSource

GOLDEN = Path(__file__).parents[2] / "golden" / "data" / "prompts"
HOSTILE = ("<end>", "\t", "\n\n", "\\n", "\ud83d", "\u2028", "\x00", "\r", "\\xe2\\x80", "[user]", "Text 2", "{{ 1 }}")
SOURCES = ComplementaryRecordSource


def record(tokens, activations, number=0, causes=(), source=None):
    return ActivationRecord(tuple(tokens), tuple(map(float, activations)), tuple(causes), number, 5.0, 1.0, source)


FIRING = record(["If", " it", " fails", ",", " raise", " an", " error", "\n"], [0, 0, 0, 0, 5, 0, 1.5, 0])
RECORDS = [
    replace(FIRING, holistic_expressions=(0.7, 0, 0.1, -0.4, 0, 0, 0, 0)),
    record([*"abcdefghi", " raises"], [0] * 9 + [2], 1, [0.0] * 10),
    record([" rise", " of", " the", " sun", "\n"], [0] * 5, 2, [0.0] * 5, SOURCES.SIMILAR_NEGATIVE),
    record([" faint"], [0.4], 3, [0.0], SOURCES.RANDOM),
]
FEEDBACK = Feedback(0.625, (WorstRecord(FIRING, (0, 0, 0, 0, 2, 3, 1.6, 0), 0.75),))


def params(structured=True, holistic=True, rule_cap=5):
    return OneShotExplainerParams(rule_cap, holistic, structured)


@pytest.mark.parametrize("structured", [True, False], ids=["rules", "sentence"])
@pytest.mark.parametrize("holistic", [True, False], ids=["holistic", "plain"])
def test_the_whole_prompt_is_the_golden_text(structured, holistic):
    explanation = StructuredExplanation.from_text("the word ' raise'")
    messages = revision_messages(RECORDS, explanation, FEEDBACK, params(structured, holistic))
    name = f"{'rules' if structured else 'sentence'}_{'holistic' if holistic else 'plain'}.txt"
    assert as_text(messages) + "\n" == (GOLDEN / name).read_text()


def asked(records, **how):
    return proposal_messages(records, params(**how))[-1].content


def test_texts_stand_token_by_token_and_silent_ones_in_one_line():
    first = "If\t0\n it\t0\n fails\t0\n,\t0\n raise\t5\n an\t0\n error\t1\n\\n\t0\n"
    second = "".join(f"{letter}\t0\n" for letter in "abcdefghi") + " raises\t2\nIts active tokens again:\n raises\t2\n"
    assert asked(RECORDS, holistic=False) == (
        f"Texts on which the feature fires:\n\nText 1\n{first}\nText 2\n{second}"
        "\nTexts on which the feature is silent on every token:\n-  rise of the sun\\n"
    )


@pytest.mark.parametrize(("n_active", "repeated"), [(1, True), (2, False)])
def test_active_tokens_are_repeated_when_fewer_than_a_fifth_are(n_active, repeated):
    text = asked([record("abcdefghij", [1] * n_active + [0] * (10 - n_active))], holistic=False)
    assert ("Its active tokens again:\na\t1" in text) == repeated


def test_what_is_asked_follows_the_parameters():
    system = {how: proposal_messages(RECORDS, params(*how))[0].content for how in [(True, True), (False, False)]}
    assert "JSON list of 1 to 5 rules" in system[True, True] and "activation-causing" in system[True, True]
    assert "JSON" not in system[False, False] and "activation-causing" not in system[False, False]
    assert "JSON list of one rule." in proposal_messages(RECORDS, params(rule_cap=1))[0].content
    assert "Its activation-causing tokens:\nIf\t3\n" in asked(RECORDS)
    assert "causing" not in asked(RECORDS, holistic=False)


def test_examples_keep_to_the_rule_cap():
    answers = [m.content for m in proposal_messages(RECORDS, params(rule_cap=1)) if m.role == "assistant"]
    assert len(answers) == 2
    assert all(answer.count("activates_on") == 1 for answer in answers)


def test_long_lists_are_cut_and_silent_texts_come_from_every_source():
    firing = [record([f"f{i}"], [5], i) for i in range(30)]
    silent = [record([f"{source.value}{i}."], [0], 0, (), source) for source in SOURCES for i in range(30)]
    text = asked(firing + silent, holistic=False)
    assert re.findall(r"^f\d+", text, flags=re.MULTILINE) == [f"f{i}" for i in range(MOST_TEXTS)]
    shown = re.findall(r"^- ([a-z_]+)(\d+)\.$", text, flags=re.MULTILINE)
    assert len(shown) == MOST_TEXTS
    assert {source for source, _ in shown} == {source.value for source in SOURCES}
    assert {number for _, number in shown} == {"0", "1"}


def test_causes_that_were_not_measured_are_told():
    with pytest.raises(InputError, match=r"the records have none.*--write-holistic-acts"):
        proposal_messages([FIRING], params())


def test_errors_are_told_in_words():
    told = revision_messages(RECORDS, StructuredExplanation.from_text("x"), FEEDBACK, params())[-1].content
    assert "correlation is 0.62;" in told and "correlation would be 0.75" in told
    lines = re.findall(r"^(.+)\t([\d.]+)\t([\d.]+)(?:\t(.+))?$", told, flags=re.MULTILINE)
    assert [line[0] for line in lines] == ["If", " it", " fails", ",", " raise", " an", " error", "\\n"]
    assert lines[4:7] == [
        (" raise", "2", "5", "too low"),
        (" an", "3", "0", "false alarm"),
        (" error", "1.6", "1.5", ""),
    ]
    silent = Feedback(math.nan, (WorstRecord(FIRING, (0,) * 8, math.nan),))
    told = revision_messages(RECORDS, StructuredExplanation.from_text("x"), silent, params())[-1].content
    assert "tells nothing" in told and "nan" not in told
    assert " raise\t0\t5\tmissed" in told


def unescaped(text):
    return text.encode("utf-16-be", "surrogatepass").decode("utf-16-be", "surrogatepass").encode(
        "ascii", "backslashreplace").decode("unicode_escape")  # fmt: skip


@given(st.lists(st.sampled_from(HOSTILE) | st.text(min_size=1, max_size=4), min_size=1, max_size=8))
def test_no_token_breaks_the_layout(tokens):
    text = asked([record(tokens, [5] * len(tokens)), record(tokens, [0] * len(tokens), 1)], holistic=False)
    text.encode()  # no lone surrogates
    head, *lines = text.split("Text 1\n", 1)[1].split("\n")
    lines = [head, *lines][: len(tokens)]
    assert [line.count("\t") for line in lines] == [1] * len(tokens)
    assert all(line.endswith("\t5") for line in lines)
    assert [unescaped(line[:-2]) for line in lines] == tokens
    assert text.splitlines()[-1] == text.split("\n")[-1]
    assert unescaped(text.split("\n")[-1][2:]) == "".join(tokens)
