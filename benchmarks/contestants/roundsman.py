"""Roundsman itself: the whole program but for its HTTP server, with default settings."""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.contestants import roundsman_jobs
from benchmarks.contestants.interface import Case, Recorder
from domain.scheduling.descriptor import RecurrentTaskDescriptor
from domain.scheduling.policy import SchedulePolicy
from infrastructure.garbage import lasting_objects_spared
from infrastructure.program import Program
from infrastructure.settings import Settings

JOBS = "benchmarks.contestants.roundsman_jobs"


def create(case: Case, recorder: Recorder) -> "Roundsman":
    """Return the contestant."""
    return Roundsman(case, recorder)


class Roundsman:
    """Claims, leases, injection of one dependency, events, the monitoring of this machine: all as delivered."""

    def __init__(self, case: Case, recorder: Recorder) -> None:
        roundsman_jobs.RECORDER = recorder
        self._interval_s = case.interval_ms / 1000
        settings = {
            "data_dir": str(Path(case.rows_file).parent / "data"),
            "store": {"redis_url": case.redis_url},
            "background_jobs": {"modules": [JOBS], "containers": [f"{JOBS}:BenchmarkContainer"]},
            **self.sections(),
        }
        self._stack = ExitStack()
        self._program = Program(Settings.model_validate(settings))

    def sections(self) -> dict[str, Any]:
        """Return settings beside the defaults."""
        return {}

    async def open(self) -> None:
        """Connect."""
        await self._program.open()

    async def add(self, first_due_ms: Sequence[int]) -> None:
        """Schedule all through the bus, concurrently."""
        bus = self._program.container.scheduling.bus()
        await asyncio.gather(*(bus.schedule_task(self._descriptor(i, due)) for i, due in enumerate(first_due_ms)))

    def _descriptor(self, index: int, first_due_ms: int) -> RecurrentTaskDescriptor:
        return RecurrentTaskDescriptor(
            id=f"s{index}",
            name="Tick",
            data={"index": index},
            interval=self._interval_s,
            policy=SchedulePolicy(start=datetime.fromtimestamp(first_due_ms / 1000, UTC)),
        )

    async def start(self) -> None:
        """Start all services, as ``roundsman run`` does."""
        await self._program.start()
        self._stack.enter_context(lasting_objects_spared())

    async def stop(self) -> None:
        """Stop them."""
        self._stack.close()
        await self._program.stop()

    def facts(self) -> dict[str, str]:
        """Return versions and settings."""
        jobs = self._program.settings.background_jobs
        return {
            "version": version("roundsman"),
            "redis-py": version("redis"),
            "set": f"defaults (concurrency {jobs.concurrency}, lease {jobs.lease_s:g} s)",
        }
