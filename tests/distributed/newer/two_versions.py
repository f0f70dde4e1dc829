"""The job module of a newer program: its jobs want more data than those of the older one."""

from ledger_jobs import Container, Ledger

from application.scheduling import Injected, JobContext, RecurrentBackgroundJob, ScheduledBackgroundJob, backgroundjob

__all__ = ["Container", "Count", "CountOnce"]


@backgroundjob(task_type="recurrent", version=2)
class Count(RecurrentBackgroundJob):
    """Write down each run, and by how much it counts."""

    step: int
    ledger: Injected[Ledger]

    async def run_every(self, ctx: JobContext) -> None:
        self.ledger.write(f"newer by {self.step}", ctx)


@backgroundjob(task_type="scheduled", version=2)
class CountOnce(ScheduledBackgroundJob):
    """Write down the one run, and by how much it counts."""

    step: int
    ledger: Injected[Ledger]

    async def run_at(self, ctx: JobContext) -> None:
        self.ledger.write(f"newer by {self.step}", ctx)
