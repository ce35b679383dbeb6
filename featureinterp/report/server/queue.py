"""One thread in which models compute, and a bounded queue in front of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import TypeVar

from featureinterp.report.server.limits import RefusalError

T = TypeVar("T")
QueuedCall = Callable[[], Coroutine[None, None, T]]


class ClientGoneError(Exception):
    """Raised when the client has disconnected."""


class ModelQueue:
    """Runs jobs one at a time, in order of arrival, in a thread with its own event loop.

    Pages are served from another thread, so they respond while a model computes; connections to language models
    belong to the loop shared by all jobs.
    """

    def __init__(self, most_waiting: int, most_seconds: float) -> None:
        self._most_waiting = most_waiting
        self._most_seconds = most_seconds
        self._turn = asyncio.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="models", daemon=True)
        self._thread.start()
        self._inside = 0

    async def run(self, job: QueuedCall[T], gone: Callable[[], Awaitable[None]]) -> T:
        """Run a job in its turn, and return its result.

        Args:
            job: creates the coroutine to run in the models' thread.
            gone: returns when the client has disconnected; a job that has not begun is then dropped, a running one is
                cancelled: it sends no further request, and stops after the current batch.

        Raises:
            RefusalError: 503, if too many are waiting; 504, if the job takes too long and is cancelled.
            ClientGoneError: if the client has disconnected.
        """
        if self._inside > self._most_waiting:
            told = f"{self._most_waiting} requests wait for the model already"
            raise RefusalError(503, told, "try again in a few seconds", retry_after=2)
        self._inside += 1
        work, left = asyncio.create_task(self._in_turn(job)), asyncio.ensure_future(gone())
        try:
            await asyncio.wait((work, left), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            raise ClientGoneError
        finally:
            for task in (work, left):
                task.cancel()
            await asyncio.gather(work, left, return_exceptions=True)
            self._inside -= 1

    async def _in_turn(self, job: QueuedCall[T]) -> T:
        async with self._turn:
            work = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(job(), self._loop))
            try:
                return await asyncio.wait_for(work, self._most_seconds)
            except asyncio.TimeoutError as error:
                told = f"the model did not answer within {self._most_seconds:g} seconds"
                raise RefusalError(504, told, "ask about fewer or shorter rules") from error

    def close(self, last: QueuedCall[None]) -> None:
        """Run a last job and end the thread; waits at most five seconds for a running computation."""
        future = asyncio.run_coroutine_threadsafe(last(), self._loop)
        future.add_done_callback(lambda _: self._loop.call_soon_threadsafe(self._loop.stop))
        self._thread.join(timeout=5)
        if not self._thread.is_alive():
            self._loop.close()
