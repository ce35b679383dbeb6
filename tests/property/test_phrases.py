"""The lexical grammar: what is rendered is read back, and no text makes the reader fail in another way."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featureinterp.errors import ExplanationError
from featureinterp.phrases import (
    Phrase,
    Target,
    TargetKind,
    TokenClass,
    degrees_in,
    parse,
    parse_sentence,
    quote,
    read_words,
    render,
    render_sentence,
    unquote,
)
from tests.matching import match_tokens

texts = st.text(max_size=12)
tricky = st.sampled_from(
    [" right after ", "; or ", "'", "\\", "', '", "\n", "\t", " before", "<end>", "\x00", "\u202e", "\ud800"]
)
strings = st.lists(texts | tricky, min_size=1, max_size=4).map(tuple)
quoting = [kind for kind in TargetKind if kind not in (TargetKind.CLASS, TargetKind.ANY)]
targets = (
    st.builds(Target, st.sampled_from(quoting), strings)
    | st.builds(lambda known: Target(TargetKind.CLASS, token_class=known), st.sampled_from(TokenClass))
    | st.just(Target(TargetKind.ANY))
)
optional = st.none() | targets
phrases = st.builds(Phrase, targets, after=optional, not_after=optional, earlier=optional)


def no_likeness(tokens, others):
    return np.array([float(token in others) for token in tokens])


def is_in(target, token):
    return degrees_in(target, [token], no_likeness).item() > 0


@given(phrases)
def test_parse_undoes_render(phrase):
    assert parse(render(phrase)) == phrase


@given(st.lists(phrases, min_size=1, max_size=4))
def test_parse_sentence_undoes_render_sentence(joined):
    assert parse_sentence(render_sentence(joined)) == tuple(joined)


@given(st.text() | phrases.map(render), st.text(max_size=3))
def test_what_is_no_sentence_is_refused(text, more):
    try:
        found = parse_sentence(text + more)
    except ExplanationError:
        return
    assert parse_sentence(render_sentence(found)) == found


@given(phrases, phrases)
def test_different_phrases_read_differently(one, other):
    assert (render(one) == render(other)) == (one == other)


@given(st.text())
def test_unquote_undoes_quote(text):
    quoted = quote(text)
    assert unquote(quoted[1:-1]) == text
    assert quoted.isprintable()


@given(st.text() | phrases.map(render).flatmap(lambda words: st.integers(0, len(words)).map(lambda n: words[:n])))
def test_no_text_makes_parse_raise_anything_but_its_own_error(text):
    try:
        phrase = parse(text)
    except ExplanationError:
        return
    assert parse(render(phrase)) == phrase


@given(st.text())
def test_free_text_gives_phrases_that_can_be_matched(text):
    for phrase in read_words(text):
        degrees = match_tokens(phrase, ["one", "\n", text])
        assert degrees.shape == (3,)
        assert ((degrees == 0) | (degrees == 1)).all()


@given(phrases, st.lists(texts | tricky, max_size=8))
def test_match_agrees_with_reading_the_phrase_token_by_token(phrase, tokens):
    degrees = match_tokens(phrase, tokens, no_likeness)
    for i, token in enumerate(tokens):
        holds = is_in(phrase.target, token)
        if phrase.after is not None:
            holds &= i > 0 and is_in(phrase.after, tokens[i - 1])
        if phrase.not_after is not None:
            holds &= i == 0 or not is_in(phrase.not_after, tokens[i - 1])
        if phrase.earlier is not None:
            holds &= any(is_in(phrase.earlier, before) for before in tokens[:i])
        assert degrees[i] == float(holds)
    assert np.isfinite(degrees).all()


@pytest.mark.parametrize("kind", quoting)
def test_a_quoting_target_needs_strings(kind):
    with pytest.raises(ExplanationError):
        Target(kind)
