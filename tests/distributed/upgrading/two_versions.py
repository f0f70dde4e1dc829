"""The job module of a newer program that can upgrade what the older one stored."""

import asyncio
from typing import Any

from ledger_jobs import Container, Ledger

from application.scheduling import Injected, JobContext, RecurrentBackgroundJob, ScheduledBackgroundJob, backgroundjob

__all__ = ["Container", "Count", "CountOnce", "CountSlowly"]


def with_step(version: int, data: dict[str, Any]) -> dict[str, Any]:
    """Count by one where nothing was said."""
    return {**data, "step": version}


@backgroundjob(task_type="recurrent", version=2)
class Count(RecurrentBackgroundJob):
    """Write down each run, and by how much it counts."""

    step: int
    ledger: Injected[Ledger]

    @classmethod
    def upgrade(cls, version: int, data: dict[str, Any]) -> dict[str, Any]:
        """Add the step."""
        return with_step(version, data)

    async def run_every(self, ctx: JobContext) -> None:
        self.ledger.write(f"newer by {self.step}", ctx)


@backgroundjob(task_type="scheduled", version=2)
class CountOnce(ScheduledBackgroundJob):
    """Write down the one run, and by how much it counts."""

    step: int
    ledger: Injected[Ledger]

    @classmethod
    def upgrade(cls, version: int, data: dict[str, Any]) -> dict[str, Any]:
        """Add the step."""
        return with_step(version, data)

    async def run_at(self, ctx: JobContext) -> None:
        self.ledger.write(f"newer by {self.step}", ctx)


@backgroundjob(task_type="recurrent", version=2)
class CountSlowly(RecurrentBackgroundJob):
    """Write down each run; nothing is slow any more."""

    step: int
    ledger: Injected[Ledger]

    @classmethod
    def upgrade(cls, version: int, data: dict[str, Any]) -> dict[str, Any]:
        """Add the step."""
        return with_step(version, data)

    async def run_every(self, ctx: JobContext) -> None:
        await asyncio.sleep(0)
        self.ledger.write(f"newer by {self.step}", ctx)
