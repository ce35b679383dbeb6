"""Worker: executes work units (one feature of one run); opens each run's records and method once per process."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from featureinterp.chat import Usage
from featureinterp.dataset.activations.latent_stats import LatentProfile
from featureinterp.errors import OF_ONE_FEATURE, DamagedFeatureError, FeatureInterpError, RequestFailedError
from featureinterp.experiment.method.methods import Models
from featureinterp.experiment.result import FeatureKey, FeatureResult, FeatureStatus
from featureinterp.experiment.run import FeatureRunParams, Method, explain_feature, shuffled_floor
from featureinterp.experiment.scores.corpus import WholeCorpus
from featureinterp.experiment.sweep import Unit
from featureinterp.record import SAEIndexRecord


@dataclass(frozen=True)
class LatentState:
    """State of a latent before it is explained."""

    status: FeatureStatus | None
    """`dead` or `rare` where it cannot be explained; None where it can."""
    reason: str = ""
    density: float = 0.0
    """Share of the corpus's windows on which it fires, 0..1."""
    max_activation: float = 0.0
    profile: LatentProfile | None = None
    """None where the data folder has none."""


class RecordSource(Protocol):
    """Source of a run's records."""

    def status(self, key: FeatureKey) -> LatentState:
        """Return whether the latent can be explained."""
        ...

    def record(self, key: FeatureKey) -> SAEIndexRecord:
        """Return the records of a live latent."""
        ...


@dataclass(frozen=True)
class OpenRun:
    """An opened run: records source and method."""

    source: RecordSource
    make_method: Callable[[], Method]
    """Called once per feature, so that a simulator's cache ends with it."""
    params: FeatureRunParams = FeatureRunParams()
    corpus: WholeCorpus | None = None
    """Every window, where the simulator costs nothing."""
    at_once: int = 1
    """Number of its features to explain concurrently."""


class Job(Protocol):
    """Serializable description of a run, opened by a worker."""

    @property
    def light(self) -> bool:
        """Whether it suits many processes (no large model, no endpoint)."""
        ...

    def open(self, models: Models) -> OpenRun:
        """Open records and method, over shared models."""
        ...


@dataclass(frozen=True)
class Done:
    """Executed unit, as a worker sends it to its engine."""

    outcome: FeatureResult | FeatureInterpError
    """The error concerns more than the feature."""
    spent: Usage
    """Spending of the worker on language models since the unit before."""

    def result(self) -> FeatureResult:
        """Return the result.

        Raises:
            FeatureInterpError: if the outcome is one.
        """
        if isinstance(self.outcome, FeatureInterpError):
            raise self.outcome
        return self.outcome


class Worker:
    """Worker for the units of several runs."""

    def __init__(self, jobs: Mapping[str, Job], models: Models) -> None:
        self._jobs = jobs
        self._models = models
        self._open: dict[str, OpenRun] = {}
        self._reported = models.spent

    async def report(self, unit: Unit) -> Done:
        """Execute a unit as `do`; an error of ours and the spending are part of what is returned."""
        try:
            outcome = await self.do(unit)
        except FeatureInterpError as error:
            outcome = error
        before, self._reported = self._reported, self._models.spent
        return Done(outcome, self._reported - before)

    async def do(self, unit: Unit) -> FeatureResult:
        """Explain a feature, or compute its shuffled baseline.

        The status is `unfinished` if an endpoint did not answer, `refused` if one rejected every request.

        Raises:
            FeatureInterpError: an error that concerns more than this feature.
        """
        run = self.run(unit.run)
        if unit.floor is None:
            return await explain_key(unit.key, run)
        floor = unit.floor
        try:
            method = run.make_method()
            made = await shuffled_floor(floor.result, floor.explanation, method)
        except RequestFailedError as error:
            return replace(floor.result, status="unfinished", reason=error.problem)
        return replace(made, status="refused") if method.is_refused else made

    @property
    def at_once(self) -> int:
        """Number of concurrent units."""
        return max(self.run(name).at_once for name in self._jobs)

    def run(self, name: str) -> OpenRun:
        """Return an open run."""
        if name not in self._open:
            self._open[name] = self._jobs[name].open(self._models)
        return self._open[name]


async def explain_key(key: FeatureKey, run: OpenRun) -> FeatureResult:
    """Explain one feature; a dead, rare or failed one becomes a result with a reason."""
    known, method = run.source.status(key), run.make_method()
    result = FeatureResult(key, known.status or "failed", known.reason, method.name, method.simulator)
    if known.status is None:
        try:
            result = await explain_feature(run.source.record(key), key, method, run.params, run.corpus)
        except RequestFailedError as error:
            result = replace(result, status="unfinished", reason=error.problem)
        except DamagedFeatureError as error:
            result = replace(result, status="damaged", reason=error.problem)
        except OF_ONE_FEATURE as error:
            result = replace(result, reason=str(error))
    if result.status == "failed" and method.is_refused:
        result = replace(result, status="refused")
    maximum = max(result.max_activation, known.max_activation)
    return replace(result, density=known.density, max_activation=maximum, profile=known.profile, usage=method.usage)


def n_cores() -> int:
    """Return the number of cores available to this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
