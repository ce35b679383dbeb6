"""Rejected requests: failure of a feature, or a problem of the endpoint.

A server without a system role, a key without a permission, or a proxy that blocks large requests reject every
feature with the same message. Rejected features are therefore held back, and stored as failed only once another
feature was answered. If none was, the run ends, nothing of it is stored, and the same command tries again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from featureinterp.errors import EndpointConfigError
from featureinterp.experiment.result import FeatureResult

if TYPE_CHECKING:
    from featureinterp.experiment.sweep import Unit

FIRST, LATER = 5, 10
"""Features rejected with the same message (before the first answer, and later) that count as the endpoint's rejection.
If one request in four is rejected for its content, five at the start are chance once in 1,000 runs; ten in a row
later once in a million features."""

_NUMBERED = re.compile(r"\S*\d\S*")


class Refusals:
    """Rejected features of a run, pending a decision."""

    def __init__(self, *, answered: bool) -> None:
        """Start without pending features.

        Args:
            answered: whether the run's endpoints have answered before.
        """
        self._answered = answered
        self._held: list[tuple[Unit, FeatureResult]] = []

    def take(self, unit: Unit, result: FeatureResult) -> Iterator[tuple[Unit, FeatureResult]]:
        """Add a result and yield the decided ones.

        Raises:
            EndpointConfigError: if enough features were rejected with the same message.
        """
        if result.status != "refused":
            if result.status == "explained" or result.usage.requests:
                self._answered = True
                yield from self._decided()
            yield unit, result
            return
        self._held.append((unit, result))
        alike = sum(_words(each) == _words(result) for _, each in self._held)
        if alike >= (LATER if self._answered else FIRST):
            raise _of_endpoint(alike, result)

    def rest(self) -> Iterator[tuple[Unit, FeatureResult]]:
        """Yield the remaining decided results at the end.

        Raises:
            EndpointConfigError: if there was no answer, and all requests were rejected with the same message.
        """
        words = [_words(result) for _, result in self._held]
        alike = max(map(words.count, words), default=0)
        if not self._answered and alike and (alike > 1 or len(words) == 1):
            raise _of_endpoint(alike, self._held[words.index(max(words, key=words.count))][1])
        yield from self._decided()

    def _decided(self) -> Iterator[tuple[Unit, FeatureResult]]:
        held, self._held = self._held, []
        for unit, result in held:
            yield unit, replace(result, status="failed" if unit.floor is None else "explained")


def _words(result: FeatureResult) -> str:
    """Return a reason without numbers and request ids, for comparison."""
    return _NUMBERED.sub("", result.reason)


def _of_endpoint(alike: int, result: FeatureResult) -> EndpointConfigError:
    told = f"{alike} features were refused in the same words" if alike > 1 else "the only feature was refused"
    return EndpointConfigError(
        f"{told}, and none was answered: {result.reason}",
        "fix the cause, then repeat the command: nothing of it is stored",
    )
