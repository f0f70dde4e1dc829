"""docket: a perpetual task a schedule, which names its next time itself."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

from docket import CurrentExecution, Docket, Execution, Perpetual, Worker  # type: ignore[import-not-found]

from benchmarks.contestants.interface import Case, Recorder

RECORDER = Recorder()
CONCURRENCY = 80
"""docket's default is 10. Each task in hand may take a connection, and redis-py's pool has 100."""
RESOLUTION = timedelta(milliseconds=10)
"""How often it looks for what is due, and for free slots; its default of 250 ms is longer than what counts as late."""
ADDING = 64
"""How many are added at a time: more would open a connection each."""


def create(case: Case, recorder: Recorder) -> "DocketContestant":
    """Return the contestant."""
    global RECORDER  # a task is a plain function, and its arguments travel through Redis
    RECORDER = recorder
    return DocketContestant(case)


async def tick(
    index: int,
    every_s: float,
    execution: Execution = CurrentExecution(),  # noqa: B008 - docket's way to inject
    perpetual: Perpetual = Perpetual(),  # noqa: B008
) -> None:
    """Do nothing, say when, and keep to the rhythm: ``Perpetual(every=...)`` alone would wait after each run."""
    RECORDER.record(index, execution.when.timestamp())
    perpetual.at(execution.when + timedelta(seconds=every_s))


class DocketContestant:
    """One docket and one worker in this process."""

    def __init__(self, case: Case) -> None:
        self._every_s = case.interval_ms / 1000
        self._docket = Docket(name="benchmark", url=case.redis_url)
        self._stack = AsyncExitStack()

    async def open(self) -> None:
        """Connect."""
        await self._stack.enter_async_context(self._docket)
        self._docket.register(tick)

    async def add(self, first_due_ms: Sequence[int]) -> None:
        """Add all, some at a time."""
        slots = asyncio.Semaphore(ADDING)

        async def add_one(index: int, due: int) -> None:
            async with slots:
                when = datetime.fromtimestamp(due / 1000, UTC)
                await self._docket.add(tick, when=when, key=f"s{index}")(index, self._every_s)

        await asyncio.gather(*(add_one(index, due) for index, due in enumerate(first_due_ms)))

    async def start(self) -> None:
        """Run a worker."""
        worker = Worker(
            self._docket,
            concurrency=CONCURRENCY,
            minimum_check_interval=RESOLUTION,
            scheduling_resolution=RESOLUTION,
        )
        await self._stack.enter_async_context(worker)
        self._running = asyncio.create_task(worker.run_forever())

    async def stop(self) -> None:
        """Stop the worker and disconnect."""
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        await self._stack.aclose()

    def facts(self) -> dict[str, str]:
        """Return versions and settings."""
        resolution = f"{RESOLUTION.total_seconds() * 1000:.0f} ms"
        return {
            "version": version("pydocket"),
            "redis-py": version("redis"),
            "set": f"concurrency {CONCURRENCY}, scheduling resolution and check interval {resolution}",
        }
