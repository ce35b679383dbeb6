"""What a reader of outside data is tried on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from featureinterp.errors import FeatureInterpError


@dataclass(frozen=True)
class Case:
    """One hostile input."""

    rng: Random
    """Decides everything about it."""
    folder: Path
    """Empty, and removed afterwards."""
    world: Path
    """The valid files; never written to."""


@dataclass(frozen=True)
class Reader:
    """A reader of outside data."""

    name: str
    read: Callable[[Case], object]
    """Makes something hostile out of something valid, and reads it as the package does."""
    errors: tuple[type[FeatureInterpError], ...]
    """What may leave it."""
    weight: int = 10
    """How often it is tried, as against others."""


def is_refusal(reader: Reader, error: BaseException) -> bool:
    """Say whether an error is a sentence of the reader's own: one of its classes, on one line of bearable length."""
    told = str(error)
    return isinstance(error, reader.errors) and bool(told.strip()) and len(told) < 5000


class DifferentError(AssertionError):
    """Something was read, and what came out cannot be right."""


def wanted(holds: bool, what: str) -> None:
    """Fail where what was read is not what it must be."""
    if not holds:
        raise DifferentError(what)
