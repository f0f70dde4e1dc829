"""Roundsman itself, with default settings: role ``api`` where jobs are submitted, ``all`` where they run."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

from application.jobs.service import MOST_AT_ONCE, JobService
from application.jobs.store import JobFilter
from benchmarks.contestants.jobs.interface import JobCase
from domain.errors import RoundsmanError
from domain.jobs.request import JobRequest
from infrastructure.garbage import lasting_objects_spared
from infrastructure.program import Program
from infrastructure.settings import Settings

JOBS = "benchmarks.contestants.jobs.roundsman_job"


def create(case: JobCase) -> "Roundsman":
    """Return the contestant."""
    return Roundsman(case)


class Roundsman:
    """Claims, leases, statuses, events, the monitoring of this machine: all as delivered, but for the HTTP server."""

    def __init__(self, case: JobCase) -> None:
        settings = {
            "data_dir": str(Path(case.board_file).parent / "data"),
            "store": {"redis_url": case.redis_url},
            "background_jobs": {"modules": [JOBS]},
        }
        self._program = Program(Settings.model_validate(settings), role="api" if case.role == "submit" else "all")
        self._stack = ExitStack()

    @property
    def _service(self) -> JobService:
        service: JobService = self._program.container.jobs.service()
        return service

    async def open(self) -> None:
        """Start, as ``roundsman run`` does, and wait for what opens beside it: that loads libraries for a while."""
        await self._program.start()
        if (history := self._program.container.jobs.history_part()) is not None:
            await history.connection.database()
        self._stack.enter_context(lasting_objects_spared())

    async def submit(self, indexes: Sequence[int]) -> None:
        """Submit in bulk, as many a call as it takes."""
        await self._submit([JobRequest(task="Tick", params={"index": index}) for index in indexes])

    async def submit_with_keys(self, first: int, count: int) -> int:
        """Submit in bulk, each job with an idempotency key; return how many were accepted."""
        keys = [f"order-{index:08d}" for index in range(first, first + count)]
        await self._submit(
            [JobRequest(task="Tick", params={"index": i}, idempotency_key=key) for i, key in enumerate(keys, first)]
        )
        return count

    async def _submit(self, requests: Sequence[JobRequest]) -> None:
        for start in range(0, len(requests), MOST_AT_ONCE):
            answers = await self._service.submit_many(requests[start : start + MOST_AT_ONCE])
            refused = [answer for answer in answers if isinstance(answer, RoundsmanError)]
            if refused:
                raise refused[0]

    async def submit_one(self, index: int) -> None:
        """Submit one."""
        await self._service.submit(JobRequest(task="Tick", params={"index": index}))

    async def look(self, rounds: int) -> dict[str, list[float]]:
        """Return how long it takes to look at all that is queued, and to cancel one: s, again and again."""
        runs = self._program.container.scheduling.runs()
        page = await self._service.list(JobFilter(), 50)
        unfound = JobFilter(correlation_id="nobody's")
        cancelled = iter([job.id for job in page.items][:rounds])
        return {
            "a page of 50": await _timed(rounds, lambda: self._service.list(JobFilter(), 50)),
            "the page after": await _timed(rounds, lambda: self._service.list(JobFilter(), 50, page.next_cursor or "")),
            "a page of a search that finds nothing": await _timed(rounds, lambda: self._service.list(unfound, 50)),
            "counts of all queues": await _timed(rounds, lambda: runs.queue_stats([])),
            "one job": await _timed(rounds, lambda: self._service.get(page.items[-1].id)),
            "a cancel": await _timed(min(rounds, 50), lambda: self._service.cancel(next(cancelled))),
        }

    async def close(self) -> None:
        """Stop."""
        self._stack.close()
        await self._program.stop()

    def work(self) -> None:
        """Run the program until the process is ended."""

        async def run() -> None:
            await self.open()
            await asyncio.Event().wait()

        asyncio.run(run())

    def facts(self) -> dict[str, str]:
        """Return versions and settings."""
        jobs = self._program.settings.background_jobs
        return {
            "version": version("roundsman"),
            "client": f"redis-py {version('redis')}",
            "set": f"defaults (concurrency {jobs.concurrency}, lease {jobs.lease_s:g} s); "
            f"submits with submit_many, {MOST_AT_ONCE:,} a call",
        }


async def _timed(rounds: int, call: Callable[[], Awaitable[Any]]) -> list[float]:
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        await call()
        taken.append(time.perf_counter() - began)
    return taken
