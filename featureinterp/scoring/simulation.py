"""Simulation and scoring of explanations on records.

The scores pool all tokens of all records; expected and true activations are on the same scale 0..5, and the
truth is not rounded to levels. Intervals leave out sentences, not tokens, because the tokens of one sentence rise
and fall together; positives and complementary records are strata, as they were sampled.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, compress, groupby

import numpy as np
from numpy.typing import NDArray

from featureinterp import stats
from featureinterp.core import Score, ScoredSequence, ScoredSimulation, Scores, SequenceSimulation
from featureinterp.errors import ActivationError, InputError, SimulationError
from featureinterp.protocols import Simulator
from featureinterp.record import MAX_LEVEL, ActivationRecord, ComplementaryRecordSource, scale_to_levels
from featureinterp.scoring.sample import PooledLevels, SentenceSample, SentenceSums
from featureinterp.stats.intervals import Interval

_ROUNDING = 1e-4
"""Tolerance of expected levels beyond 0..5: simulators compute in single precision."""


async def simulate_and_score(
    simulator: Simulator, records: Sequence[ActivationRecord], *, intervals: bool = True
) -> ScoredSimulation:
    """Simulate records and score the simulation against their true activations.

    Args:
        simulator: simulator of one explanation.
        records: positives (`source` None) and complementary records, pooled.
        intervals: whether the scores have intervals.

    Raises:
        InputError: if there are no records, or one is active although its latent's maximum is 0.
        ActivationError: if a true activation is NaN or infinite.
        SimulationError: if a simulation does not match its record.
    """
    return score_sequences(await simulate_records(simulator, records), intervals=intervals)


async def simulate_records(simulator: Simulator, records: Sequence[ActivationRecord]) -> tuple[ScoredSequence, ...]:
    """Pair every record with its simulation; windows that several records share are simulated once.

    Raises:
        SimulationError: if the simulator does not return one simulation for each window.
    """
    windows = list(dict.fromkeys(record.tokens for record in records))
    simulations = await simulator.simulate(windows) if windows else []
    if len(simulations) != len(windows):
        raise SimulationError(f"the simulator returned {len(simulations)} simulations for {len(windows)} sequences")
    of_window = dict(zip(windows, simulations, strict=True))
    return tuple(ScoredSequence(record, of_window[record.tokens]) for record in records)


def score_simulations(
    records: Sequence[ActivationRecord],
    simulations: Sequence[SequenceSimulation],
    *,
    intervals: bool = True,
) -> ScoredSimulation:
    """Score existing simulations, one per record in the same order; raises as simulate_and_score."""
    return score_sequences(paired(records, simulations), intervals=intervals)


def score_sequences(
    sequences: Sequence[ScoredSequence], *, weights: Sequence[float] | None = None, intervals: bool = True
) -> ScoredSimulation:
    """Score records paired with their simulations; raises as `simulate_and_score`.

    The order of the sequences changes nothing.

    Args:
        sequences: windows with what is expected on them.
        weights: how many windows each one stands for, above 0 [sequences]; None for one each. The scores are those
            of every window repeated that often; windows of one list and one weight are a stratum of the intervals.
        intervals: whether the scores have intervals.

    Raises:
        InputError: also if there are not as many weights as sequences, or one is not a number above 0.
    """
    return ScoredSimulation(tuple(sequences), PooledSequences.of(sequences, weights).scores(intervals=intervals))


def standard_errors(sequences: Sequence[ScoredSequence]) -> dict[str, float]:
    """Return the standard error of every score over the sentences, by the stratified jackknife; NaN where undefined.

    Empty where there are fewer than two positives, or a single complementary record. Raises as `simulate_and_score`.
    """
    return PooledSequences.of(sequences).sample.standard_errors()


@dataclass(frozen=True)
class PooledSequences:
    """Sequences in canonical order, with all their tokens concatenated."""

    levels: PooledLevels
    lists: tuple[ComplementaryRecordSource | None, ...]
    """Source of each sequence; None of positives."""
    weights: NDArray[np.float64]
    """How many windows each one stands for [sequences]."""
    sources: tuple[ComplementaryRecordSource, ...]
    """The complementary sources, in the order in which they first appear in what was given."""

    @classmethod
    def of(cls, sequences: Sequence[ScoredSequence], weights: Sequence[float] | None = None) -> PooledSequences:
        """Pool sequences; arguments and errors as of `score_sequences`."""
        given = [1.0] * len(sequences) if weights is None else list(weights)
        if len(given) != len(sequences) or not all(0 < weight < math.inf for weight in given):
            raise InputError(
                f"{len(given)} weights do not fit {len(sequences)} sentences",
                "give one number above 0 for each sentence",
            )
        order = sorted(range(len(sequences)), key=lambda i: (*_canonical(sequences[i]), given[i]))
        sources = dict.fromkeys(pair.record.source for pair in sequences if pair.record.source is not None)
        return cls(
            pooled_levels([sequences[i] for i in order]),
            tuple(sequences[i].record.source for i in order),
            np.array([given[i] for i in order], dtype=np.float64),
            tuple(sources),
        )

    @property
    def complementary(self) -> NDArray[np.bool_]:
        """Whether each sequence is of a complementary list; else it is a positive [sequences]."""
        return np.array([source is not None for source in self.lists])

    @property
    def sample(self) -> SentenceSample:
        """What the scores need."""
        return SentenceSample.of(self.levels, self.complementary, self.weights)

    def of_source(self, source: ComplementaryRecordSource) -> PooledSequences:
        """Return the positives and the sequences of one source."""
        rows = np.array([each is None or each is source for each in self.lists])
        return PooledSequences(self.levels.take(rows), tuple(compress(self.lists, rows)), self.weights[rows], (source,))

    def scores(self, *, intervals: bool = True) -> Scores:
        """Return all scores."""
        return scores_of(self.sample, self.levels.truth, intervals=intervals)

    def correlation(self, *, intervals: bool = True) -> Score:
        """Return the correlation alone, which is a small part of the work."""
        summed = SentenceSums.of(self.levels, self.complementary, self.weights)
        r_squared = float(stats.r_squared(summed.sums.weighted(self.weights)))
        reason = _why_flat(self.levels.truth, truth_varies=not math.isnan(r_squared))
        return _score(summed.correlation(), summed.correlation_interval() if intervals else None, reason)

    def scores_by_source(self, *, intervals: bool = True) -> dict[str, Scores]:
        """Return all scores on the positives and each source, as `score_by_source` does."""
        return {source.value: self.of_source(source).scores(intervals=intervals) for source in self.sources}

    def correlations(self, *, intervals: bool = True) -> dict[str, Score]:
        """Return the correlation on the positives and each source, as `score_by_source` does."""
        return {source.value: self.of_source(source).correlation(intervals=intervals) for source in self.sources}


def scores_of(sample: SentenceSample, truth: NDArray[np.float64], *, intervals: bool = True) -> Scores:
    """Return all scores of a sample, with the reason of each undefined one.

    Args:
        sample: sufficient statistics of the sentences.
        truth: true level of every token [tokens].
        intervals: whether the scores have intervals.
    """
    values = sample.values()
    bounds = sample.intervals() if intervals else {}
    reasons = _reasons(values, truth)
    scores = {name: _score(value, bounds.get(name), reasons[name]) for name, value in values.items()}
    n_complementary = int(sample.complementary.sum())
    return Scores(**scores, n_sentences=len(sample.complementary), n_complementary=n_complementary)


def score_by_source(
    sequences: Sequence[ScoredSequence], *, weights: Sequence[float] | None = None, intervals: bool = True
) -> dict[str, Scores]:
    """Score the positives plus the records of each complementary source; arguments as in `score_sequences`.

    Returns:
        Scores by the source's enum value, in the order in which the sources first appear.
    """
    if all(pair.record.source is None for pair in sequences):
        return {}
    return PooledSequences.of(sequences, weights).scores_by_source(intervals=intervals)


def quick_score(records: Sequence[ActivationRecord], simulations: Sequence[SequenceSimulation]) -> float:
    """Return only the pooled correlation (fast); NaN if undefined.

    Raises as `simulate_and_score`.
    """
    return stats.pearson(*true_and_expected(paired(records, simulations)))


def pooled_levels(sequences: Sequence[ScoredSequence]) -> PooledLevels:
    """Check simulations against their records and concatenate all tokens; raises as `simulate_and_score`."""
    truth, expected = true_and_expected(sequences)
    lengths = [len(pair.record.tokens) for pair in sequences]
    owner = np.repeat(np.arange(len(sequences)), lengths)
    return PooledLevels(truth, expected, owner, claimed_tokens(sequences), len(sequences))


def true_and_expected(sequences: Sequence[ScoredSequence]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the true and the expected levels of all tokens, concatenated as in `pooled_levels`; raises as it."""
    if not any(pair.record.tokens for pair in sequences):
        raise InputError("there are no records to score", "make records with positives first")
    for pair in sequences:
        _check_tokens(pair)
    expected = _joined([pair.simulation.expected_activations for pair in sequences])
    inside = (expected >= -_ROUNDING) & (expected <= MAX_LEVEL + _ROUNDING)
    if not inside.all():
        wrong = next(p for p in sequences if not _are_levels(p.simulation.expected_activations))
        outside = next(x for x in wrong.simulation.expected_activations if not _are_levels([x]))
        raise SimulationError(
            f"the simulation of sequence {wrong.record.dataset_index} expects {outside}; "
            f"expected a level from 0 to {MAX_LEVEL}"
        )
    return _true_levels([pair.record for pair in sequences]), expected


def _are_levels(values: Sequence[float]) -> bool:
    return all(-_ROUNDING <= value <= MAX_LEVEL + _ROUNDING for value in values)


def _joined(rows: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    return np.fromiter(chain.from_iterable(rows), dtype=np.float64, count=sum(map(len, rows)))


def claimed_tokens(sequences: Sequence[ScoredSequence]) -> NDArray[np.bool_]:
    """Return whether each token is claimed, concatenated as in `pooled_levels`.

    Raises:
        SimulationError: if a simulation has not as many claims as tokens.
    """
    claims = [pair.simulation.claims for pair in sequences]
    for pair, claimed in zip(sequences, claims, strict=True):
        if len(claimed) != len(pair.record.tokens):
            raise SimulationError(
                f"the simulation of sequence {pair.record.dataset_index} has {len(claimed)} claims for "
                f"{len(pair.record.tokens)} tokens"
            )
    return np.array(list(chain.from_iterable(claims)), dtype=bool)


def _true_levels(records: Sequence[ActivationRecord]) -> NDArray[np.float64]:
    """Scale the activations of all records (those of one latent share a maximum)."""
    levels: list[NDArray[np.float64]] = []
    for maximum, group in groupby(records, key=lambda record: record.max_expression):
        of_latent = list(group)
        values = _joined([record.expressions for record in of_latent])
        if not (np.isfinite(maximum) and np.isfinite(values).all()):
            wrong = next(r for r in of_latent if not np.isfinite([maximum, *r.expressions]).all())
            raise ActivationError(
                f"the record of sequence {wrong.dataset_index} has an activation that is NaN or infinite",
                "check the model's and the SAE's weights and dtype",
            )
        if maximum <= 0 and (values > 0).any():
            wrong = next(r for r in of_latent if r.is_active)
            raise InputError(
                f"the record of sequence {wrong.dataset_index} is active, but its latent's maximum is {maximum}",
                "set max_expression to the largest activation over the corpus",
            )
        levels.append(scale_to_levels(values, maximum))
    return np.concatenate(levels)


def paired(
    records: Sequence[ActivationRecord], simulations: Sequence[SequenceSimulation]
) -> tuple[ScoredSequence, ...]:
    """Pair records with their simulations, in order.

    Raises:
        SimulationError: if their numbers differ.
    """
    if len(records) != len(simulations):
        raise SimulationError(f"there are {len(simulations)} simulations for {len(records)} records")
    return tuple(ScoredSequence(*pair) for pair in zip(records, simulations, strict=True))


def _check_tokens(pair: ScoredSequence) -> None:
    wanted, simulation = pair.record.tokens, pair.simulation
    where = f"the simulation of sequence {pair.record.dataset_index}"
    if len(simulation.expected_activations) != len(wanted):
        raise SimulationError(
            f"{where} has {len(simulation.expected_activations)} expected activations for {len(wanted)} tokens"
        )
    if tuple(simulation.tokens) != wanted:
        raise SimulationError(f"{where} has other tokens: {_first_difference(wanted, simulation.tokens)}")


def _first_difference(wanted: Sequence[str], seen: Sequence[str]) -> str:
    if len(wanted) != len(seen):
        return f"{len(seen)} instead of {len(wanted)}"
    position = next(i for i, (a, b) in enumerate(zip(wanted, seen, strict=True)) if a != b)
    return f"{seen[position]!r} instead of {wanted[position]!r} at position {position}"


def _canonical(pair: ScoredSequence) -> tuple[str, int, tuple[str, ...]]:
    source = pair.record.source
    return ("" if source is None else source.value, pair.record.dataset_index, pair.record.tokens)


_SILENT = "the feature is silent on all of these tokens"


def _why_flat(truth: NDArray[np.float64], *, truth_varies: bool) -> str:
    """Return why a correlation is undefined."""
    if truth_varies:
        return "the expected activation is the same on every token"
    return "the true activation is the same on every token" if truth.any() else _SILENT


def _reasons(values: Mapping[str, float], truth: NDArray[np.float64]) -> dict[str, str]:
    """Return the reason of every undefined score."""
    silent, unclaimed, all_positive = _SILENT, "no token is claimed", "there are no complementary records"
    flat_truth = _why_flat(truth, truth_varies=False)
    flat = _why_flat(truth, truth_varies=not math.isnan(values["r_squared"]))
    return {
        "correlation": flat,
        "r_squared": flat_truth,
        "absolute_deviation_explained": silent,
        "auroc": "the feature is active on all of these tokens" if truth.any() else silent,
        "average_precision": silent,
        "precision": unclaimed,
        "recall": silent,
        "f1": f"{silent}, and {unclaimed}",
        "iou": f"{silent}, and {unclaimed}",
        "false_positives_per_sentence": all_positive,
        "false_positives_expected_per_sentence": all_positive,
    }


def _score(value: float, interval: Interval | None, reason: str) -> Score:
    if math.isnan(value):
        return Score.undefined(reason)
    return Score(value) if interval is None else Score(value, *interval)
