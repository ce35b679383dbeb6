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
from itertools import compress, islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from featureinterp.errors import check_numbers
from featureinterp.explainer.lexical.candidates import Candidates, Levels, Slot
from featureinterp.explainer.lexical.evidence import Evidence
from featureinterp.explainer.lexical.groups import Prices, SlotGroups
from featureinterp.phrases import Phrase
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


class Found(NamedTuple):
    """A candidate with its best strength."""

    saving: float
    """Squared error that it saves, its price taken off."""
    candidate: Phrase | Slot
    strength: int
    chosen: list[int]
    """Names in the slot; none of a phrase."""

    @property
    def has_context(self) -> bool:
        """Whether the rule has a context."""
        one = self.candidate
        if isinstance(one, Slot):
            return one.has_context
        return not (one.after is one.not_after is one.earlier is None)

    def rule(self) -> MinedRule:
        """Put it in words."""
        one = self.candidate
        return MinedRule(one.phrase(self.chosen) if isinstance(one, Slot) else one, self.strength)


class _Promising(NamedTuple):
    """Candidates that are worth their price alone, in their order."""

    phrases: list[Phrase]
    places: NDArray[np.int64]
    """Flat positions where each phrase holds, phrase by phrase."""
    owner: NDArray[np.int64]
    """Phrase of each of these positions."""
    prices: Levels
    """Price of each phrase at each strength [strengths, phrases]."""
    slots: list[Slot]
    groups: SlotGroups


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
        self._found: dict[frozenset[MinedRule], list[Found]] = {}
        self._levels: dict[MinedRule, Levels] = {}
        self._errors: dict[frozenset[MinedRule], float] = {}

    def priced(self, params: MiningParams) -> Miner:
        """Return a miner of the same candidates at other prices or strengths, the same one for the same."""
        if params == self.params:
            return self
        if params not in self._priced:
            self._priced[params] = type(self)(self.evidence, params, self._candidates)
        return self._priced[params]

    def at_strength(self, strength: int) -> Miner:
        """Return a miner at the same prices all of whose rules have this strength."""
        return self.priced(replace(self.params, strengths=(strength,)))

    def rules(self, others: Sequence[MinedRule], *, contexts: bool = True, most: int | None = None) -> list[MinedRule]:
        """Return the best rules to add to `others`, ordered by the remaining cost.

        Without `contexts` only rules about the token itself are considered. Rules that save less than their
        price are omitted. `most` limits their number; None for all.
        """
        key = frozenset(others)
        if key not in self._found:
            self._found[key] = self._search(others)
        wanted = (found for found in self._found[key] if contexts or not found.has_context)
        return [found.rule() for found in islice(wanted, most)]

    def cost(self, rules: Sequence[MinedRule]) -> float:
        """Squared error of the rules' simulation plus the price of their words."""
        key = frozenset(rules)
        if key not in self._errors:
            self._errors[key] = self._error(rules)
        return self._errors[key] + sum(self.params.price(rule.phrase, rule.strength) for rule in rules)

    def _error(self, rules: Sequence[MinedRule]) -> float:
        share = self.params.leave_out
        squared = (self.evidence.levels - self._expected(rules)) ** 2
        whole, without = np.reshape(squared, (2, -1)).sum(axis=1)
        return float((1 - share) * whole + share * without)

    def _expected(self, rules: Sequence[MinedRule]) -> Levels:
        """Levels that the rules expect, with all their strings and without those found in one window only.

        The shape is [2, windows, tokens].
        """
        expected = np.zeros((2, *self.evidence.levels.shape))
        for rule in rules:
            if rule not in self._levels:
                self._levels[rule] = rule.strength * self._candidates.degrees(rule.phrase)
            np.maximum(expected, self._levels[rule], out=expected)
        return expected

    def _search(self, others: Sequence[MinedRule]) -> list[Found]:
        """Return the candidates that are worth their price beside `others`, best first."""
        promising, strengths = self._promising, self.params.strengths
        saved = self._saved(self._expected(others))
        phrases, at = self._phrase_savings(promising, saved)
        best = promising.groups.best(saved, self._prices)
        found = [
            Found(float(saving), phrase, strengths[row], [])
            for phrase, saving, row in zip(promising.phrases, phrases, at, strict=True)
            if saving > 0
        ]
        for i in np.flatnonzero(best.savings > 0).tolist():
            chosen: list[int] = best.names[i][best.names[i] >= 0].tolist()
            found.append(Found(float(best.savings[i]), promising.slots[i], strengths[best.strengths[i]], chosen))
        return sorted(found, key=lambda one: -one.saving)

    @cached_property
    def _promising(self) -> _Promising:
        """Candidates that are worth their price alone; the others are discarded.

        A rule saves less together with others than alone, so a rule that is not worth its price alone hardly ever is.
        Discarded names are never worth theirs: no position saves more together with other rules than alone, or than 0.
        """
        price, strengths, candidates = self.params.price, self.params.strengths, self._candidates
        phrases = [phrase for phrase, _ in candidates.phrases]
        places = [places for _, places in candidates.phrases]
        prices = np.array([[price(phrase, strength) for phrase in phrases] for strength in strengths])
        owner = np.repeat(np.arange(len(places)), list(map(len, places)))
        everything = _Promising(
            phrases, np.concatenate(places), owner, prices, candidates.slots, SlotGroups.of(candidates.slots)
        )
        saved = self._saved(self._expected([]))
        good = self._phrase_savings(everything, saved)[0] > 0
        good_slots = everything.groups.best(saved, self._prices).savings > 0
        most = everything.groups.by_name(np.maximum(saved, 0.0), self._prices.name).max(axis=0)
        return _Promising(
            list(compress(phrases, good)),
            everything.places[good[owner]],
            (np.cumsum(good) - 1)[owner[good[owner]]],
            prices[:, good],
            list(compress(candidates.slots, good_slots)),
            everything.groups.keep(good_slots, most > -_NEARLY),
        )

    @property
    def _prices(self) -> Prices:
        params = self.params
        of_name = params.string_cost + params.prior_count * self._strengths**2
        return Prices(of_name, params.rule_cost, params.string_cost)

    def _phrase_savings(self, promising: _Promising, saved: Levels) -> tuple[Levels, NDArray[np.int64]]:
        """Return what each phrase saves at its best strength, and which one that is [phrases]."""
        n, places = len(promising.phrases), promising.places + self.evidence.ids.size
        summed = np.array([np.bincount(promising.owner, row[places], n) for row in saved])
        savings = summed - promising.prices
        best = savings.argmax(axis=0)
        return savings[best, np.arange(n)], best

    def _saved(self, expected: Levels) -> Levels:
        """Squared error that raising a token to each strength saves, float64 [strengths, 2 · windows · tokens].

        First the saving of each position if its name is found in one window only, then if in several.
        """
        share, levels = self.params.leave_out, self.evidence.levels
        raised = np.maximum(expected, self._strengths[:, None, None, None])
        saved = np.reshape((levels - expected) ** 2 - (levels - raised) ** 2, (len(self._strengths), 2, -1))
        chance = (1 - share) * saved[:, 0]
        return np.concatenate([chance, chance + share * saved[:, 1]], axis=1)
