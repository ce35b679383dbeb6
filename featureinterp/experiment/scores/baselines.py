"""Baselines of one feature: their scores on the test windows, and the explanation's margin over the best one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from featureinterp.core import Score, ScoredSequence
from featureinterp.experiment.result import Margin
from featureinterp.protocols import Simulator
from featureinterp.scoring import ConstantZeroSimulator, simulate_records
from featureinterp.scoring.baselines import CONSTANT_ZERO, Table
from featureinterp.scoring.difference import false_positive_differences, pooled_differences
from featureinterp.scoring.simulation import PooledSequences


@dataclass(frozen=True)
class BaselineScores:
    """Baselines on the test windows of one feature."""

    floors: Mapping[str, Mapping[str, Score]]
    """Correlation of each baseline by complementary source."""
    margins: Mapping[str, Margin]
    """Margin of the explanation over the best table, by complementary source."""


async def score_baselines(
    sequences: Sequence[ScoredSequence], ours: PooledSequences, tables: Mapping[str, Table], best: str
) -> BaselineScores:
    """Score the fitted tables and the constant zero on the test windows of an explanation.

    Args:
        sequences: test records with the simulation of the explanation.
        ours: the same, pooled.
        tables: fitted tables by name.
        best: name of the table that the margins are taken over.
    """
    records = [pair.record for pair in sequences]
    baselines: dict[str, Simulator] = {**tables, CONSTANT_ZERO: ConstantZeroSimulator()}
    simulated = {name: await simulate_records(simulator, records) for name, simulator in baselines.items()}
    pooled = {name: ours.resimulated(each) for name, each in simulated.items()}
    correlations = pooled_differences(ours, pooled[best])
    alarms = false_positive_differences(sequences, simulated[best])
    return BaselineScores(
        floors={name: each.correlations() for name, each in pooled.items()},
        margins={source: Margin(correlations[source], alarms[source]) for source in correlations},
    )


async def floor_scores(simulator: Simulator, sequences: Sequence[ScoredSequence]) -> dict[str, Score]:
    """Return a baseline's correlation on the records of `sequences`, by complementary source."""
    return PooledSequences.of(await simulate_records(simulator, [pair.record for pair in sequences])).correlations()
