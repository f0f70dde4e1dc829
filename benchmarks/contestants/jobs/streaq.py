"""streaq: a stream of ids, a key a task, both read in batches."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from importlib.metadata import version

from streaq import Worker  # type: ignore[import-not-found]

from benchmarks.contestants.jobs.interface import JobCase, note

CONCURRENCY = 100
"""Its default is 16; it fetches as many ahead."""
TOGETHER = 1_000
"""How many go into one pipeline."""


def create(case: JobCase) -> "Streaq":
    """Return the contestant."""
    return Streaq(case)


async def tick(index: int) -> None:
    """Note the run."""
    note(index)


class Streaq:
    """One worker object, at both ends."""

    def __init__(self, case: JobCase) -> None:
        self._worker = Worker(redis_url=case.redis_url, concurrency=CONCURRENCY)
        self._tick = self._worker.task(tick)
        self._stack = AsyncExitStack()

    async def open(self) -> None:
        """Connect."""
        await self._stack.enter_async_context(self._worker)

    async def submit(self, indexes: Sequence[int]) -> None:
        """Submit in pipelines."""
        for start in range(0, len(indexes), TOGETHER):
            part = indexes[start : start + TOGETHER]
            await self._worker.enqueue_many([self._tick.enqueue(index) for index in part])

    async def submit_one(self, index: int) -> None:
        """Submit one."""
        await self._tick.enqueue(index)

    async def close(self) -> None:
        """Disconnect."""
        await self._stack.aclose()

    def work(self) -> None:
        """Run the worker."""
        self._worker.run_sync()

    def facts(self) -> dict[str, str]:
        """Return versions and settings."""
        return {
            "version": version("streaq"),
            "client": f"coredis {version('coredis')}",
            "set": f"concurrency {CONCURRENCY}; submits with enqueue_many, {TOGETHER} a pipeline",
        }
