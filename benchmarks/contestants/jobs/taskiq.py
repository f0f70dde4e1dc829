"""taskiq with taskiq-redis: a stream whose messages are acknowledged, and results that are kept."""

import asyncio
from collections.abc import Sequence
from importlib.metadata import version

from taskiq import AsyncBroker  # type: ignore[import-not-found]
from taskiq.api import run_receiver_task  # type: ignore[import-not-found]
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker  # type: ignore[import-not-found]

from benchmarks.contestants.jobs.interface import JobCase, note

CONNECTIONS = 100
TASKS = 100
"""Its default."""
PREFETCH = 100
"""Its default is none."""
RESULTS_S = 3600
TOGETHER = 100
"""How many are submitted at a time, each on a connection."""


def create(case: JobCase) -> "Taskiq":
    """Return the contestant."""
    broker = RedisStreamBroker(case.redis_url, max_connection_pool_size=CONNECTIONS)
    results = RedisAsyncResultBackend(case.redis_url, result_ex_time=RESULTS_S, max_connection_pool_size=CONNECTIONS)
    return Taskiq(broker.with_result_backend(results), f"stream, results kept for {RESULTS_S} s")


async def tick(index: int) -> None:
    """Note the run."""
    note(index)


class Taskiq:
    """One broker, at both ends."""

    def __init__(self, broker: AsyncBroker, kind: str) -> None:
        self._broker = broker
        self._kind = kind
        self._tick = broker.register_task(tick, task_name="tick")

    async def open(self) -> None:
        """Connect."""
        await self._broker.startup()

    async def submit(self, indexes: Sequence[int]) -> None:
        """Submit one a call, some calls at a time: there is no other way."""
        for start in range(0, len(indexes), TOGETHER):
            await asyncio.gather(*map(self.submit_one, indexes[start : start + TOGETHER]))

    async def submit_one(self, index: int) -> None:
        """Submit one."""
        await self._tick.kiq(index)

    async def close(self) -> None:
        """Disconnect."""
        await self._broker.shutdown()

    def work(self) -> None:
        """Run a receiver."""
        receiving = run_receiver_task(self._broker, max_async_tasks=TASKS, max_prefetch=PREFETCH, run_startup=True)
        asyncio.run(receiving)

    def facts(self) -> dict[str, str]:
        """Return versions and settings."""
        return {
            "version": f"{version('taskiq')} with taskiq-redis {version('taskiq-redis')}",
            "client": f"redis-py {version('redis')}",
            "set": f"{self._kind}; max_async_tasks {TASKS}, max_prefetch {PREFETCH}; "
            f"submits {TOGETHER} calls at a time",
        }
