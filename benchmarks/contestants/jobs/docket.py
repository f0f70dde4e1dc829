"""docket: a stream, and a hash a task."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from importlib.metadata import version

from docket import Docket, Worker  # type: ignore[import-not-found]

from benchmarks.contestants.jobs.interface import JobCase, note

CONCURRENCY = 80
"""docket's default is 10. Each task in hand may take a connection, and redis-py's pool has 100."""
RESOLUTION = timedelta(milliseconds=10)
"""How often it looks for what is due, and for free slots; its default is 250 ms."""


def create(case: JobCase) -> "DocketContestant":
    """Return the contestant."""
    return DocketContestant(case)


async def tick(index: int) -> None:
    """Note the run."""
    note(index)


class DocketContestant:
    """One docket, at both ends."""

    def __init__(self, case: JobCase) -> None:
        self._docket = Docket(name="benchmark", url=case.redis_url)
        self._stack = AsyncExitStack()

    async def open(self) -> None:
        """Connect."""
        await self._stack.enter_async_context(self._docket)
        self._docket.register(tick)

    async def submit(self, indexes: Sequence[int]) -> None:
        """Submit in the pipelines that it makes itself, of 1,000."""
        await self._docket.add_many([self._docket.call(tick)(index) for index in indexes])

    async def submit_one(self, index: int) -> None:
        """Submit one."""
        await self._docket.add(tick)(index)

    async def close(self) -> None:
        """Disconnect."""
        await self._stack.aclose()

    def work(self) -> None:
        """Run a worker."""

        async def run() -> None:
            await self.open()
            async with Worker(
                self._docket,
                concurrency=CONCURRENCY,
                minimum_check_interval=RESOLUTION,
                scheduling_resolution=RESOLUTION,
            ) as worker:
                await worker.run_forever()

        asyncio.run(run())

    def facts(self) -> dict[str, str]:
        """Return versions and settings."""
        resolution = f"{RESOLUTION.total_seconds() * 1000:.0f} ms"
        return {
            "version": version("pydocket"),
            "client": f"redis-py {version('redis')}",
            "set": f"concurrency {CONCURRENCY}, scheduling resolution and check interval {resolution}; "
            "submits with add_many",
        }
