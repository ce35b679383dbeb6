"""Simulation and scoring of explanations on records.

The scores pool all tokens of all records; expected and true activations are on the same scale 0..5, and the
truth is not rounded to levels. Intervals leave out sentences, not tokens, because the tokens of one sentence rise
and fall together; positives and complementary records are strata, as they were sampled.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from featureinterp import stats
from featureinterp.core import Score, ScoredSequence, ScoredSimulation, Scores, SequenceSimulation
from featureinterp.errors import InputError, SimulationError
from featureinterp.protocols import Simulator
from featureinterp.record import ActivationRecord, ComplementaryRecordSource
from featureinterp.scoring.levels import TrueLevels
from featureinterp.scoring.sample import PooledLevels, SentenceSample, SentenceSums
from featureinterp.stats.intervals import Interval


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

    truth: TrueLevels
    """The records in canonical order."""
    order: tuple[int, ...]
    """Place of each record in what was given."""
    levels: PooledLevels
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
        truth = TrueLevels(tuple(sequences[i].record for i in order))
        return cls(
            truth,
            tuple(order),
            truth.pooled([sequences[i].simulation for i in order]),
            np.array([given[i] for i in order], dtype=np.float64),
            tuple(sources),
        )

    def resimulated(self, sequences: Sequence[ScoredSequence]) -> PooledSequences:
        """Pool the same records, in the order in which they were given, with other simulations."""
        return replace(self, levels=self.truth.pooled([sequences[i].simulation for i in self.order]))

    @cached_property
    def complementary(self) -> NDArray[np.bool_]:
        """Whether each sequence is of a complementary list; else it is a positive [sequences]."""
        return np.array([record.source is not None for record in self.truth.records])

    @cached_property
    def sample(self) -> SentenceSample:
        """What the scores need."""
        return SentenceSample.of(self.levels, self.sums)

    @cached_property
    def sums(self) -> SentenceSums:
        """What the correlation needs."""
        return SentenceSums.of(self.levels, self.complementary, self.weights)

    @cached_property
    def rows(self) -> dict[str, NDArray[np.int64]]:
        """The positives and the sequences of each source, by the source's enum value."""
        lists = [record.source for record in self.truth.records]
        return {
            source.value: np.flatnonzero([each is None or each is source for each in lists]) for source in self.sources
        }

    @cached_property
    def sums_by_source(self) -> dict[str, SentenceSums]:
        """What the correlation on the positives and each source needs."""
        return {source: self.sums.take(rows) for source, rows in self.rows.items()}

    def scores(self, *, intervals: bool = True) -> Scores:
        """Return all scores."""
        return scores_of(self.sample, intervals=intervals)

    def scores_by_source(self, *, intervals: bool = True) -> dict[str, Scores]:
        """Return all scores on the positives and each source, as `score_by_source` does."""
        return {source: scores_of(self.sample.take(rows), intervals=intervals) for source, rows in self.rows.items()}

    def correlations(self, *, intervals: bool = True) -> dict[str, Score]:
        """Return the correlation alone, which is a small part of the work, on the positives and each source."""
        return {source: correlation_of(sums, intervals=intervals) for source, sums in self.sums_by_source.items()}


def correlation_of(summed: SentenceSums, *, intervals: bool = True) -> Score:
    """Return the correlation of some sentences, with the reason where it is undefined."""
    if math.isnan(summed.correlation):
        r_squared = float(stats.r_squared(summed.sums.weighted(summed.weights)))
        return Score.undefined(_why_flat(summed, truth_varies=not math.isnan(r_squared)))
    return _score(summed.correlation, summed.correlation_interval() if intervals else None, "")


def scores_of(sample: SentenceSample, *, intervals: bool = True) -> Scores:
    """Return all scores of a sample, with the reason of each undefined one.

    Args:
        sample: sufficient statistics of the sentences.
        intervals: whether the scores have intervals.
    """
    values = sample.values()
    bounds = sample.intervals() if intervals else {}
    reasons = _reasons(values, sample.of_tokens)
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
    return TrueLevels(tuple(records)).correlation(simulations)


def pooled_levels(sequences: Sequence[ScoredSequence]) -> PooledLevels:
    """Check simulations against their records and concatenate all tokens; raises as `simulate_and_score`."""
    records = tuple(pair.record for pair in sequences)
    return TrueLevels(records).pooled([pair.simulation for pair in sequences])


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


def _canonical(pair: ScoredSequence) -> tuple[str, int, tuple[str, ...]]:
    source = pair.record.source
    return ("" if source is None else source.value, pair.record.dataset_index, pair.record.tokens)


_SILENT = "the feature is silent on all of these tokens"


def _why_flat(summed: SentenceSums, *, truth_varies: bool) -> str:
    """Return why a correlation is undefined."""
    if truth_varies:
        return "the expected activation is the same on every token"
    return "the true activation is the same on every token" if summed.sums.active.any() else _SILENT


def _reasons(values: Mapping[str, float], summed: SentenceSums) -> dict[str, str]:
    """Return the reason of every undefined score."""
    silent, unclaimed, all_positive = _SILENT, "no token is claimed", "there are no complementary records"
    flat_truth = _why_flat(summed, truth_varies=False)
    flat = _why_flat(summed, truth_varies=not math.isnan(values["r_squared"]))
    is_active = bool(summed.sums.active.any())
    return {
        "correlation": flat,
        "r_squared": flat_truth,
        "absolute_deviation_explained": silent,
        "auroc": "the feature is active on all of these tokens" if is_active else silent,
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
