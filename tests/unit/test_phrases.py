"""Lexical phrases by example."""

import numpy as np
import pytest

from featureinterp.errors import ExplanationError
from featureinterp.phrases import (
    Phrase,
    Target,
    TargetKind,
    TokenClass,
    parse,
    read_words,
    render,
)
from tests.matching import match_tokens


def tokens_target(*strings):
    return Target(TargetKind.TOKENS, strings)


@pytest.mark.parametrize(
    ("words", "matched"),
    [
        ("the token ' error'", [2, 5]),
        ("the tokens ' error', ' raise'", [1, 2, 5]),
        ("the token ' error' right after ' raise'", [2]),
        ("the token ' error' but not right after ' raise'", [5]),
        ("the word 'ERROR'", [2, 5, 6]),
        ("any token right after ' error'", [3, 6]),
        ("numbers", [4]),
        ("line breaks", [3]),
        ("words ending in 'or'", [2, 5, 6]),
        ("words starting with 'ra'", [1]),
        ("the token ' error' with ' 42' before", [5]),
        ("capitalised words right after ' error'", [6]),
    ],
)
def test_matching(words, matched):
    tokens = ["an", " raise", " error", "\n", " 42", " error", " Error"]
    degrees = match_tokens(parse(words), tokens)
    assert [i for i, degree in enumerate(degrees) if degree] == matched


@pytest.mark.parametrize(
    ("token", "classes"),
    [
        (" 12", {TokenClass.NUMBERS}),
        (" The", {TokenClass.CAPITALISED}),
        ("NONE", {TokenClass.CAPITALS}),
        (" the", {TokenClass.LOWERCASE}),
        ("ing", {TokenClass.CONTINUATIONS}),
        ("(", {TokenClass.PUNCTUATION, TokenClass.OPENING}),
        (").", {TokenClass.PUNCTUATION, TokenClass.CLOSING}),
        ("\n", {TokenClass.LINE_BREAKS}),
        ("\n    ", {TokenClass.LINE_BREAKS, TokenClass.INDENTATION}),
        ("    ", {TokenClass.INDENTATION}),
        ("__", {TokenClass.UNDERSCORED}),
        ("", set()),
    ],
)
def test_classes(token, classes):
    assert {known for known in TokenClass if known.contains(token)} == classes


def test_every_class_name_is_read_as_that_class():
    for known in TokenClass:
        assert parse(known.value) == Phrase(Target(TargetKind.CLASS, token_class=known))


def test_likeness_grades_a_match():
    def likeness(tokens, strings):
        assert strings == (" dog",)
        return np.array([{" cat": 0.25, " dog": 1.0}.get(token, 0.0) for token in tokens])

    assert match_tokens(parse("words like ' dog'"), [" cat", " dog", " tax"], likeness).tolist() == [0.25, 1.0, 0.0]


def test_words_say_what_they_mean():
    phrase = Phrase(tokens_target(" a", "b"), after=tokens_target("\n"), not_after=None, earlier=tokens_target("'"))
    assert render(phrase) == r"the tokens ' a', 'b' right after '\n' with '\'' before"


@pytest.mark.parametrize("text", ["", "quotation marks", "the token", "numbers and more", "the token 'a", "tokens 'a'"])
def test_other_text_is_refused_by_name(text):
    with pytest.raises(ExplanationError):
        parse(text)


def test_free_text_gives_up_its_quotes_and_classes():
    phrases = read_words('The word "raise", digits, and opening quotes in ‘Errors’')
    assert phrases[0] == Phrase(Target(TargetKind.WORDS, ("raise", "errors")))
    named = {phrase.target.token_class for phrase in phrases[1:]}
    assert named == {TokenClass.NUMBERS, TokenClass.OPENING}
    assert read_words("verbs of motion") == []
