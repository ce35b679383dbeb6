"""The best groups of all slots in one pass, and the miner's whole list of rules, against loops over every name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from featureinterp.explainer.lexical.candidates import Axis, Candidates, Slot
from featureinterp.explainer.lexical.evidence import Evidence
from featureinterp.explainer.lexical.groups import Prices, SlotGroups
from featureinterp.explainer.lexical.mining import MinedRule, Miner, MiningParams
from featureinterp.phrases import MAX_QUOTED, Phrase, Target, TargetKind
from featureinterp.record import ActivationRecord
from tests.matching import never

N_COLUMNS = 40
QUOTING = Phrase(Target(TargetKind.ANY), after=Target(TargetKind.TOKENS, (" a", " b")))


@st.composite
def slots(draw: st.DrawFn) -> Slot:
    """A slot of up to 15 names, each at one place at least, in a frame that quotes no string or two."""
    n_names = draw(st.integers(1, 15))
    more = draw(st.lists(st.integers(0, n_names - 1), max_size=20))
    name = np.array([*range(n_names), *more], dtype=np.int64)
    columns = np.array(draw(st.lists(st.integers(0, N_COLUMNS - 1), min_size=len(name), max_size=len(name))))
    axis = Axis(TargetKind.TOKENS, tuple(f"n{i}" for i in range(n_names)), np.arange(n_names))
    return Slot(draw(st.sampled_from([Phrase(Target(TargetKind.ANY)), QUOTING])), True, axis, columns, name)


def best_of_one(slot: Slot, saved: Sequence[Sequence[float]], prices: Prices) -> tuple[float, int, list[int]]:
    """Saving, strength and names of one slot's best group, name by name."""
    room = min(len(slot.axis.names), MAX_QUOTED - slot.frame.n_quoted)
    found = []
    for row, of_columns in enumerate(saved):
        gains = [-float(prices.name[row])] * len(slot.axis.names)
        for name, column in zip(slot.name.tolist(), slot.columns.tolist(), strict=True):
            gains[name] += of_columns[column]
        order = sorted(range(len(gains)), key=lambda name, gains=gains: -gains[name])[:room]
        chosen = [name for name in order if gains[name] > 0]
        total = sum(gains[name] for name in chosen) - prices.rule - prices.string * slot.frame.n_quoted
        found.append((total, row, chosen))
    return max(found, key=lambda one: (one[0], -one[1]))


quarters = st.integers(-40, 40).map(lambda n: n / 4)
"""Sums of quarters are exact, so that equal savings are equal numbers."""


@given(
    st.lists(slots(), min_size=1, max_size=6),
    st.integers(1, 5).flatmap(lambda n: st.lists(st.lists(quarters, min_size=40, max_size=40), min_size=n, max_size=n)),
    st.sampled_from([0.0, 0.5, 2.0]),
    st.data(),
)
def test_every_slot_has_its_best_group(
    made: list[Slot], saved: list[list[float]], price: float, data: st.DataObject
) -> None:
    prices = Prices(np.full(len(saved), price), 1.5, 0.5)
    groups = SlotGroups.of(made)
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=len(made), max_size=len(made))))
    worthless = groups.by_name(np.maximum(saved, 0.0), prices.name).max(axis=0) <= 0
    for some, wanted in (
        (groups, made),
        (groups.keep(kept, ~worthless), [s for s, k in zip(made, kept, strict=True) if k]),
    ):
        best = some.best(np.array(saved), prices)
        for i, slot in enumerate(wanted):
            total, row, chosen = best_of_one(slot, saved, prices)
            assert best.savings[i] == pytest.approx(total, abs=1e-9)
            assert best.strengths[i] == row
            assert [name for name in best.names[i].tolist() if name >= 0] == chosen


WORDS = [f" {letter}{ending}" for letter in "abcdefgh" for ending in ("", "ling")] + [".", " 7", "\n"]
places = st.tuples(st.sampled_from(WORDS), st.sampled_from([0.0, 0.0, 0.0, 1.25, 3.0, 5.0]))
windows = st.lists(st.lists(places, min_size=1, max_size=12), min_size=2, max_size=12)


def saved_by_place(evidence: Evidence, rules: Sequence[MinedRule], strength: int, miner: Miner) -> NDArray[np.float64]:
    """What raising each place to a strength saves, with chance names and with others [2, places]."""
    candidates, share = Candidates(evidence, miner.params.n_contexts), miner.params.leave_out
    saved = []
    for side in range(2):
        expected = np.max(
            [0 * evidence.levels, *(r.strength * candidates.degrees(r.phrase)[side] for r in rules)], axis=0
        )
        raised = np.maximum(expected, strength)
        saved.append(((evidence.levels - expected) ** 2 - (evidence.levels - raised) ** 2).ravel())
    chance = (1 - share) * saved[0]
    return np.array([chance, chance + share * saved[1]])


def every_rule(miner: Miner, others: Sequence[MinedRule]) -> list[tuple[float, MinedRule]]:
    """Savings and rules of all candidates beside `others`, one candidate and one name at a time, in their order."""
    evidence, params = miner.evidence, miner.params
    candidates = Candidates(evidence, params.n_contexts)
    saved = [saved_by_place(evidence, others, strength, miner) for strength in params.strengths]
    found = []
    for phrase, at in candidates.phrases:
        totals = [
            sum(of[1, i] for i in at.tolist()) - params.price(phrase, s)
            for of, s in zip(saved, params.strengths, strict=True)
        ]
        best = int(np.argmax(totals))
        found.append((totals[best], MinedRule(phrase, params.strengths[best])))
    names = np.array([params.string_cost + params.prior_count * strength**2 for strength in params.strengths])
    prices = Prices(names, params.rule_cost, params.string_cost)
    for slot in candidates.slots:
        total, row, chosen = best_of_one(slot, [of.ravel().tolist() for of in saved], prices)
        found.append((total, MinedRule(slot.phrase(chosen or [0]), params.strengths[row])))
    return found


@settings(max_examples=12)
@given(windows, st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.0, 6.0]), st.sampled_from([(1, 2, 3, 4, 5), (4,)]))
def test_the_rules_are_those_of_a_search_through_every_candidate(
    drawn: list[list[tuple[str, float]]], leave_out: float, rule_cost: float, strengths: tuple[int, ...]
) -> None:
    records = [
        ActivationRecord(tuple(t for t, _ in window), tuple(a for _, a in window), (), i, 5.0)
        for i, window in enumerate(drawn)
    ]
    miner = Miner(
        Evidence(records, never),
        MiningParams(leave_out=leave_out, rule_cost=rule_cost, strengths=strengths, n_contexts=3),
    )
    alone = [saving > 0 for saving, _ in every_rule(miner, [])]
    others: list[MinedRule] = []
    for _ in range(3):
        worth = [pair for pair, good in zip(every_rule(miner, others), alone, strict=True) if good and pair[0] > 0]
        wanted = [rule for _, rule in sorted(worth, key=lambda pair: -pair[0])]
        assert miner.rules(others) == wanted
        assert miner.rules(others, most=2) == wanted[:2]
        others = [*others, *wanted[:1]]
