"""SAQ: a list of job ids, and a key a job."""

import asyncio
from collections.abc import Sequence
from importlib.metadata import version

from redis.asyncio import Redis
from saq import Worker  # type: ignore[import-not-found]
from saq.queue.redis import RedisQueue  # type: ignore[import-not-found]

from benchmarks.contestants.jobs.interface import JobCase, note

CONCURRENCY = 100
"""Its default is 10. Each waits for jobs on a connection of its own."""
TOGETHER = 1_000
"""How many calls are under way at a time; the queue itself lets 20 of them pass (``max_concurrent_ops``)."""


def create(case: JobCase) -> "Saq":
    """Return the contestant."""
    return Saq(case)


async def tick(ctx: dict[str, object], *, index: int) -> None:
    """Note the run."""
    note(index)


class Saq:
    """One queue, and one worker on it."""

    def __init__(self, case: JobCase) -> None:
        self._url = case.redis_url
        self._queue: RedisQueue

    async def open(self) -> None:
        """Connect."""
        self._queue = RedisQueue(Redis.from_url(self._url))
        await self._queue.connect()

    async def submit(self, indexes: Sequence[int]) -> None:
        """Submit one a call, many calls at a time: there is no other way."""
        for start in range(0, len(indexes), TOGETHER):
            await asyncio.gather(*map(self.submit_one, indexes[start : start + TOGETHER]))

    async def submit_one(self, index: int) -> None:
        """Submit one."""
        await self._queue.enqueue("tick", index=index)

    async def close(self) -> None:
        """Disconnect."""
        await self._queue.disconnect()

    def work(self) -> None:
        """Run a worker."""

        async def run() -> None:
            await self.open()
            await Worker(self._queue, [tick], concurrency=CONCURRENCY).start()

        asyncio.run(run())

    def facts(self) -> dict[str, str]:
        """Return versions and settings."""
        return {
            "version": version("saq"),
            "client": f"redis-py {version('redis')}",
            "set": f"concurrency {CONCURRENCY}; submits {TOGETHER} calls at a time",
        }
