"""Latents whose truth is known, planted in a corpus.

A latent is a program over tokens: it fires on some of them in some contexts, with graded activations, and is silent on
the same tokens in others. Each has a true explanation and wrong ones, which claim twice as many tokens, half as many,
or the tokens of another context.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from featureinterp.core import CorpusTokens, Rule, StructuredExplanation
from featureinterp.dataset.activations.store import LatentActivations, SparseActivations
from featureinterp.dataset.corpus.windows import Windows
from featureinterp.dataset.records.hook_records import HookData
from featureinterp.dataset.retrieval.exact import ExactRanker
from featureinterp.dataset.retrieval.window_index import WindowIndex
from featureinterp.phrases import Phrase, Target, TargetKind, render
from featureinterp.record import scale_to_levels
from featureinterp.scoring.corpus import correlate_corpus, pool_corpus
from featureinterp.simulator.lexical_corpus import LexicalCorpus

TRUE, BROAD, NARROW, WRONG, LIST = "true", "twice too broad", "half too narrow", "wrong context", "list of train tokens"
WRONG_ONES = (BROAD, NARROW, WRONG, LIST)

LENGTH, WINDOWS_PER_DOCUMENT, WORDS, SUBJECTS, DIMENSIONS = 32, 4, 40_000, 12, 32
CELL = 3
"""Tokens of a slot: a phrase takes the first two."""
GRADES, NOISE = (2.0, 3.5, 5.0), 0.1
CLASS_WORDS = tuple(f" {first}{second}ful" for first in "bcdfghjk" for second in "aeiou")


def tokens(*strings: str) -> Target:
    return Target(TargetKind.TOKENS, strings)


@dataclass(frozen=True)
class Case:
    """Where a latent fires: on some tokens, after some others."""

    targets: tuple[str, ...]
    after: tuple[str, ...] = ()
    """Tokens before; empty for any."""
    levels: tuple[float, ...] = GRADES
    """Activation without noise, one of them at random."""


@dataclass(frozen=True)
class Planting:
    """Phrases of two tokens: one of `before`, or any word, then one of `targets`."""

    before: tuple[str, ...]
    targets: tuple[str, ...]
    times: float
    """How often, in firing rates of the latent."""


@dataclass(frozen=True)
class Program:
    """A planted latent."""

    name: str
    cases: tuple[Case, ...]
    plantings: tuple[Planting, ...]
    explanations: Mapping[str, StructuredExplanation]
    """The true one and the wrong ones, without the list."""

    def has(self, wrong: str) -> bool:
        """Return whether a wrong explanation is one: the list of one token that fires in any context is the truth."""
        return wrong != LIST or any(case.after for case in self.cases)


def rules(*pairs: tuple[Phrase, int]) -> StructuredExplanation:
    return StructuredExplanation(tuple(Rule(render(phrase), strength) for phrase, strength in pairs))


def in_contexts(name: str, targets: tuple[str, ...], target: Target, a: str, b: str, d: str) -> Program:
    """Return a latent that fires on a target after a and b, and is silent after d and any other word."""

    def after(*strings: str) -> StructuredExplanation:
        return rules((Phrase(target, after=tokens(*strings)), 5))

    plantings = (Planting((a,), targets, 0.5), Planting((b,), targets, 0.5), Planting((d,), targets, 1.0))
    return Program(
        name,
        (Case(targets, (a, b)),),
        (*plantings, Planting((), targets, 1.0)),
        {TRUE: after(a, b), BROAD: after(a, b, d), NARROW: after(a), WRONG: after(d)},
    )


def one_token() -> Program:
    """Return a latent of one token in any context; the tokens claimed in addition are spread over the corpus."""
    a, b, d = " w10", " w11", " w12"
    plantings = (Planting((a,), (" plain",), 0.5), Planting((b,), (" plain",), 0.5), Planting((d,), (" other",), 1.0))
    explanations = {
        TRUE: rules((Phrase(tokens(" plain")), 5)),
        BROAD: rules((Phrase(tokens(" plain", " other")), 5)),
        NARROW: rules((Phrase(tokens(" plain"), after=tokens(a)), 5)),
        WRONG: rules((Phrase(Target(TargetKind.ANY), after=tokens(" plain")), 5)),
    }
    return Program("a token", (Case((" plain",)),), plantings, explanations)


def alternatives() -> Program:
    """Return a latent of two phrases, one of which it fires on weakly."""
    a, b, d = " w19", " w20", " w21"

    def either(strong: tuple[str, ...], weak: tuple[str, ...]) -> StructuredExplanation:
        pairs = ((" strong", strong, 5), (" weak", weak, 2))
        return rules(*((Phrase(tokens(token), after=tokens(*after)), level) for token, after, level in pairs if after))

    both = (" strong", " weak")
    phrases = (Planting((a,), (" strong",), 0.5), Planting((b,), (" weak",), 0.5))
    return Program(
        "two alternatives",
        (Case((" strong",), (a,), (5.0,)), Case((" weak",), (b,), (2.0,))),
        (*phrases, Planting((d,), both, 1.0), Planting((), both, 1.0)),
        {TRUE: either((a,), (b,)), BROAD: either((a, d), (b, d)), NARROW: either((a,), ()), WRONG: either((d,), (d,))},
    )


PROGRAMS = (
    one_token(),
    in_contexts("a token after another", (" target",), tokens(" target"), " w13", " w14", " w15"),
    in_contexts("a class after a token", CLASS_WORDS, Target(TargetKind.ENDING, ("ful",)), " w16", " w17", " w18"),
    alternatives(),
)


class PlantedCorpus:
    """A corpus with every planted latent, which all fire at one rate.

    A document has one of a few subjects. The embedding of a window is that of its subject with noise; the phrases of a
    latent are in documents of every second subject. So the windows most similar to positives are of these.

    Args:
        rate: share of tokens that a latent fires on.
        n_windows: windows of 32 tokens, four to a document.
        rng: draws all of it.
    """

    def __init__(self, rate: float, n_windows: int, rng: np.random.Generator) -> None:
        planted = sorted({t for program in PROGRAMS for each in program.plantings for t in each.targets})
        self.strings = [*(f" w{rank}" for rank in range(WORDS)), *planted]
        self._numbers = {string: number for number, string in enumerate(self.strings)}
        documents = np.arange(n_windows, dtype=np.int32) // WINDOWS_PER_DOCUMENT
        subjects = rng.integers(SUBJECTS, size=documents[-1] + 1)[documents]
        ids = self._words(rng, (n_windows, LENGTH))
        self._plant(ids, rate, subjects, rng)
        self.windows = Windows(ids, documents, has_bos=False)
        self.levels = [self._activations(program, ids, rng) for program in PROGRAMS]
        embeddings = rng.normal(size=(SUBJECTS, DIMENSIONS))[subjects] + rng.normal(size=(n_windows, DIMENSIONS))
        embeddings -= embeddings.mean(axis=0)
        unit = (embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).astype(np.float32)
        self.data = HookData(
            "planted",
            0,
            self.windows,
            unit,
            ExactRanker(unit),
            WindowIndex.of(self.windows, self.token_strings),
            SparseActivations.of(list(map(_sparse, self.levels)), n_windows, LENGTH),
            self.token_strings,
        )
        self._exact: dict[tuple[int, StructuredExplanation], float] = {}

    def token_strings(self, ids: Sequence[int]) -> list[str]:
        """Return the text of each token id."""
        return [self.strings[number] for number in ids]

    def _words(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.int32]:
        """Draw words whose frequency falls with their rank, by the law of Zipf and Mandelbrot."""
        shares = np.cumsum(1.0 / (np.arange(WORDS) + 2.7))
        return np.searchsorted(shares, rng.random(shape) * shares[-1]).astype(np.int32)

    def _plant(
        self, ids: NDArray[np.int32], rate: float, subjects: NDArray[np.integer], rng: np.random.Generator
    ) -> None:
        """Write the phrases of all latents into `ids`, each into slots of its own."""
        for parity in range(2):
            rows = np.flatnonzero(subjects % 2 == parity)
            slots = rng.permutation(len(rows) * (LENGTH // CELL))
            for program in PROGRAMS[parity::2]:
                for planting in program.plantings:
                    taken, slots = np.split(slots, [round(planting.times * rate * ids.size)])
                    row, column = rows[taken // (LENGTH // CELL)], CELL * (taken % (LENGTH // CELL))
                    ids[row, column + 1] = rng.choice(self._ids(planting.targets), len(row))
                    if planting.before:
                        ids[row, column] = rng.choice(self._ids(planting.before), len(row))

    def _ids(self, strings: Sequence[str]) -> list[int]:
        return [self._numbers[string] for string in strings]

    def _activations(self, program: Program, ids: NDArray[np.int32], rng: np.random.Generator) -> NDArray[np.float32]:
        """Run a program on every token; the first token of a window has no other before it [windows, T]."""
        found = np.zeros(ids.shape, dtype=np.float32)
        for case in program.cases:
            fires = np.isin(ids, self._ids(case.targets))
            if case.after:
                fires[:, 1:] &= np.isin(ids[:, :-1], self._ids(case.after))
                fires[:, 0] = False
            n = int(fires.sum())
            found[fires] = rng.choice(case.levels, n) * np.exp(NOISE * rng.normal(size=n))
        return found

    @cached_property
    def simulator(self) -> LexicalCorpus:
        """Simulator of all windows."""
        return LexicalCorpus(CorpusTokens.of(self.windows.text_tokens, self.token_strings))

    def exact(self, latent: int, explanation: StructuredExplanation) -> float:
        """Return the correlation on every window."""
        if (latent, explanation) not in self._exact:
            levels = self.levels[latent].astype(np.float64)
            truth = scale_to_levels(levels, float(levels.max()))
            score = correlate_corpus(pool_corpus(truth, *self.simulator.simulate(explanation)))
            self._exact[latent, explanation] = float(score)
        return self._exact[latent, explanation]


def _sparse(levels: NDArray[np.float32]) -> LatentActivations:
    sequence, position = np.nonzero(levels)
    return LatentActivations(sequence.astype(np.int32), position.astype(np.int16), levels[sequence, position])
