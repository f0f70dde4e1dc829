"""arq: jobs in a sorted set that the worker polls."""

import asyncio
from collections.abc import Sequence
from importlib.metadata import version

from arq.connections import ArqRedis, RedisSettings, create_pool  # type: ignore[import-not-found]
from arq.worker import Worker  # type: ignore[import-not-found]

from benchmarks.contestants.jobs.interface import JobCase, note

MAX_JOBS = 100
"""Its default is 10. It reads five times as many at each look at the queue."""
POLL_S = 0.01
"""How often it looks; its default of 0.5 s would bound both rate and latency."""
TOGETHER = 50
"""How many are submitted at a time: each call takes a connection."""


def create(case: JobCase) -> "Arq":
    """Return the contestant."""
    return Arq(case)


async def tick(ctx: dict[str, object], index: int) -> None:
    """Note the run."""
    note(index)


class Arq:
    """One pool, or one worker."""

    def __init__(self, case: JobCase) -> None:
        self._settings = RedisSettings.from_dsn(case.redis_url)
        self._pool: ArqRedis

    async def open(self) -> None:
        """Connect."""
        self._pool = await create_pool(self._settings)

    async def submit(self, indexes: Sequence[int]) -> None:
        """Submit one a call, some calls at a time: there is no other way."""
        for start in range(0, len(indexes), TOGETHER):
            await asyncio.gather(*map(self.submit_one, indexes[start : start + TOGETHER]))

    async def submit_one(self, index: int) -> None:
        """Submit one."""
        await self._pool.enqueue_job("tick", index)

    async def close(self) -> None:
        """Disconnect."""
        await self._pool.aclose()

    def work(self) -> None:
        """Run a worker."""

        async def run() -> None:
            worker = Worker([tick], redis_settings=self._settings, max_jobs=MAX_JOBS, poll_delay=POLL_S)
            await worker.async_run()

        asyncio.run(run())

    def facts(self) -> dict[str, str]:
        """Return versions and settings."""
        return {
            "version": version("arq"),
            "client": f"redis-py {version('redis')}",
            "set": f"max_jobs {MAX_JOBS}, poll_delay {POLL_S * 1000:.0f} ms; submits {TOGETHER} calls at a time",
        }
