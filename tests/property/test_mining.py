"""The rule miner against its definition: every candidate tried, every error summed place by place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featureinterp.explainer.lexical.evidence import Evidence
from featureinterp.explainer.lexical.mining import MinedRule, Miner, MiningParams
from featureinterp.phrases import Phrase, Target, TargetKind, TokenClass, degrees_in
from featureinterp.record import ActivationRecord
from tests.matching import never

VOCABULARY = (" raise", " Raise", "ed", " 7", ".")
ANY = Target(TargetKind.ANY)


def make_records(windows: Sequence[Sequence[tuple[str, int]]]) -> list[ActivationRecord]:
    return [
        ActivationRecord(tuple(t for t, _ in window), tuple(float(a) for _, a in window), (), i, 5.0)
        for i, window in enumerate(windows)
    ]


places = st.tuples(st.sampled_from(VOCABULARY), st.sampled_from([0, 0, 0, 1, 3, 4, 5]))
windows = st.lists(st.lists(places, min_size=1, max_size=6), min_size=2, max_size=5).map(make_records)
params = st.builds(
    MiningParams,
    leave_out=st.sampled_from([0.0, 0.5, 1.0]),
    prior_count=st.sampled_from([0.0, 0.5]),
    string_cost=st.sampled_from([0.0, 1.0]),
    rule_cost=st.sampled_from([0.0, 3.0]),
)


def holds(target: Target, token: str) -> bool:
    return degrees_in(target, [token], never).item() > 0


def applies(phrase: Phrase, tokens: Sequence[str], i: int) -> bool:
    """Whether the phrase holds at a place, in words: who is it, who is just before, who is anywhere before?"""
    before = tokens[i - 1] if i else None
    return (
        holds(phrase.target, tokens[i])
        and (phrase.after is None or (before is not None and holds(phrase.after, before)))
        and (phrase.not_after is None or before is None or not holds(phrase.not_after, before))
        and (phrase.earlier is None or any(holds(phrase.earlier, token) for token in tokens[:i]))
    )


def is_chance(phrase: Phrase, records: Sequence[ActivationRecord], row: int, i: int) -> bool:
    """Whether a string that names this place names none in another window, among places where the phrase holds."""

    def named(target: Target | None, shift: int) -> bool:
        """Whether the string for the token at `shift` from the place is found in this window alone."""
        if target is None or not target.strings:
            return False
        token = records[row].tokens[i - shift]
        one = [Target(target.kind, (s,)) for s in target.strings if holds(Target(target.kind, (s,)), token)][0]
        return not any(
            applies(phrase, other.tokens, j) and holds(one, other.tokens[j - shift])
            for k, other in enumerate(records)
            if k != row
            for j in range(len(other.tokens))
        )

    return named(phrase.target, 0) or named(phrase.after, 1)


def cost(rules: Sequence[MinedRule], records: Sequence[ActivationRecord], params: MiningParams) -> float:
    """The error place by place, with all strings and without chance ones, and the price of the words."""
    total = 0.0
    for row, record in enumerate(records):
        for i, level in enumerate(record.expressions):
            here = [rule for rule in rules if applies(rule.phrase, record.tokens, i)]
            sturdy = [rule for rule in here if not is_chance(rule.phrase, records, row, i)]
            for share, said in ((1 - params.leave_out, here), (params.leave_out, sturdy)):
                total += share * (level - max((rule.strength for rule in said), default=0)) ** 2
    for rule in rules:
        strings = [part.strings for part in (rule.phrase.target, rule.phrase.after) if part is not None]
        open_strings = max(1, *map(len, strings))
        total += params.rule_cost + params.string_cost * rule.phrase.n_quoted
        total += params.prior_count * rule.strength**2 * open_strings
    return total


def groups() -> Iterator[Target]:
    names = {TargetKind.TOKENS: VOCABULARY, TargetKind.WORDS: ("raise", "ed", "7", "."), TargetKind.ENDING: ("ise",)}
    for kind, strings in names.items():
        for chosen in chain.from_iterable(combinations(strings, n) for n in range(1, len(strings) + 1)):
            yield Target(kind, chosen)


def candidates() -> Iterator[MinedRule]:
    classes = [Target(TargetKind.CLASS, token_class=known) for known in TokenClass]
    single = [Target(TargetKind.TOKENS, (token,)) for token in VOCABULARY]
    phrases = [Phrase(target) for target in (*classes, *groups())]
    phrases += [Phrase(target, after=before) for target in groups() for before in (*single, *classes)]
    phrases += [Phrase(target, after=before) for target in (ANY, *single, *classes) for before in groups()]
    yield from (MinedRule(phrase, strength) for phrase in phrases for strength in range(1, 6))


CANDIDATES = list(candidates())


@given(windows, params, st.data())
def test_cost_is_what_the_definition_says(
    records: list[ActivationRecord], params: MiningParams, data: st.DataObject
) -> None:
    rules = data.draw(st.lists(st.sampled_from(CANDIDATES), max_size=3))
    found = Miner(Evidence(records, never), params).cost(rules)
    assert found == pytest.approx(cost(rules, records, params))


@given(windows, params)
def test_each_rule_saves_what_its_place_in_the_list_says(records: list[ActivationRecord], params: MiningParams) -> None:
    miner = Miner(Evidence(records, never), params)
    others: list[MinedRule] = []
    for _ in range(2):
        rules = miner.rules(others)
        costs = [miner.cost([*others, rule]) for rule in rules]
        assert costs == pytest.approx(sorted(costs))
        assert all(each < miner.cost(others) for each in costs)
        others = [*others, *rules[:1]]


@settings(max_examples=8)
@given(windows, params)
def test_no_candidate_is_better_than_the_best_rule(records: list[ActivationRecord], params: MiningParams) -> None:
    miner = Miner(Evidence(records, never), params)
    nothing = miner.cost([])
    best = min((miner.cost([rule]) for rule in miner.rules([])), default=nothing)
    assert best <= min(nothing, *(miner.cost([rule]) for rule in CANDIDATES)) + 1e-9


def is_before_action(target: Target | None, records: Sequence[ActivationRecord], *, just: bool) -> bool:
    """Whether a token of the target causes something and stands (just) before a token on which the feature fires."""
    return target is None or any(
        holds(target, token) and cause > 0 and any(record.expressions[i + 1 : i + 2 if just else None])
        for record in records
        for i, (token, cause) in enumerate(zip(record.tokens, record.holistic_expressions, strict=True))
    )


@given(windows, st.data())
def test_with_causes_every_context_is_one(records: list[ActivationRecord], data: st.DataObject) -> None:
    """A cause is measured by what comes after it, so the last token is none."""
    levels = st.sampled_from([-1.0, 0.0, 3.0, 5.0])
    measured = []
    for record in records:
        n, active = len(record.tokens), record.expressions
        drawn = data.draw(st.lists(levels, min_size=n, max_size=n))
        causes = tuple(h if any(active[i + 1 :]) else 0.0 for i, h in enumerate(drawn))
        measured.append(replace(record, holistic_expressions=causes, max_holistic_expression=5.0))
    free = MiningParams(string_cost=0.0, rule_cost=0.0, prior_count=0.0)
    found = Miner(Evidence(measured, never), replace(free, causes=True)).rules([])
    for rule in found:
        assert is_before_action(rule.phrase.after, measured, just=True)
        assert is_before_action(rule.phrase.earlier, measured, just=False)
    assert {r for r in found if not r.phrase.after and not r.phrase.earlier} <= set(
        Miner(Evidence(records, never), free).rules([])
    )


@given(windows, params, st.integers(1, 5))
def test_at_one_strength_the_best_rule_is_the_best_of_that_strength(
    records: list[ActivationRecord], params: MiningParams, strength: int
) -> None:
    miner = Miner(Evidence(records, never), params).at_strength(strength)
    rules = miner.rules([])
    assert {rule.strength for rule in rules} <= {strength}
    costs = [miner.cost([rule]) for rule in rules]
    assert costs == pytest.approx(sorted(costs))
    best = min(costs, default=miner.cost([]))
    assert best <= min(miner.cost([rule]) for rule in CANDIDATES[strength - 1 :: 5 * 7]) + 1e-9


def test_the_candidates_are_many() -> None:
    assert len(CANDIDATES) > 5000
