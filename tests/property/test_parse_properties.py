"""Any text is an explanation or an `ExplanationError`; what is rendered is read back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featureinterp.core import Rule, StructuredExplanation
from featureinterp.errors import ExplanationError
from featureinterp.explainer.llm.parse import read_answer
from featureinterp.explainer.llm.prompts import explanation_text

PIECES = (
    "[",
    "]",
    "{",
    "}",
    '"',
    "'",
    ",",
    ":",
    "\n",
    "\\",
    "//",
    "```json",
    "activates_on",
    "strength",
    "Explanation:",
)
VALUES = (
    "5",
    "-7",
    "1e9",
    "null",
    "high",
    "NaN",
    "rules",
    "improvement",
    "\ud800",
    "\x00",
    "<think>",
    "é",
    " ",
    "9" * 5000,
)
answers = st.text() | st.lists(st.sampled_from(PIECES + VALUES), max_size=40).map("".join)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["activates_on", "strength", "rules", "explanation", "x"]), inner, max_size=3)
    ),
    max_leaves=10,
)


def check(text, structured):
    try:
        proposal = read_answer(text, structured=structured, rule_cap=3)
    except ExplanationError as error:
        assert error.problem
        return
    assert 1 <= len(proposal.explanation.rules) <= (3 if structured else 1)
    for said in (proposal.improvement, *(rule.activates_on for rule in proposal.explanation.rules)):
        said.encode()
        assert len(said.splitlines()) <= 1


@given(answers, st.booleans())
def test_no_text_makes_the_parser_raise_anything_else(text, structured):
    check(text, structured)


@given(json_values, st.booleans())
def test_no_json_makes_the_parser_raise_anything_else(value, structured):
    import json

    check(json.dumps(value), structured)


words = (
    st.text(st.characters(blacklist_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=60)
    .map(lambda text: f"a token {text}".strip())
    .filter(lambda text: len(text) < 100)
)
explanations = st.lists(st.builds(Rule, words, st.integers(0, 5)), min_size=1, max_size=5, unique=True).map(
    lambda rules: StructuredExplanation(tuple(rules))
)


@pytest.mark.parametrize("layout", ["{}", "Improvement: shorter\nExplanation: {}", "Here:\n```json\n{}\n```\nDone."])
@given(explanation=explanations)
def test_rules_that_are_rendered_are_read_back(layout, explanation):
    text = layout.format(explanation_text(explanation, structured=True))
    assert read_answer(text, structured=True, rule_cap=5).explanation == explanation


@given(words.filter(lambda text: "explanation" not in text.lower()))
def test_sentences_that_are_rendered_are_read_back(text):
    explanation = StructuredExplanation.from_text(text)
    answer = explanation_text(explanation, structured=False)
    assert read_answer(answer, structured=False, rule_cap=5).explanation == explanation
