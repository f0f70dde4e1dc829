"""Jobs of several classes whose durations wander, for ``benchmarks.job_estimates``."""

import asyncio

from application.scheduling import JobContext, ScheduledBackgroundJob, backgroundjob

STEPS = 10


@backgroundjob(task_type="scheduled")
class Quick(ScheduledBackgroundJob):
    """Take as long as it is told."""

    takes_s: float

    async def run_at(self) -> None:
        """Sleep."""
        await asyncio.sleep(self.takes_s)


@backgroundjob(task_type="scheduled")
class Middling(ScheduledBackgroundJob):
    """Take as long as it is told."""

    takes_s: float

    async def run_at(self) -> None:
        """Sleep."""
        await asyncio.sleep(self.takes_s)


@backgroundjob(task_type="scheduled")
class Slow(ScheduledBackgroundJob):
    """Take as long as it is told, and tell how far it is."""

    takes_s: float

    async def run_at(self, ctx: JobContext) -> None:
        """Sleep in steps."""
        for step in range(STEPS):
            await ctx.progress(step / STEPS)
            await asyncio.sleep(self.takes_s / STEPS)
