"""The jobs of ``sample_jobs`` as a later version of the program has them."""

from application.scheduling import (
    Injected,
    JobContext,
    RecurrentBackgroundJob,
    ScheduledBackgroundJob,
    backgroundjob,
)
from sample_jobs import Entry, Ledger


@backgroundjob(task_type="recurrent", name="Note", version=2)
class NewerNote(RecurrentBackgroundJob):
    """The same job as a later program has it."""

    ledger: Injected[Ledger]

    async def run_every(self, ctx: JobContext) -> None:
        self.ledger.entries.append(Entry(ctx.run_id, ctx.job_id, ctx.fire_time, ctx.attempt, ctx.missed, "newer"))


@backgroundjob(task_type="scheduled", name="Once", version=2)
class NewerOnce(ScheduledBackgroundJob):
    """The same one-shot as a later program has it."""

    ledger: Injected[Ledger]

    async def run_at(self, ctx: JobContext) -> None:
        self.ledger.entries.append(Entry(ctx.run_id, ctx.job_id, ctx.fire_time, ctx.attempt, ctx.missed, "newer"))
