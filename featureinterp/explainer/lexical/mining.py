"""Find the one rule that, joined to the others by maximum, brings expected levels closest to the true ones.

A rule is a group of strings in a frame: the strings name either the token itself or the token before it, the
frame fixes the rest of the phrase. For one frame and strength the squared error that a string saves does not
depend on the other strings (each names other tokens), so the best group is simply the strings that save most.

A string seen once may be chance, and a rule is scored on windows that it was not mined from. So a share
(`leave_out`) of every error is measured without each window's own strings: those that the phrase finds in
no other window. A class of tokens or a context keeps what it saves, a list of chance words does not. Each string
also pays for `prior_count` imagined positions where the feature is silent on it, which is the shrinkage of a
mean by so many observations of 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from featureinterp.errors import check_numbers
from featureinterp.explainer.lexical.candidates import Candidates, Levels, Slot
from featureinterp.explainer.lexical.evidence import Evidence
from featureinterp.phrases import MAX_QUOTED, Phrase
from featureinterp.record import MAX_LEVEL


@dataclass(frozen=True)
class MiningParams:
    """Prices of rules and strings in squared error (squared levels, summed over train tokens)."""

    leave_out: float = 0.5
    """Share 0..1 of the error measured without the strings found in one window only."""
    prior_count: float = 0.5
    """Imagined silent positions of each string."""
    string_cost: float = 1.0
    """Additional squared error that each quoted string must save."""
    rule_cost: float = 6.0
    """Additional squared error that each rule must save."""
    n_contexts: int = 8
    """Number of single tokens tried as a context."""
    causes: bool = False
    """Whether contexts are drawn only from activation-causing tokens."""
    strengths: tuple[int, ...] = tuple(range(1, MAX_LEVEL + 1))
    """Allowed strengths of a rule, ascending."""

    def __post_init__(self) -> None:
        price = (0, math.inf)
        check_numbers(self, leave_out=(0, 1), prior_count=price, string_cost=price, rule_cost=price, n_contexts=price)

    def scaled(self, factor: float) -> MiningParams:
        """Return the same knobs with all prices multiplied."""
        prior, string, rule = (factor * price for price in (self.prior_count, self.string_cost, self.rule_cost))
        return replace(self, prior_count=prior, string_cost=string, rule_cost=rule)

    def price(self, phrase: Phrase, strength: int) -> float:
        """Return the squared error that the phrase at this strength must save."""
        open_strings = max(1, *(len(part.strings) for part in (phrase.target, phrase.after) if part is not None))
        return self.rule_cost + self.string_cost * phrase.n_quoted + self.prior_count * strength**2 * open_strings


@dataclass(frozen=True)
class MinedRule:
    """A phrase with its strength."""

    phrase: Phrase
    strength: int


_Whole = tuple[Phrase, NDArray[np.int64], NDArray[np.float64]]
"""A phrase without a quoted target, the flat positions where it holds, and its price at each strength."""
_Found = tuple[float, MinedRule | None]
"""Maximum saving of a candidate, and the rule that saves it; None if it is below the price."""
_NEARLY = 1e-9
"""Margin below the price that excludes rounding errors."""


class Miner:
    """Searches rules on one feature's evidence."""

    def __init__(
        self, evidence: Evidence, params: MiningParams | None = None, candidates: Candidates | None = None
    ) -> None:
        """Create a miner; given `candidates` must be those of the same evidence and contexts."""
        self.evidence = evidence
        self.params = params or MiningParams()
        self._candidates = candidates or Candidates(evidence, self.params.n_contexts, causes=self.params.causes)
        self._priced: dict[MiningParams, Miner] = {}
        self._strengths = np.array(self.params.strengths)
        self._found: dict[frozenset[MinedRule], list[MinedRule]] = {}

    def priced(self, params: MiningParams) -> Miner:
        """Return a miner of the same candidates at other prices or strengths, the same one for the same."""
        if params == self.params:
            return self
        if params not in self._priced:
            self._priced[params] = Miner(self.evidence, params, self._candidates)
        return self._priced[params]

    def at_strength(self, strength: int) -> Miner:
        """Return a miner at the same prices all of whose rules have this strength."""
        return self.priced(replace(self.params, strengths=(strength,)))

    def rules(self, others: Sequence[MinedRule], *, contexts: bool = True) -> list[MinedRule]:
        """Return the best rules to add to `others`, ordered by the remaining cost.

        Without `contexts` only rules about the token itself are considered. Rules that save less than their
        price are omitted.
        """
        key = frozenset(others)
        if key not in self._found:
            self._found[key] = self._search(others)
        return [rule for rule in self._found[key] if contexts or not _has_context(rule.phrase)]

    def cost(self, rules: Sequence[MinedRule]) -> float:
        """Squared error of the rules' simulation plus the price of their words."""
        share = self.params.leave_out
        whole, without = self._expected(rules)
        levels = self.evidence.levels
        error = (1 - share) * ((levels - whole) ** 2).sum() + share * ((levels - without) ** 2).sum()
        return float(error) + sum(self.params.price(rule.phrase, rule.strength) for rule in rules)

    def _expected(self, rules: Sequence[MinedRule]) -> tuple[Levels, Levels]:
        """Levels that the rules expect, with all their strings and without those found in one window only."""
        whole, without = np.zeros_like(self.evidence.levels), np.zeros_like(self.evidence.levels)
        for rule in rules:
            degrees, sturdy = self._candidates.degrees(rule.phrase)
            np.maximum(whole, rule.strength * degrees, out=whole)
            np.maximum(without, rule.strength * sturdy, out=without)
        return whole, without

    def _search(self, others: Sequence[MinedRule]) -> list[MinedRule]:
        phrases, slots = self._promising
        found = self._savings(phrases, slots, self._expected(others))
        worth = [(saving, rule) for saving, rule in found if saving > 0 and rule is not None]
        return [rule for _, rule in sorted(worth, key=lambda pair: -pair[0])]

    @cached_property
    def _promising(self) -> tuple[list[_Whole], list[Slot]]:
        """Whole phrases and slots that are worth their price alone; the others are discarded.

        A rule saves less together with others than alone, so a rule that is not worth its price alone hardly ever is.
        """
        price, strengths = self.params.price, self.params.strengths
        phrases = [
            (phrase, places, np.array([price(phrase, strength) for strength in strengths]))
            for phrase, places in self._candidates.phrases
        ]
        slots = self._candidates.slots
        savings = [saving for saving, _ in self._savings(phrases, slots, self._expected([]))]
        worth_it = [saving > 0 for saving in savings]
        return list(compress(phrases, worth_it)), list(compress(slots, worth_it[len(phrases) :]))

    def _savings(
        self, phrases: Sequence[_Whole], slots: Sequence[Slot], expected: tuple[Levels, Levels]
    ) -> list[_Found]:
        """Return each candidate's best rule with the squared error it saves, price taken off, in their order."""
        share = self.params.leave_out
        whole, without = (self._saved(levels) for levels in expected)
        sturdy, chance = (1 - share) * whole + share * without, (1 - share) * whole
        found: list[_Found] = []
        for phrase, places, prices in phrases:
            savings = sturdy[:, places].sum(axis=1) - prices
            best = int(savings.argmax())
            found.append((float(savings[best]), MinedRule(phrase, self.params.strengths[best])))
        saved = np.concatenate([chance, sturdy], axis=1)
        return found + [self._best_group(slot, saved) for slot in slots]

    def _saved(self, expected: Levels) -> Levels:
        """Squared error that raising a token to each strength saves, float64 [strengths, windows · tokens]."""
        levels = self.evidence.levels
        raised = np.maximum(expected, self._strengths[:, None, None])
        return np.reshape((levels - expected) ** 2 - (levels - raised) ** 2, (len(self._strengths), -1))

    def _best_group(self, slot: Slot, saved: Levels) -> _Found:
        """Return the best group of names (one at least) at its best strength, with what it saves.

        `saved` has the saving of each position if its name is found in one window only, then if in several.
        """
        n, n_strengths = len(slot.axis.names), len(self._strengths)
        here = saved[:, slot.columns]
        summed = np.bincount(slot.rows[:n_strengths].ravel(), here.ravel(), n_strengths * n)
        by_name = np.reshape(summed, (n_strengths, n))
        by_name -= self.params.string_cost + self.params.prior_count * self._strengths[:, None] ** 2
        fixed = self.params.rule_cost + self.params.string_cost * slot.n_quoted
        most = float(np.maximum(by_name, 0.0).sum(axis=1).max()) - fixed
        if most < -_NEARLY:
            return most, None
        room = min(n, MAX_QUOTED - slot.n_quoted)
        best = np.argsort(-by_name, axis=1, kind="stable")[:, :room]
        gains = np.maximum(np.take_along_axis(by_name, best, axis=1), 0.0)
        totals = gains.sum(axis=1) - self.params.rule_cost - self.params.string_cost * slot.n_quoted
        row = int(totals.argmax())
        chosen = best[row][: max(1, np.count_nonzero(gains[row]))]
        return float(totals[row]), MinedRule(slot.phrase(chosen.tolist()), self.params.strengths[row])


def _has_context(phrase: Phrase) -> bool:
    return not (phrase.after is phrase.not_after is phrase.earlier is None)
