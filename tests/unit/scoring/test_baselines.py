"""Tables by hand and against brute force, the choice among them, and the pick of another feature."""

from __future__ import annotations

import asyncio
import math
from itertools import combinations
from statistics import mean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featureinterp.core import CorpusTokens, Rule, StructuredExplanation
from featureinterp.errors import ActivationError, InputError
from featureinterp.record import ActivationRecord
from featureinterp.scoring import (
    BackOffSimulator,
    ConstantZeroSimulator,
    TokenLookupSimulator,
    best_table,
    fit_tables,
    n_quoted_strings,
    pick_other,
    quick_score,
)

WINDOWS = st.lists(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 5)), min_size=1, max_size=6), max_size=6)


def records_of(windows: list[list[tuple[str, int]]]) -> list[ActivationRecord]:
    return [
        ActivationRecord(tuple(t for t, _ in window), tuple(float(v) for _, v in window), (), i, 5.0, 0.0, None)
        for i, window in enumerate(windows)
    ]


def simulated(simulator, *windows: str) -> list[tuple[float, ...]]:
    return [each.expected_activations for each in asyncio.run(simulator.simulate([tuple(w) for w in windows]))]


def test_lookup_is_the_mean_level_of_the_token_in_train(record):
    train = [
        record([0.0, 9.9, 4.0], maximum=10.0, tokens=("a", "b", "b")),
        record([10.0, 0.0], maximum=10.0, tokens=("b", " b")),
    ]
    # levels: a 0; b 4, 2, 5; " b" 0
    (found,) = asyncio.run(TokenLookupSimulator(train).simulate([["b", " b", "new", "a"]]))
    assert found.tokens == ("b", " b", "new", "a")
    assert found.expected_activations == pytest.approx((11 / 3, 0.0, 0.0, 0.0))


@pytest.mark.parametrize("fit", [TokenLookupSimulator, BackOffSimulator])
def test_a_table_of_nothing_expects_nothing(record, fit):
    assert asyncio.run(fit([]).simulate([("a",), ()]))[0].expected_activations == (0.0,)
    assert asyncio.run(fit([]).simulate([()]))[0].expected_activations == ()
    with pytest.raises(ActivationError):
        fit([record([math.nan])])


@given(WINDOWS, st.integers(0, 4))
def test_a_small_table_is_the_best_of_its_size(windows, size):
    """No other choice of as many strings has a smaller squared error on the records it was fitted on."""
    records = records_of(windows)
    pairs = [pair for window in windows for pair in window]
    means = {t: mean(v for u, v in pairs if u == t) for t in dict(pairs)}

    def error(kept) -> float:
        return sum((v - (means[t] if t in kept else 0.0)) ** 2 for t, v in pairs)

    found = simulated(TokenLookupSimulator(records, size), *("".join(t for t, _ in w) for w in windows))
    of_ours = sum(
        (v - e) ** 2 for window, es in zip(windows, found, strict=True) for (_, v), e in zip(window, es, strict=True)
    )
    least = min(error(kept) for kept in combinations(sorted(means), min(size, len(means))))
    assert of_ours == pytest.approx(least, abs=1e-9)
    assert sum(any(e > 0 for e in es) for es in simulated(TokenLookupSimulator(records, size), *"abcd")) <= size


@given(WINDOWS, st.text("abcde", max_size=6))
def test_back_off_against_brute_force(windows, text):
    pairs = [((w[i - 1][0] if i else None, w[i][0]), w[i][1]) for w in windows for i in range(len(w))]

    def wanted(previous: str | None, token: str) -> float:
        for levels in ([v for p, v in pairs if p == (previous, token)], [v for p, v in pairs if p[1] == token]):
            if levels:
                return mean(levels)
        return 0.0

    expected = [wanted(text[i - 1] if i else None, text[i]) for i in range(len(text))]
    assert simulated(BackOffSimulator(records_of(windows)), text)[0] == pytest.approx(expected)


@given(WINDOWS, st.lists(st.text("abcde", min_size=4, max_size=4), max_size=5), st.integers(0, 3))
def test_a_table_on_a_corpus_equals_the_table_on_its_strings(windows, texts, size):
    records, strings = records_of(windows), tuple("edcba")
    ids = np.array([[strings.index(token) for token in text] for text in texts], dtype=np.int32).reshape(-1, 4)
    for table in (TokenLookupSimulator(records), TokenLookupSimulator(records, size), BackOffSimulator(records)):
        wanted = np.array(simulated(table, *texts), dtype=np.float64).reshape(-1, 4)
        np.testing.assert_array_equal(table.on_corpus(CorpusTokens(ids, strings)), wanted)


def test_constant_zero_expects_nothing():
    assert simulated(ConstantZeroSimulator(), "ab", "") == [(0.0, 0.0), ()]


def test_tables_have_as_many_strings_as_the_explanation_quotes_and_one_for_each_rule(record):
    train = [record([5.0, 4.0, 3.0, 2.0], tokens=tuple("abcd"))]
    rules = (Rule("the tokens 'x', 'y'", 5), Rule("numbers", 3))
    for explanation, n in (
        (StructuredExplanation(rules), 2),
        (StructuredExplanation((*rules, Rule("the token 'z' right after 'w'", 1))), 4),
        (StructuredExplanation((rules[1],)), 1),
    ):
        found = fit_tables(train, explanation)
        assert list(found) == ["token_lookup", "short_lookup", "back_off"]
        assert simulated(found["short_lookup"], "abcd") == [(5.0, 4.0, 3.0, 2.0)[:n] + (0.0,) * (4 - n)]


@pytest.mark.parametrize(
    ("words", "n"),
    [
        ("the tokens ' a', 'b' right after 'c'", 3),
        ("the token 'a' with 'b', 'c' before; or words like 'd'", 4),
        ("numbers right after 'a'", 1),
        ("any token", 0),
        ("names of months such as 'May' and “June”", 2),
        ("abstract nouns", 0),
    ],
)
def test_quoted_strings_are_counted(words, n):
    assert n_quoted_strings(StructuredExplanation.from_text(words)) == n


def test_the_best_table_is_the_best_on_valid_when_fitted_on_train(record):
    def window(text: str, index: int, after: str = "") -> ActivationRecord:
        fires = [
            5.0 if token == "x" and (not after or text[i - 1 : i] == after) else 0.0 for i, token in enumerate(text)
        ]
        return record(fires, index=index, tokens=tuple(text))

    explanation = StructuredExplanation.from_text("the token 'x'")
    train = [window(text, i, "a") for i, text in enumerate(("axbx", "bxax", "cxax"))]
    valid = [window(text, i, "a") for i, text in enumerate(("caxbx", "bxcax"), start=9)]
    assert asyncio.run(best_table(train, valid, explanation)) == "back_off"
    scores = {
        name: quick_score(valid, asyncio.run(table.simulate([each.tokens for each in valid])))
        for name, table in fit_tables(train, explanation).items()
    }
    assert max(scores, key=lambda name: scores[name]) == "back_off" and scores["back_off"] > 0.99
    plain = [window(text, i) for i, text in enumerate(("axb", "bxa"))]
    assert asyncio.run(best_table(plain, [window("dxd", 9)], explanation)) == "token_lookup"


@pytest.mark.parametrize("valid", [[], [0.0], [5.0]])
def test_where_no_table_has_a_score_the_token_table_is_the_best(record, valid):
    records = [record(valid, index=9)] if valid else []
    explanation = StructuredExplanation.from_text("numbers")
    assert asyncio.run(best_table([record([5.0, 0.0])], records, explanation)) == "token_lookup"


def test_pick_other_never_picks_its_own_and_reaches_all_others():
    rng = np.random.default_rng(0)
    picked = [pick_other(["a", "b", "c", "d"], "b", rng) for _ in range(300)]
    assert picked.count("b") == 0
    assert all(70 < picked.count(letter) < 130 for letter in "acd")
    assert pick_other([4, 5, 6], 5, np.random.default_rng(9)) == pick_other([4, 5, 6], 5, np.random.default_rng(9))


def test_pick_other_needs_another():
    with pytest.raises(InputError, match="no other explained feature than 3"):
        pick_other([3], 3, np.random.default_rng(0))
