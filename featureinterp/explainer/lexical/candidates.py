"""Candidate rules of one feature's records: whole phrases, and frames with an open slot for strings.

Contexts are drawn from the tokens before active positions; with `causes`, only from tokens that are known
to cause activations (holistic level above 0: their deletion lowers later activations). Nothing here depends on
the costs of rules and strings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from featureinterp.explainer.lexical.evidence import NO_TOKEN, Evidence
from featureinterp.phrases import Phrase, Target, TargetKind, TokenClass

Levels = NDArray[np.float64]
_ANY = Target(TargetKind.ANY)
_CLASSES = tuple(Target(TargetKind.CLASS, token_class=known) for known in TokenClass)
_EXCEPTED = tuple(
    Target(TargetKind.CLASS, token_class=known)
    for known in (TokenClass.LINE_BREAKS, TokenClass.PUNCTUATION, TokenClass.LOWERCASE, TokenClass.CONTINUATIONS)
)
"""Token classes in negated contexts; more classes cost time and hardly ever help."""


@dataclass(frozen=True)
class Axis:
    """A partition of the vocabulary by the kinds of quoted strings: a token, its word, its ending."""

    kind: TargetKind
    names: tuple[str, ...]
    number: NDArray[np.int64]
    """Name of each token of the vocabulary, NO_TOKEN for those without; int64 [strings + 1]."""

    @classmethod
    def of(cls, evidence: Evidence, kind: TargetKind) -> Axis:
        """Partition the vocabulary of some records."""
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
class Slot:
    """An axis in a frame: candidate strings, positions, and the name at each position."""

    frame: Phrase
    names_target: bool
    """Whether the open slot is the token itself, else the token before."""
    axis: Axis
    columns: NDArray[np.int64]
    """Flat positions in the evidence inside the frame whose token has a name; plus the evidence's size if that
    name is found in other windows too."""
    name: NDArray[np.int64]
    """Number of the name at each position."""

    @property
    def has_context(self) -> bool:
        """Whether its phrases have a context."""
        frame = self.frame
        return not (self.names_target and frame.after is frame.not_after is frame.earlier is None)

    def phrase(self, chosen: Sequence[int]) -> Phrase:
        """Return the frame with the names of these numbers in its open slot."""
        target = Target(self.axis.kind, tuple(self.axis.names[i] for i in chosen))
        return replace(self.frame, target=target) if self.names_target else replace(self.frame, after=target)


class Candidates:
    """All candidate rules of some evidence, with the positions where they hold."""

    def __init__(self, evidence: Evidence, n_contexts: int, *, causes: bool = False) -> None:
        """Make them.

        Args:
            evidence: arrays of the records.
            n_contexts: number of single tokens tried as a context.
            causes: whether contexts are drawn only from tokens that cause activations.
        """
        self.evidence = evidence
        self._n_contexts = n_contexts
        self._causes = causes
        self._is_cause = evidence.causes > 0 if causes else np.ones_like(evidence.is_token)
        self._degrees: dict[Phrase, Levels] = {}

    def degrees(self, phrase: Phrase) -> Levels:
        """Return where a phrase holds, and where it holds by a string found in other windows too, or without a string.

        Both are degrees 0..1, float64 [2, windows, tokens].
        """
        if phrase not in self._degrees:
            degrees = self.evidence.phrase_degrees(phrase)
            self._degrees[phrase] = np.stack([degrees, degrees * self._sturdy(phrase)])
        return self._degrees[phrase]

    def _sturdy(self, phrase: Phrase) -> NDArray[np.bool_]:
        sturdy = np.ones(self.evidence.ids.size, dtype=np.bool_)
        for part, tokens in ((phrase.target, self.evidence.ids), (phrase.after, self.evidence.before)):
            axis = next((axis for axis in self._axes if part is not None and axis.kind is part.kind), None)
            if axis is not None:
                places = self._places(phrase)
                names = axis.number[tokens.ravel()[places]]
                places, names = places[names != NO_TOKEN], names[names != NO_TOKEN]
                sturdy[places] &= _repeated(names, places // self.evidence.ids.shape[1])
        return np.reshape(sturdy, self.evidence.ids.shape)

    @cached_property
    def _axes(self) -> list[Axis]:
        return [Axis.of(self.evidence, kind) for kind in (TargetKind.TOKENS, TargetKind.WORDS, TargetKind.ENDING)]

    @cached_property
    def phrases(self) -> list[tuple[Phrase, NDArray[np.int64]]]:
        """Phrases that need no quoted target, with the flat positions where they hold."""
        phrases = [Phrase(target) for target in _CLASSES]
        phrases += [Phrase(_ANY, after=target) for target in self._context_classes]
        phrases += [Phrase(one, after=other) for one in _CLASSES for other in self._context_classes]
        return [(phrase, self._places(phrase)) for phrase in phrases]

    @cached_property
    def slots(self) -> list[Slot]:
        """Frames with an open slot, each with every axis that can name its tokens."""
        evidence = self.evidence
        slots: list[Slot] = []
        active = (evidence.levels > 0).ravel()
        caused = active & self._after_cause.ravel()
        for names_target, frame in self._frames():
            places = self._places(frame)
            tokens = (evidence.ids if names_target else evidence.before).ravel()[places]
            seeds = (active if names_target else caused)[places]
            for axis in self._axes:
                names = axis.number[tokens]
                seeded = np.zeros(len(axis.names) + 1, dtype=np.bool_)  # the last one is NO_TOKEN
                seeded[names[seeds]] = True
                seeded[NO_TOKEN] = False
                useful = seeded[names]
                if useful.any():
                    slots.append(self._slot(frame, names_target, axis, places[useful], names[useful], seeded))
        return slots

    def _slot(
        self,
        frame: Phrase,
        names_target: bool,
        axis: Axis,
        places: NDArray[np.int64],
        names: NDArray[np.int64],
        seeded: NDArray[np.bool_],
    ) -> Slot:
        """Make a slot of the names at active positions; others can save nothing."""
        compact = (np.cumsum(seeded) - 1)[names]
        kept: list[int] = np.flatnonzero(seeded).tolist()
        axis = replace(axis, names=tuple(axis.names[i] for i in kept))
        repeated = _repeated(compact, places // self.evidence.ids.shape[1])
        return Slot(frame, names_target, axis, places + self.evidence.ids.size * repeated, compact)

    def _places(self, phrase: Phrase) -> NDArray[np.int64]:
        return np.flatnonzero(self.evidence.phrase_degrees(phrase) * self.evidence.is_token)

    def _frames(self) -> Iterator[tuple[bool, Phrase]]:
        """Yield frames, each with whether its open slot is the target (else the token before)."""
        yield True, Phrase(_ANY)
        for before in (*self._heaviest(self.evidence.before, self._after_cause), *self._context_classes):
            yield True, Phrase(_ANY, after=before)
        for before in _EXCEPTED:
            yield True, Phrase(_ANY, not_after=before)
        for earlier in self._heaviest_earlier():
            yield True, Phrase(_ANY, earlier=earlier)
        for target in (_ANY, *self._heaviest(self.evidence.ids, self.evidence.is_token), *_CLASSES):
            yield False, Phrase(target)

    @cached_property
    def _after_cause(self) -> NDArray[np.bool_]:
        """Whether the token before each position may be its context, bool [windows, tokens]."""
        after = np.zeros_like(self._is_cause)
        after[:, 1:] = self._is_cause[:, :-1]
        return after

    @cached_property
    def _context_classes(self) -> list[Target]:
        """Classes that may be a context; with causes, those that hold an activation-causing token."""
        evidence = self.evidence
        if not self._causes:
            return list(_CLASSES)
        before = (evidence.levels > 0)[:, 1:] & self._is_cause[:, :-1]
        return [target for target in _CLASSES if (evidence.target_degrees(target)[:, :-1] * before).any()]

    def _heaviest(self, ids: NDArray[np.int64], among: NDArray[np.bool_]) -> list[Target]:
        """Single tokens at (or after) which the summed activation is largest, among some positions."""
        counted = (ids >= 0) & among
        mass = np.bincount(ids[counted], self.evidence.levels[counted], len(self.evidence.strings))
        order = np.argsort(-mass, kind="stable")[: self._n_contexts]
        return [self.evidence.tokens_target([i]) for i in order if mass[i] > 0]

    def _heaviest_earlier(self) -> list[Target]:
        """Single tokens after which, at any distance, the activation exceeds its mean most."""
        evidence = self.evidence
        excess = (evidence.levels - evidence.levels.sum() / max(1, evidence.is_token.sum())) * evidence.is_token
        behind = np.cumsum(excess[:, ::-1], axis=1)[:, ::-1] - excess
        lift = np.zeros(len(evidence.strings))
        for ids, after in zip(evidence.ids, behind, strict=True):
            present, first = np.unique(ids, return_index=True)
            lift[present[present >= 0]] += after[first[present >= 0]]
        caused = np.bincount(evidence.ids[self._is_cause & evidence.is_token], minlength=len(lift)) > 0
        order = np.argsort(-np.where(caused, lift, 0.0), kind="stable")[: self._n_contexts]
        return [evidence.tokens_target([i]) for i in order if caused[i] and lift[i] > 0]


def _repeated(names: NDArray[np.int64], windows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return for each position whether its name occurs in more than one window."""
    size = int(names.max(initial=-1)) + 1
    first, last = np.full(size, windows.max(initial=0)), np.zeros(size, dtype=np.int64)
    np.minimum.at(first, names, windows)
    np.maximum.at(last, names, windows)
    return (first < last)[names]
