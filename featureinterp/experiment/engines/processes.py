"""Engine of several local processes: one unit at a time each, with separate models.

A process that dies (out of memory, killed) is replaced and its unit executed again.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType

from featureinterp.chat import Usage
from featureinterp.display import make_log_lines_visible
from featureinterp.errors import WorkerError
from featureinterp.experiment.engines.worker import Done, Job, Worker, n_cores
from featureinterp.experiment.method.access import ModelAccess
from featureinterp.experiment.method.methods import Models
from featureinterp.experiment.sweep import OnUnit, Unit

MAX_DEATHS = 3
"""Consecutive deaths of processes at which the work ends."""


@dataclass(frozen=True)
class _Process:
    """A worker process and the parent's end of its pipe."""

    process: BaseProcess
    pipe: Connection


class ProcessEngine:
    """Engine of local processes; a context manager that ends them."""

    def __init__(self, jobs: Mapping[str, Job], access: ModelAccess, n_processes: int) -> None:
        self._what = (dict(jobs), access, max(1, n_cores() // n_processes))
        self._n_processes = n_processes
        self._spent = access.spent
        self._idle: list[_Process] = []

    def __enter__(self) -> ProcessEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for each in self._idle:
            each.pipe.close()  # a process ends when its pipe is closed
            each.process.join()
        self._idle.clear()

    @property
    def spent(self) -> Usage:
        """Spending of all finished units on language models, and of earlier runs of the same command."""
        return self._spent

    async def run(self, units: Iterator[Unit], on_result: OnUnit) -> None:
        """Execute every unit; as `Engine.run`. Blocks the event loop."""
        busy: dict[_Process, Unit] = {}
        again: deque[Unit] = deque()
        deaths = 0
        try:
            while True:
                while len(busy) < self._n_processes and (unit := again.popleft() if again else next(units, None)):
                    busy[self._give(unit)] = unit
                if not busy:
                    return
                ready = wait([each.pipe for each in busy])
                for each in [each for each in busy if each.pipe in ready]:
                    unit, done = busy.pop(each), _received(each)
                    if done is None:
                        deaths += 1
                        if deaths == MAX_DEATHS:
                            raise WorkerError(f"{deaths} processes died one after the other, the last over {unit.key}")
                        again.append(unit)
                        continue
                    deaths = 0
                    self._idle.append(each)
                    self._spent += done.spent
                    on_result(unit, done.result())
        finally:
            for each in busy:
                each.process.kill()
                each.process.join()

    def _give(self, unit: Unit) -> _Process:
        """Send a unit to an idle process, or to a new one."""
        while self._idle:
            each = self._idle.pop()
            try:
                each.pipe.send(unit)
            except ConnectionError:  # it died while idle
                each.process.join()
            else:
                return each
        context = multiprocessing.get_context("spawn")
        ours, its = context.Pipe()
        process = context.Process(target=_serve, args=(its, *self._what), daemon=True)
        process.start()
        its.close()
        ours.send(unit)
        return _Process(process, ours)


def _received(each: _Process) -> Done | None:
    """Return a process's executed unit; None if it died."""
    try:
        return each.pipe.recv()
    except (EOFError, ConnectionError):
        each.process.join()
        return None


def _serve(pipe: Connection, jobs: Mapping[str, Job], access: ModelAccess, n_threads: int) -> None:
    """Execute units from a pipe until it is closed; main function of a worker process."""
    make_log_lines_visible()
    _limit_threads(n_threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted, and ends this one
    asyncio.run(_serve_units(pipe, jobs, access))


def _limit_threads(n_threads: int) -> None:
    """Limit torch to so many threads, without loading it: most work over existing records does not need it."""
    os.environ["OMP_NUM_THREADS"] = str(n_threads)  # read when torch is loaded
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(n_threads)


async def _serve_units(pipe: Connection, jobs: Mapping[str, Job], access: ModelAccess) -> None:
    async with Models(access) as models:
        worker = Worker(jobs, models)
        while True:
            try:
                unit = pipe.recv()
            except (EOFError, ConnectionError):
                return
            done = await worker.report(unit)
            try:
                pipe.send(done)
            except ConnectionError:
                return
