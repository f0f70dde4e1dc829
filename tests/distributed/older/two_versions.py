"""The job module of an older program; the newer one lies beside it, under the same name."""

import asyncio

from ledger_jobs import Container, Ledger

from application.scheduling import Injected, JobContext, RecurrentBackgroundJob, ScheduledBackgroundJob, backgroundjob

__all__ = ["Container", "Count", "CountOnce", "CountSlowly"]


@backgroundjob(task_type="recurrent")
class Count(RecurrentBackgroundJob):
    """Write down each run."""

    ledger: Injected[Ledger]

    async def run_every(self, ctx: JobContext) -> None:
        self.ledger.write("older", ctx)


@backgroundjob(task_type="scheduled")
class CountOnce(ScheduledBackgroundJob):
    """Write down the one run."""

    ledger: Injected[Ledger]

    async def run_at(self, ctx: JobContext) -> None:
        self.ledger.write("older", ctx)


@backgroundjob(task_type="recurrent")
class CountSlowly(RecurrentBackgroundJob):
    """Write down that a run began; it does not end by itself."""

    ledger: Injected[Ledger]

    async def run_every(self, ctx: JobContext) -> None:
        self.ledger.write("older", ctx)
        await asyncio.Event().wait()
