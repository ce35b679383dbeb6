"""True and expected levels of records as arrays, checked against each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, groupby

import numpy as np
from numpy.typing import NDArray

from featureinterp import stats
from featureinterp.core import SequenceSimulation
from featureinterp.errors import ActivationError, InputError, SimulationError
from featureinterp.record import MAX_LEVEL, ActivationRecord, scale_to_levels
from featureinterp.scoring.sample import PooledLevels

_ROUNDING = 1e-4
"""Tolerance of expected levels beyond 0..5: simulators compute in single precision."""


@dataclass(frozen=True)
class TrueLevels:
    """Records whose true levels are read once, whatever number of simulations is scored against them.

    All methods raise:
        InputError: if there are no records, or one is active although its latent's maximum is 0.
        ActivationError: if a true activation is NaN or infinite.
        SimulationError: if a simulation does not match its record.
    """

    records: tuple[ActivationRecord, ...]

    @cached_property
    def levels(self) -> NDArray[np.float64]:
        """5·a / max a, not rounded, of all tokens, concatenated [tokens]."""
        return _true_levels(self.records)

    @cached_property
    def owner(self) -> NDArray[np.int64]:
        """Index of the record of each token [tokens]."""
        return np.repeat(np.arange(len(self.records)), [len(record.tokens) for record in self.records])

    def expected(self, simulations: Sequence[SequenceSimulation]) -> NDArray[np.float64]:
        """Return the expected levels of all tokens, given one simulation for each record, in order [tokens]."""
        if len(self.records) != len(simulations):
            raise SimulationError(f"there are {len(simulations)} simulations for {len(self.records)} records")
        if not any(record.tokens for record in self.records):
            raise InputError("there are no records to score", "make records with positives first")
        for record, simulation in zip(self.records, simulations, strict=True):
            _check_tokens(record, simulation)
        expected = np.concatenate([simulation.levels for simulation in simulations])
        inside = (expected >= -_ROUNDING) & (expected <= MAX_LEVEL + _ROUNDING)
        if not inside.all():
            first = int(inside.argmin())
            record = self.records[int(self.owner[first])]
            raise SimulationError(
                f"the simulation of sequence {record.dataset_index} expects {float(expected[first])}; "
                f"expected a level from 0 to {MAX_LEVEL}"
            )
        return expected

    def correlation(self, simulations: Sequence[SequenceSimulation]) -> float:
        """Return the correlation of true and expected levels; NaN if undefined."""
        expected = self.expected(simulations)
        return stats.pearson(self.levels, expected)

    def pooled(self, simulations: Sequence[SequenceSimulation]) -> PooledLevels:
        """Return all tokens with what is expected of them and whether they are claimed."""
        expected = self.expected(simulations)
        claimed = _claimed_tokens(self.records, simulations)
        return PooledLevels(self.levels, expected, self.owner, claimed, len(self.records))


def _check_tokens(record: ActivationRecord, simulation: SequenceSimulation) -> None:
    wanted, where = record.tokens, f"the simulation of sequence {record.dataset_index}"
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


def _claimed_tokens(
    records: Sequence[ActivationRecord], simulations: Sequence[SequenceSimulation]
) -> NDArray[np.bool_]:
    claims = [simulation.claims for simulation in simulations]
    for record, claimed in zip(records, claims, strict=True):
        if len(claimed) != len(record.tokens):
            raise SimulationError(
                f"the simulation of sequence {record.dataset_index} has {len(claimed)} claims for "
                f"{len(record.tokens)} tokens"
            )
    return np.array(list(chain.from_iterable(claims)), dtype=bool)


def _true_levels(records: Sequence[ActivationRecord]) -> NDArray[np.float64]:
    """Scale the activations of all records (those of one latent share a maximum)."""
    levels: list[NDArray[np.float64]] = []
    for maximum, group in groupby(records, key=lambda record: record.max_expression):
        of_latent = list(group)
        values = np.array(list(chain.from_iterable(record.expressions for record in of_latent)), dtype=np.float64)
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
