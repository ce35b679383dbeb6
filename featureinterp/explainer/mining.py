"""Find the one rule that, joined to the others by maximum, brings expected levels closest to the true ones.

A rule is a group of strings in a frame: the strings name either the token itself or the token before it, the
frame fixes the rest of the phrase. For one frame and strength the squared error that a string saves does not
depend on the other strings (each names other tokens), so the best group is simply the strings that save most.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from featureinterp.explainer.evidence import NO_TOKEN, Evidence
from featureinterp.phrases import MAX_QUOTED, Phrase, Target, TargetKind, TokenClass
from featureinterp.record import MAX_LEVEL


@dataclass(frozen=True)
class MiningParams:
    """What a rule must save to be worth its words; errors are squared levels, summed over train tokens."""

    string_cost: float = 2.0
    """Squared error that each quoted string must save."""
    rule_cost: float = 6.0
    """Squared error that each rule must save besides."""
    n_contexts: int = 8
    """How many single tokens are tried as a context."""


@dataclass(frozen=True)
class MinedRule:
    """A phrase with its strength and the squared error that it saves, costs already taken off."""

    phrase: Phrase
    strength: int
    saving: float


@dataclass(frozen=True)
class Axis:
    """A partition of tokens by what a quoted string can name: themselves, their word, their ending."""

    kind: TargetKind
    names: tuple[str, ...]
    number: NDArray[np.int64]
    """Group number of each token of the vocabulary, NO_TOKEN for those that have no such name; int64 [strings + 1]."""

    @classmethod
    def of(cls, evidence: Evidence, kind: TargetKind, length: int = 0) -> Axis:
        """Partition the vocabulary; `length` is that of endings and beginnings."""
        names: dict[str, int] = {}
        number = np.full(len(evidence.strings) + 1, NO_TOKEN, dtype=np.int64)
        for i, token in enumerate(evidence.strings):
            if (name := _name(token, kind, length)) is not None:
                number[i] = names.setdefault(name, len(names))
        return cls(kind, tuple(names), number)


def _name(token: str, kind: TargetKind, length: int) -> str | None:
    word = token.strip().lower()
    if kind is TargetKind.TOKENS:
        return token
    if kind is TargetKind.WORDS:
        return word or None
    if not (word.isalpha() and word.isascii() and len(word) > length):
        return None
    if kind is TargetKind.ENDING:
        return word[-length:] if token.lower().endswith(word) else None
    return word[:length]


class Miner:
    """Searches rules on one feature's evidence."""

    def __init__(self, evidence: Evidence, params: MiningParams | None = None) -> None:
        self.evidence = evidence
        self.params = params or MiningParams()
        self.axes = (
            Axis.of(evidence, TargetKind.TOKENS),
            Axis.of(evidence, TargetKind.WORDS),
            Axis.of(evidence, TargetKind.ENDING, 2),
            Axis.of(evidence, TargetKind.ENDING, 3),
            Axis.of(evidence, TargetKind.STARTING, 3),
        )
        self._frames = {target: tuple(self._target_frames(target)) for target in (True, False)}

    def _target_frames(self, names_target: bool) -> Iterator[Phrase]:
        """Yield frames whose open place is the target (or the token before), most useful tokens first."""
        any_token = Target(TargetKind.ANY)
        evidence, n = self.evidence, self.params.n_contexts
        classes = [Target(TargetKind.CLASS, token_class=known) for known in TokenClass]
        yield Phrase(any_token)
        if not names_target:
            for target in (*self._heaviest(evidence.ids, n), *classes):
                yield Phrase(target)
            return
        for before in (*self._heaviest(evidence.before, n), *classes):
            yield Phrase(any_token, after=before)
            yield Phrase(any_token, not_after=before)
        for earlier in self._heaviest_earlier(n):
            yield Phrase(any_token, earlier=earlier)

    def _heaviest(self, ids: NDArray[np.int64], n: int) -> list[Target]:
        """Single tokens at whose places (or behind which) the feature acts most in sum."""
        mass = np.bincount(ids[ids >= 0], self.evidence.levels[ids >= 0], len(self.evidence.strings))
        return [self.evidence.tokens_target([i]) for i in np.argsort(-mass, kind="stable")[:n] if mass[i] > 0]

    def _heaviest_earlier(self, n: int) -> list[Target]:
        """Single tokens that stand before active tokens more often than before silent ones."""
        evidence = self.evidence
        lift = np.zeros(len(evidence.strings))
        mean = evidence.levels.sum() / max(1, evidence.is_token.sum())
        for ids, levels, is_token in zip(evidence.ids, evidence.levels, evidence.is_token, strict=True):
            behind = np.cumsum((levels - mean * is_token)[::-1])[::-1]
            present, first = np.unique(ids, return_index=True)
            inside = (present >= 0) & (first + 1 < len(ids))
            lift[present[inside]] += behind[first[inside] + 1]
        best = np.argsort(-lift, kind="stable")[:n]
        return [evidence.tokens_target([i]) for i in best if lift[i] > 0]

    def rules(self, expected: NDArray[np.float64], *, contexts: bool = True) -> list[MinedRule]:
        """Return the best rule of every frame and axis, most saving first, given what is expected already.

        `expected` holds the levels 0..5 of the other rules, float64 [windows, tokens]. Without `contexts`
        only rules about the token itself are returned.
        """
        found: list[MinedRule] = []
        frames = [(True, frame) for frame in self._frames[True][: None if contexts else 1]]
        frames += [(False, frame) for frame in self._frames[False]] if contexts else []
        frames_of_class = (Phrase(Target(TargetKind.CLASS, token_class=known)) for known in TokenClass)
        for frame in (*frames_of_class, *(frame for _, frame in frames if frame != Phrase(Target(TargetKind.ANY)))):
            found += self.priced(frame, expected)
        for names_target, frame in frames:
            inside = self.evidence.phrase_degrees(frame) > 0
            savings = self._savings(expected, inside)
            for axis in self.axes:
                if rule := self._best_group(axis, names_target, frame, savings):
                    found.append(rule)
        return sorted(found, key=lambda rule: -rule.saving)

    def _savings(self, expected: NDArray[np.float64], inside: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Squared error saved at each token by strengths 1..5, float64 [5, windows, tokens]; 0 outside."""
        levels = self.evidence.levels
        strengths = np.arange(1, MAX_LEVEL + 1)[:, None, None]
        raised = np.maximum(expected, strengths)
        return ((levels - expected) ** 2 - (levels - raised) ** 2) * inside

    def priced(self, phrase: Phrase, expected: NDArray[np.float64]) -> list[MinedRule]:
        """Return the phrase with its best strength, or nothing when it does not save its cost."""
        degrees = self.evidence.phrase_degrees(phrase)
        levels = self.evidence.levels
        strengths = np.arange(1, MAX_LEVEL + 1)
        cost = self.params.rule_cost + self.params.string_cost * phrase.n_quoted
        saved = [
            float(((levels - expected) ** 2 - (levels - np.maximum(expected, s * degrees)) ** 2).sum())
            for s in strengths
        ]
        best = int(np.argmax(saved))
        saving = saved[best] - cost
        return [MinedRule(phrase, int(strengths[best]), saving)] if saving > 0 else []

    def _best_group(
        self, axis: Axis, names_target: bool, frame: Phrase, savings: NDArray[np.float64]
    ) -> MinedRule | None:
        groups = axis.number[self.evidence.ids if names_target else self.evidence.before]
        named = groups >= 0
        room = MAX_QUOTED - frame.n_quoted
        best: MinedRule | None = None
        for strength in range(1, MAX_LEVEL + 1):
            by_name = np.bincount(groups[named], savings[strength - 1][named], len(axis.names))
            by_name = by_name - self.params.string_cost
            chosen = [i for i in np.argsort(-by_name, kind="stable")[:room] if by_name[i] > 0]
            cost = self.params.rule_cost + self.params.string_cost * frame.n_quoted
            saving = float(by_name[chosen].sum()) - cost
            if chosen and saving > (best.saving if best else 0.0):
                target = Target(axis.kind, tuple(axis.names[i] for i in chosen))
                phrase = replace(frame, target=target) if names_target else replace(frame, after=target)
                best = MinedRule(phrase, strength, saving)
        return best


def expected_levels(evidence: Evidence, rules: Sequence[MinedRule]) -> NDArray[np.float64]:
    """Levels that rules joined by maximum expect, float64 [windows, tokens]."""
    levels = np.zeros_like(evidence.levels)
    for rule in rules:
        levels = np.maximum(levels, rule.strength * evidence.phrase_degrees(rule.phrase))
    return levels
