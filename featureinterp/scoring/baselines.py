"""Baselines that an explanation has to beat.

Tables are fitted on the records that the search saw (train and valid). Another feature's explanation shows what words
of no relation score; the constant zero shows what silence scores.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from functools import cached_property
from itertools import chain, groupby
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from featureinterp.core import CorpusTokens, SequenceSimulation, StructuredExplanation
from featureinterp.errors import ExplanationError, InputError
from featureinterp.formatting import discretise
from featureinterp.phrases import parse_sentence, read_words
from featureinterp.protocols import Simulator
from featureinterp.record import ActivationRecord
from featureinterp.scoring.levels import TrueLevels

Feature = TypeVar("Feature")
Key = TypeVar("Key", bound=Hashable)

TOKEN_LOOKUP, SHORT_LOOKUP, BACK_OFF = "token_lookup", "short_lookup", "back_off"
SHUFFLED, CONSTANT_ZERO = "shuffled", "constant_zero"

TABLES = (TOKEN_LOOKUP, SHORT_LOOKUP, BACK_OFF)
"""Baselines that compete for "best baseline": all are fitted on the records that the search saw."""

BASELINES = (*TABLES, CONSTANT_ZERO, SHUFFLED)
"""All baselines, in reading order."""


class Table(Simulator, Protocol):
    """A fitted table: a simulator that also works on a whole corpus at once."""

    def on_corpus(self, corpus: CorpusTokens) -> NDArray[np.float64]:
        """Return the expected level of every token of a corpus [windows, tokens]."""
        ...


class SeenLevels:
    """Mean levels of the tokens and token pairs of some records, which several tables share.

    Args:
        records: the records to fit, each window once.

    Raises:
        ActivationError: if an activation is NaN or infinite.
    """

    def __init__(self, records: Sequence[ActivationRecord]) -> None:
        self._records = records
        self._levels = _levels(records)

    @cached_property
    def of_tokens(self) -> dict[str, _Seen]:
        """Mean level and count of each token, in order of first appearance."""
        return _mean_levels(list(chain.from_iterable(record.tokens for record in self._records)), self._levels)

    @cached_property
    def of_pairs(self) -> dict[tuple[str | None, str], _Seen]:
        """Mean level and count of each (previous token, token); the first token of a window has no previous one."""
        return _mean_levels([pair for record in self._records for pair in _pairs(record.tokens)], self._levels)


class TokenLookupSimulator:
    """Token table: predicts a token's mean level in the records, 0 for unseen tokens.

    Args:
        records: the records to fit, each window once; or the levels of their tokens, read before.
        most_strings: size of the table; None for every token. A smaller table keeps the tokens that lower the squared
            error of expecting silence most: those of largest count · mean².

    Raises:
        ActivationError: if an activation is NaN or infinite.
    """

    def __init__(self, records: Sequence[ActivationRecord] | SeenLevels, most_strings: int | None = None) -> None:
        seen = (records if isinstance(records, SeenLevels) else SeenLevels(records)).of_tokens
        gains = {token: times * mean**2 for token, (mean, times) in seen.items()}
        kept = sorted(seen, key=lambda token: (-gains[token], token))[:most_strings]
        self._table = {token: seen[token].mean for token in kept}

    async def simulate(self, token_sequences: Sequence[Sequence[str]]) -> list[SequenceSimulation]:
        """Return the looked-up level of every token."""
        return [
            SequenceSimulation(tuple(tokens), tuple(self._table.get(token, 0.0) for token in tokens))
            for tokens in token_sequences
        ]

    def on_corpus(self, corpus: CorpusTokens) -> NDArray[np.float64]:
        """Return the looked-up level of every token of a corpus [windows, tokens]."""
        return np.array([self._table.get(string, 0.0) for string in corpus.strings], dtype=np.float64)[corpus.ids]


class BackOffSimulator:
    """Back-off table: the mean level of (previous token, token) in the records, else the token's, else 0.

    The first token of a window has no previous one.

    Args:
        records: the records to fit, each window once; or the levels of their tokens, read before.

    Raises:
        ActivationError: if an activation is NaN or infinite.
    """

    def __init__(self, records: Sequence[ActivationRecord] | SeenLevels) -> None:
        seen = records if isinstance(records, SeenLevels) else SeenLevels(records)
        self._pairs = {pair: each.mean for pair, each in seen.of_pairs.items()}
        self._tokens = {token: each.mean for token, each in seen.of_tokens.items()}

    async def simulate(self, token_sequences: Sequence[Sequence[str]]) -> list[SequenceSimulation]:
        """Return the looked-up level of every token after its previous one."""
        return [
            SequenceSimulation(
                tuple(tokens),
                tuple(self._pairs.get(pair, self._tokens.get(pair[1], 0.0)) for pair in _pairs(tokens)),
            )
            for tokens in token_sequences
        ]

    def on_corpus(self, corpus: CorpusTokens) -> NDArray[np.float64]:
        """Return the looked-up level of every token of a corpus after its previous one [windows, tokens]."""
        numbers = {string: number for number, string in enumerate(corpus.strings)}
        n, first = len(numbers), len(numbers)  # `first` stands for no previous token
        of_token = [self._tokens.get(string, 0.0) for string in corpus.strings]
        known = sorted(
            ((first if before is None else numbers[before]) * n + numbers[token], level)
            for (before, token), level in self._pairs.items()
            if token in numbers and (before is None or before in numbers)
        )
        codes = np.array([code for code, _ in known], dtype=np.int64)
        values = np.array([level for _, level in known], dtype=np.float64)
        before = np.full(corpus.ids.shape, first, dtype=np.int64)
        before[:, 1:] = corpus.ids[:, :-1]
        pairs = before * n + corpus.ids
        place = np.minimum(np.searchsorted(codes, pairs), max(len(codes) - 1, 0))
        levels = np.array(of_token, dtype=np.float64)[corpus.ids]
        return np.where(codes[place] == pairs, values[place], levels) if len(codes) else levels


class ConstantZeroSimulator:
    """Constant zero: the feature is never expected."""

    async def simulate(self, token_sequences: Sequence[Sequence[str]]) -> list[SequenceSimulation]:
        """Return level 0 for every token."""
        return [SequenceSimulation(tuple(tokens), (0.0,) * len(tokens)) for tokens in token_sequences]


def fit_tables(records: Sequence[ActivationRecord], explanation: StructuredExplanation) -> dict[str, Table]:
    """Return the fitted tables by name.

    Args:
        records: the records that the search saw, each window once.
        explanation: sets the size of the small table, see `table_size`.
    """
    seen = SeenLevels(records)
    return {
        TOKEN_LOOKUP: TokenLookupSimulator(seen),
        SHORT_LOOKUP: TokenLookupSimulator(seen, table_size(explanation)),
        BACK_OFF: BackOffSimulator(seen),
    }


async def best_table(
    train: Sequence[ActivationRecord], valid: Sequence[ActivationRecord], explanation: StructuredExplanation
) -> str:
    """Return the name of the table that scores best on valid when it is fitted on train alone.

    A table that has seen valid would be chosen for what it remembers. The first of equal ones is chosen; undefined
    scores lose.
    """
    windows, truth = [record.tokens for record in valid], TrueLevels(tuple(valid))
    scores: dict[str, float] = {}
    for name, table in fit_tables(train, explanation).items():
        score = truth.correlation(await table.simulate(windows)) if windows else np.nan
        scores[name] = -np.inf if np.isnan(score) else score
    return max(scores, key=lambda name: scores[name])


def table_size(explanation: StructuredExplanation) -> int:
    """Return the strings of the small table: as many as an explanation quotes, at least one for each rule."""
    return max(n_quoted_strings(explanation), len(explanation.rules))


def n_quoted_strings(explanation: StructuredExplanation) -> int:
    """Return how many strings an explanation quotes, contexts included.

    >>> n_quoted_strings(StructuredExplanation.from_text("the tokens ' a', ' b' right after 'c'"))
    3
    >>> n_quoted_strings(StructuredExplanation.from_text('names of months such as "May"'))
    1
    """
    return sum(_n_quoted(rule.activates_on) for rule in explanation.rules)


def pick_other(candidates: Sequence[Feature], own: Feature, rng: np.random.Generator) -> Feature:
    """Choose the feature whose explanation is the shuffled baseline of this one.

    Args:
        candidates: explained features, in an order independent of their time of completion.
        own: the feature that needs the baseline; it is never picked.
        rng: source of randomness.

    Raises:
        InputError: if there is no other candidate.
    """
    others = [candidate for candidate in candidates if candidate != own]
    if not others:
        raise InputError(f"there is no other explained feature than {own}", "explain at least two features of the hook")
    return others[int(rng.integers(len(others)))]


def _n_quoted(words: str) -> int:
    try:
        return sum(phrase.n_quoted for phrase in parse_sentence(words))
    except ExplanationError:
        return sum(phrase.n_quoted for phrase in read_words(words))


class _Seen(NamedTuple):
    mean: float
    times: int


def _mean_levels(keys: Sequence[Key], levels: NDArray[np.int64]) -> dict[Key, _Seen]:
    """Return the mean level of each key and how often it comes, in order of first appearance."""
    numbers: dict[Key, int] = {}
    number = np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)
    counts = np.bincount(number)
    means = np.bincount(number, levels) / counts
    return dict(zip(numbers, map(_Seen, means.tolist(), counts.tolist()), strict=True))


def _levels(records: Sequence[ActivationRecord]) -> NDArray[np.int64]:
    """Return the whole levels of all tokens."""
    parts = [np.zeros(0, dtype=np.int64)]
    for maximum, group in groupby(records, key=lambda record: record.max_expression):
        parts.append(discretise(list(chain.from_iterable(record.expressions for record in group)), maximum))
    return np.concatenate(parts)


def _pairs(tokens: Sequence[str]) -> Iterable[tuple[str | None, str]]:
    return zip((None, *tokens), tokens, strict=False)
