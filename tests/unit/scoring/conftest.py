"""Small records and simulations."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from featureinterp.core import SequenceSimulation
from featureinterp.record import ActivationRecord, ComplementaryRecordSource


@pytest.fixture(scope="session")
def record() -> Callable[..., ActivationRecord]:
    """Make a record from its activations alone; the tokens are "t0", "t1", ..."""

    def make(
        activations: Sequence[float],
        index: int = 0,
        source: ComplementaryRecordSource | None = None,
        maximum: float = 5.0,
        tokens: Sequence[str] = (),
    ) -> ActivationRecord:
        named = tuple(tokens) or tuple(f"t{i}" for i in range(len(activations)))
        return ActivationRecord(named, tuple(activations), (), index, maximum, 0.0, source)

    return make


@pytest.fixture(scope="session")
def simulation() -> Callable[..., SequenceSimulation]:
    """Make the simulation that goes with such a record."""

    def make(expected: Sequence[float], tokens: Sequence[str] = ()) -> SequenceSimulation:
        return SequenceSimulation(tuple(tokens) or tuple(f"t{i}" for i in range(len(expected))), tuple(expected))

    return make
