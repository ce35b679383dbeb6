"""Engine selection, and the engine of a single process.

All engines give the same results and the same spending; only the order in which units finish differs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from featureinterp.chat import Usage
from featureinterp.errors import InputError, check_numbers
from featureinterp.experiment.engines.worker import Job, Worker, n_cores
from featureinterp.experiment.method.access import MOST_AT_ONCE, ModelAccess
from featureinterp.experiment.method.methods import Models
from featureinterp.experiment.sweep import Engine, OnUnit, Unit
from featureinterp.registry import Registry, make

ENGINES = Registry(
    "engine",
    {
        "local": "featureinterp.experiment.engines.processes:ProcessEngine",
        "ray": "featureinterp.experiment.engines.ray:RayEngine",
    },
)
"""Engines of several workers, called as `f(jobs, access, n_workers)`, and with `address` where they name it."""


@dataclass(frozen=True)
class EngineSpec:
    """Engine settings; they do not affect results."""

    kind: Literal["local", "ray"] = "local"
    """Engine: this machine, or a Ray cluster (needs the extra ray)."""
    workers: int | None = None
    """Worker processes or Ray actors (unset: one per core; 1 with a large model or a language model endpoint)."""
    address: str = ""
    """Address of a Ray cluster, such as auto (default: start one)."""

    def __post_init__(self) -> None:
        ENGINES.check(self.kind)
        check_numbers(self, workers=(1, MOST_AT_ONCE))
        if self.address and self.kind != "ray":
            raise InputError(f"the address {self.address} is that of a Ray cluster", "give --engine ray with it")


class Check(Protocol):
    """Interface: check what the units of a sweep rely on, before the first of them."""

    async def make(self, models: Models, *, local: bool) -> None:
        """Make the check; where `local` is false no local model may be loaded: several workers have their own."""
        ...


@asynccontextmanager
async def open_engine(
    spec: EngineSpec, jobs: Mapping[str, Job], access: ModelAccess, check: Check | None = None
) -> AsyncIterator[Engine]:
    """Open the engine of a specification; a context manager that ends its workers and models.

    Args:
        spec: engine and number of workers.
        jobs: the runs to work on, by name.
        access: language model access; several workers share its limits evenly.
        check: made here before the engine is opened; what it spends counts.

    Raises:
        InputError: if Ray is selected and not installed, or no cluster is at the address.
    """
    n_workers = spec.workers or (n_cores() if all(job.light for job in jobs.values()) else 1)
    several = spec.kind != "local" or n_workers > 1
    async with Models(access) as models:
        if check is not None:
            await check.make(models, local=not several)
        if not several:
            yield TaskEngine(jobs, models)
            return
    given = (jobs, shared_out(replace(access, spent=models.spent), n_workers), n_workers)
    with make(ENGINES.load(spec.kind), *given, address=spec.address) as engine:
        yield engine


def shared_out(access: ModelAccess, n: int) -> ModelAccess:
    """Split what is left of the limits, and the concurrency, evenly among `n` workers.

    Every worker starts from the spending of earlier runs, so its limits are that spending and its share of the rest.
    """
    limits, spent = access.limits, access.spent
    cost, tokens, used = limits.max_cost, limits.max_tokens, spent.input_tokens + spent.output_tokens
    if cost is not None and cost > spent.cost:
        cost = spent.cost + (cost - spent.cost) / n
    if tokens is not None and tokens > used:
        tokens = used + max(1, (tokens - used) // n)
    limits = replace(limits, max_cost=cost, max_tokens=tokens)
    return replace(access, limits=limits, concurrency=max(1, access.concurrency // n))


class TaskEngine:
    """Engine in this process; concurrent while waiting for a language model."""

    def __init__(self, jobs: Mapping[str, Job], models: Models) -> None:
        self._worker = Worker(jobs, models)
        self._models = models

    @property
    def spent(self) -> Usage:
        """Spending on language models."""
        return self._models.spent

    async def run(self, units: Iterator[Unit], on_result: OnUnit) -> None:
        """Execute every unit; as `Engine.run`."""

        async def work() -> None:
            for unit in units:
                on_result(unit, await self._worker.do(unit))

        at_once = self._worker.at_once
        if at_once == 1:
            return await work()
        tasks = [asyncio.create_task(work()) for _ in range(at_once)]
        try:
            await asyncio.gather(*tasks)
        finally:  # an error of one ends the others where they wait
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
