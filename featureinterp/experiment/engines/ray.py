"""Engine of a Ray cluster: units are tasks of actors with separate models.

Ray starts a lost actor again and gives it its tasks once more; results return to the one process that stores them.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

from featureinterp.chat import Usage
from featureinterp.errors import FeatureInterpError, InputError, WorkerError
from featureinterp.experiment.engines.worker import Done, Job, Worker
from featureinterp.experiment.method.access import ModelAccess
from featureinterp.experiment.method.methods import Models
from featureinterp.experiment.sweep import OnUnit, Unit

MAX_RESTARTS = 3
"""Number of restarts of an actor, and of retries of each of its tasks."""


class RayEngine:
    """Engine of Ray actors; a context manager that ends them, and the cluster if started here."""

    def __init__(self, jobs: Mapping[str, Job], access: ModelAccess, n_actors: int, address: str = "") -> None:
        """Connect to a cluster, or start one on this machine.

        Args:
            jobs: the runs to work on, by name; their data folders must be where the actors run, under the same path.
            access: language model access of each actor.
            n_actors: number of actors; each takes one core, and an even share of the cluster's GPUs (at most one).
            address: address of the cluster, such as `ray://head:10001`; empty to start one.

        Raises:
            InputError: if Ray is not installed, or no cluster is at the address.
        """
        try:
            import ray
            import ray.exceptions
        except ImportError as error:
            raise InputError("Ray is not installed", "pip install 'featureinterp[ray]'") from error
        self._ray: Any = ray
        self._started_here = not ray.is_initialized()
        if self._started_here:
            _connect(ray, address, n_actors)
        n_gpus = ray.cluster_resources().get("GPU", 0.0) / n_actors
        remote: Any = ray.remote(_Actor)
        actor = remote.options(
            max_restarts=MAX_RESTARTS, max_task_retries=MAX_RESTARTS, num_cpus=1, num_gpus=min(1.0, n_gpus)
        )
        self._spent = access.spent
        self._actors: list[Any] = [actor.remote(dict(jobs), access) for _ in range(n_actors)]

    def __enter__(self) -> RayEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for actor in self._actors:
            self._ray.kill(actor)
        if self._started_here:
            self._ray.shutdown()

    @property
    def spent(self) -> Usage:
        """Spending of all finished units on language models, and of earlier runs of the same command."""
        return self._spent

    async def run(self, units: Iterator[Unit], on_result: OnUnit) -> None:
        """Execute every unit; as `Engine.run`. Blocks the event loop."""
        at_once = self._get(self._actors[0].at_once.remote())
        room = [actor for actor in self._actors for _ in range(at_once)]
        busy: dict[Any, tuple[Unit, Any]] = {}
        while True:
            while room and (unit := next(units, None)):
                actor = room.pop(0)
                busy[actor.report.remote(unit)] = unit, actor
            if not busy:
                return
            (ready, *_), _ = self._ray.wait(list(busy))
            unit, actor = busy.pop(ready)
            done: Done = self._get(ready)
            self._spent += done.spent
            on_result(unit, done.result())
            room.append(actor)

    def _get(self, reference: Any) -> Any:  # noqa: ANN401 - what a task returned
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, FeatureInterpError):
                raise error.cause from error
            raise
        except self._ray.exceptions.RayError as error:
            told = str(error).strip().partition("\n")[0]
            raise WorkerError(f"an actor of the Ray cluster was lost {MAX_RESTARTS + 1} times: {told}") from error


class _Actor:
    """A worker on the cluster."""

    def __init__(self, jobs: Mapping[str, Job], access: ModelAccess) -> None:
        self._worker = Worker(jobs, Models(access))

    async def at_once(self) -> int:
        return self._worker.at_once

    async def report(self, unit: Unit) -> Done:
        return await self._worker.report(unit)


def _connect(ray: Any, address: str, n_actors: int) -> None:  # noqa: ANN401 - the module, imported late
    """Connect to the cluster at an address, or start one on this machine.

    Raises:
        InputError: if no cluster is there.
    """
    quiet = {"log_to_driver": False, "logging_level": "ERROR", "include_dashboard": False}
    if not address:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(address="local", num_cpus=n_actors, **quiet)
        return
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    try:
        if colon and port.isdigit():
            socket.create_connection((host, int(port)), timeout=10).close()  # Ray itself would try for minutes
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (OSError, ValueError, RuntimeError) as error:
        told = str(error).strip().partition("\n")[0]
        raise InputError(
            f"no Ray cluster answers at {address}: {told}",
            "`ray start --head` starts one; leave --address out for none",
        ) from error
