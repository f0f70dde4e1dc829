"""dramatiq: threads, and an event loop of their own for async actors."""

import threading
from collections.abc import Sequence
from importlib.metadata import version

import dramatiq  # type: ignore[import-not-found]
from dramatiq.brokers.redis import RedisBroker  # type: ignore[import-not-found]
from dramatiq.middleware import AsyncIO  # type: ignore[import-not-found]

from benchmarks.contestants.jobs.interface import JobCase, note

THREADS = 8
"""Its default."""


def create(case: JobCase) -> "Dramatiq":
    """Return the contestant."""
    return Dramatiq(case)


async def tick(index: int) -> None:
    """Note the run."""
    note(index)


class Dramatiq:
    """One broker, at both ends; its calls block, and nothing else is to be done meanwhile."""

    def __init__(self, case: JobCase) -> None:
        self._broker = RedisBroker(url=case.redis_url)
        self._broker.add_middleware(AsyncIO())
        self._tick = dramatiq.actor(tick, broker=self._broker)

    async def open(self) -> None:
        """Do nothing: it connects by itself."""

    async def submit(self, indexes: Sequence[int]) -> None:
        """Submit one a call: there is no other way."""
        for index in indexes:
            self._tick.send(index)

    async def submit_one(self, index: int) -> None:
        """Submit one."""
        self._tick.send(index)

    async def close(self) -> None:
        """Disconnect."""
        self._broker.close()

    def work(self) -> None:
        """Run one worker with its threads, as its command line does in each process."""
        dramatiq.Worker(self._broker, worker_threads=THREADS).start()
        threading.Event().wait()

    def facts(self) -> dict[str, str]:
        """Return versions and settings."""
        return {
            "version": version("dramatiq"),
            "client": f"redis-py {version('redis')}",
            "set": f"AsyncIO middleware, {THREADS} threads, no results; submits one after another",
        }
