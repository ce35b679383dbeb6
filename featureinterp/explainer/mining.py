"""Find the one rule that, joined to the others by maximum, brings expected levels closest to the true ones.

A rule is a group of strings in a frame: the strings name either the token itself or the token before it, the
frame fixes the rest of the phrase. For one frame and strength the squared error that a string saves does not
depend on the other strings (each names other tokens), so the best group is simply the strings that save most.

What is seen once may be chance, and a rule is judged on windows that it was not made from. So a share
(`leave_out`) of every error is measured with each window's own strings left out: those that the phrase finds in
no other window. A class of tokens or a context keeps what it saves, a list of chance words does not. Each string
also pays for `prior_count` imagined places where it stands and the feature is silent, which is the shrinkage of a
mean by so many observations of 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from featureinterp.explainer.evidence import NO_TOKEN, Evidence
from featureinterp.phrases import MAX_QUOTED, Phrase, Target, TargetKind, TokenClass
from featureinterp.record import MAX_LEVEL

_STRENGTHS = np.arange(1, MAX_LEVEL + 1)
_ANY = Target(TargetKind.ANY)
Levels = NDArray[np.float64]
_Whole = tuple[Phrase, NDArray[np.int64]]
"""A phrase that needs no quoted target, with the flat positions where it holds."""
_CLASSES = tuple(Target(TargetKind.CLASS, token_class=known) for known in TokenClass)
_EXCEPTED = tuple(
    Target(TargetKind.CLASS, token_class=known)
    for known in (TokenClass.LINE_BREAKS, TokenClass.PUNCTUATION, TokenClass.LOWERCASE, TokenClass.CONTINUATIONS)
)
"""What a token may be said not to follow; more classes cost time and hardly ever help."""


@dataclass(frozen=True)
class MiningParams:
    """What a rule must save to be worth its words; errors are squared levels, summed over train tokens."""

    leave_out: float = 0.5
    """Share 0..1 of the error that is measured without the strings found in one window only."""
    prior_count: float = 0.5
    """Imagined silent places of each string."""
    string_cost: float = 1.0
    """Squared error that each quoted string must save besides."""
    rule_cost: float = 6.0
    """Squared error that each rule must save besides."""
    n_contexts: int = 8
    """How many single tokens are tried as a context."""

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


@dataclass(frozen=True)
class _Axis:
    """A partition of the vocabulary by what a quoted string can name: a token, its word, its ending."""

    kind: TargetKind
    names: tuple[str, ...]
    number: NDArray[np.int64]
    """Name of each token of the vocabulary, NO_TOKEN for those without; int64 [strings + 1]."""

    @classmethod
    def of(cls, evidence: Evidence, kind: TargetKind) -> _Axis:
        names: dict[str, int] = {}
        number = np.full(len(evidence.strings) + 1, NO_TOKEN, dtype=np.int64)
        for i, token in enumerate(evidence.strings):
            if name := _name(token, kind):
                number[i] = names.setdefault(name, len(names))
        return cls(kind, tuple(names), number)


def _name(token: str, kind: TargetKind) -> str:
    word = token.strip().lower()
    if kind is TargetKind.TOKENS:
        return token
    if kind is TargetKind.WORDS:
        return word
    return word[-3:] if token.lower().endswith(word) and word.isalpha() and word.isascii() and len(word) > 3 else ""


@dataclass(frozen=True)
class _Slot:
    """An axis in a frame: what is looked for, where, and what each place is called."""

    frame: Phrase
    names_target: bool
    axis: _Axis
    places: NDArray[np.int64]
    """Flat positions in the evidence inside the frame whose token has a name."""
    names: NDArray[np.int64]
    """Number of the name at each place."""
    repeated: NDArray[np.bool_]
    """Whether that name is found in other windows too."""

    def phrase(self, chosen: Sequence[int]) -> Phrase:
        target = Target(self.axis.kind, tuple(self.axis.names[i] for i in chosen))
        return replace(self.frame, target=target) if self.names_target else replace(self.frame, after=target)


class Miner:
    """Searches rules on one feature's evidence."""

    def __init__(self, evidence: Evidence, params: MiningParams | None = None) -> None:
        self.evidence = evidence
        self.params = params or MiningParams()
        self._found: dict[frozenset[MinedRule], list[MinedRule]] = {}
        self._sturdy_places: dict[Phrase, NDArray[np.bool_]] = {}

    def rules(self, others: Sequence[MinedRule], *, contexts: bool = True) -> list[MinedRule]:
        """Return the best rules to join to `others`, the one that leaves the least cost first.

        Without `contexts` only rules about the token itself are considered. Rules that are not worth their
        price are left out.
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
            degrees = self.evidence.phrase_degrees(rule.phrase)
            np.maximum(whole, rule.strength * degrees, out=whole)
            np.maximum(without, rule.strength * degrees * self._sturdy(rule.phrase), out=without)
        return whole, without

    def _sturdy(self, phrase: Phrase) -> NDArray[np.bool_]:
        """Say where a phrase holds by a string found in other windows too, or by no string, bool [windows, tokens]."""
        if phrase not in self._sturdy_places:
            self._sturdy_places[phrase] = self._find_sturdy(phrase)
        return self._sturdy_places[phrase]

    def _find_sturdy(self, phrase: Phrase) -> NDArray[np.bool_]:
        sturdy = np.ones(self.evidence.ids.size, dtype=np.bool_)
        for part, tokens in ((phrase.target, self.evidence.ids), (phrase.after, self.evidence.before)):
            axis = next((axis for axis in self._axes if part is not None and axis.kind is part.kind), None)
            if axis is not None:
                places = self._places(phrase)
                names = axis.number[tokens.ravel()[places]]
                places, names = places[names != NO_TOKEN], names[names != NO_TOKEN]
                sturdy[places] &= _repeated(names, places // self.evidence.ids.shape[1])
        return sturdy.reshape(self.evidence.ids.shape)

    @cached_property
    def _axes(self) -> list[_Axis]:
        return [_Axis.of(self.evidence, kind) for kind in (TargetKind.TOKENS, TargetKind.WORDS, TargetKind.ENDING)]

    def _search(self, others: Sequence[MinedRule]) -> list[MinedRule]:
        phrases, slots = self._promising
        found = self._savings(phrases, slots, self._expected(others))
        worth = [(saving, rule) for saving, rule in found if saving > 0]
        return [rule for _, rule in sorted(worth, key=lambda pair: -pair[0])]

    @cached_property
    def _promising(self) -> tuple[list[_Whole], list[_Slot]]:
        """Whole phrases and slots that are worth their price alone; the others are never looked at again.

        Beside other rules a rule saves less than alone, so what is not worth it alone hardly ever is.
        """
        nothing = self._expected([])

        phrases, slots = self._whole_phrases, self._slots
        savings = [saving for saving, _ in self._savings(phrases, slots, nothing)]
        worth_it = [saving > 0 for saving in savings]
        return list(compress(phrases, worth_it)), list(compress(slots, worth_it[len(phrases) :]))

    def _savings(
        self, phrases: Sequence[_Whole], slots: Sequence[_Slot], expected: tuple[Levels, Levels]
    ) -> list[tuple[float, MinedRule]]:
        """Return each candidate's best rule with the squared error it saves, price taken off, in their order."""
        share = self.params.leave_out
        whole, without = (self._saved(levels) for levels in expected)
        sturdy, chance = (1 - share) * whole + share * without, (1 - share) * whole
        found = []
        for phrase, places in phrases:
            prices = np.array([self.params.price(phrase, strength) for strength in _STRENGTHS.tolist()])
            savings = sturdy[:, places].sum(axis=1) - prices
            best = int(savings.argmax())
            found.append((float(savings[best]), MinedRule(phrase, best + 1)))
        return found + [self._best_group(slot, sturdy, chance) for slot in slots]

    def _saved(self, expected: Levels) -> Levels:
        """Squared error that raising a token to each strength saves, float64 [5, windows · tokens]."""
        levels = self.evidence.levels
        raised = np.maximum(expected, _STRENGTHS[:, None, None])
        return ((levels - expected) ** 2 - (levels - raised) ** 2).reshape(MAX_LEVEL, -1)

    def _best_group(self, slot: _Slot, sturdy: Levels, chance: Levels) -> tuple[float, MinedRule]:
        """Return the best group of names (one at least) at its best strength, with what it saves."""
        n = len(slot.axis.names)
        saved = np.where(slot.repeated, sturdy[:, slot.places], chance[:, slot.places])
        rows = (slot.names + n * np.arange(MAX_LEVEL)[:, None]).ravel()
        by_name = np.bincount(rows, saved.ravel(), MAX_LEVEL * n).reshape(MAX_LEVEL, n)
        by_name -= self.params.string_cost + self.params.prior_count * _STRENGTHS[:, None] ** 2
        room = min(n, MAX_QUOTED - slot.frame.n_quoted)
        best = np.argsort(-by_name, axis=1, kind="stable")[:, :room]
        gains = np.clip(np.take_along_axis(by_name, best, axis=1), 0.0, None)
        totals = gains.sum(axis=1) - self.params.rule_cost - self.params.string_cost * slot.frame.n_quoted
        row = int(totals.argmax())
        chosen = best[row][: max(1, np.count_nonzero(gains[row]))]
        return float(totals[row]), MinedRule(slot.phrase(chosen.tolist()), row + 1)

    @cached_property
    def _whole_phrases(self) -> list[_Whole]:
        phrases = [Phrase(target) for target in _CLASSES]
        phrases += [Phrase(_ANY, after=target) for target in _CLASSES]
        phrases += [Phrase(one, after=other) for one in _CLASSES for other in _CLASSES]
        return [(phrase, self._places(phrase)) for phrase in phrases]

    @cached_property
    def _slots(self) -> list[_Slot]:
        evidence = self.evidence
        slots = []
        active = (evidence.levels > 0).ravel()
        for names_target, frame in self._frames():
            places = self._places(frame)
            tokens = (evidence.ids if names_target else evidence.before).ravel()[places]
            for axis in self._axes:
                names = axis.number[tokens]
                useful = np.isin(names, names[active[places] & (names != NO_TOKEN)])
                if useful.any():
                    slots.append(self._slot(frame, names_target, axis, places[useful], names[useful]))
        return slots

    def _slot(
        self, frame: Phrase, names_target: bool, axis: _Axis, places: NDArray[np.int64], names: NDArray[np.int64]
    ) -> _Slot:
        """Make a slot of the names that stand at some active place; others can save nothing."""
        distinct, compact = np.unique(names, return_inverse=True)
        repeated = _repeated(compact, places // self.evidence.ids.shape[1])
        return _Slot(
            frame, names_target, replace(axis, names=tuple(axis.names[i] for i in distinct)), places, compact, repeated
        )

    def _places(self, phrase: Phrase) -> NDArray[np.int64]:
        return np.flatnonzero(self.evidence.phrase_degrees(phrase) * self.evidence.is_token)

    def _frames(self) -> Iterator[tuple[bool, Phrase]]:
        """Yield frames, each with whether its open place is the target (else the token before)."""
        n = self.params.n_contexts
        yield True, Phrase(_ANY)
        for before in (*self._heaviest(self.evidence.before, n), *_CLASSES):
            yield True, Phrase(_ANY, after=before)
        for before in _EXCEPTED:
            yield True, Phrase(_ANY, not_after=before)
        for earlier in self._heaviest_earlier(n):
            yield True, Phrase(_ANY, earlier=earlier)
        for target in (_ANY, *self._heaviest(self.evidence.ids, n), *_CLASSES):
            yield False, Phrase(target)

    def _heaviest(self, ids: NDArray[np.int64], n: int) -> list[Target]:
        """Single tokens at whose places (or behind which) the feature acts most in sum."""
        mass = np.bincount(ids[ids >= 0], self.evidence.levels[ids >= 0], len(self.evidence.strings))
        return [self.evidence.tokens_target([i]) for i in np.argsort(-mass, kind="stable")[:n] if mass[i] > 0]

    def _heaviest_earlier(self, n: int) -> list[Target]:
        """Single tokens behind which, anywhere, the feature acts most above its mean."""
        evidence = self.evidence
        excess = (evidence.levels - evidence.levels.sum() / max(1, evidence.is_token.sum())) * evidence.is_token
        behind = np.cumsum(excess[:, ::-1], axis=1)[:, ::-1] - excess
        lift = np.zeros(len(evidence.strings))
        for ids, after in zip(evidence.ids, behind, strict=True):
            present, first = np.unique(ids, return_index=True)
            lift[present[present >= 0]] += after[first[present >= 0]]
        return [evidence.tokens_target([i]) for i in np.argsort(-lift, kind="stable")[:n] if lift[i] > 0]


def _has_context(phrase: Phrase) -> bool:
    return not (phrase.after is phrase.not_after is phrase.earlier is None)


def _repeated(names: NDArray[np.int64], windows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say for each place whether its name is found in more than one window."""
    pairs = np.unique(np.stack([names, windows]), axis=1)
    n_windows = np.bincount(pairs[0], minlength=int(names.max(initial=-1)) + 1)
    return n_windows[names] > 1
