"""Jobs for programs that the tests of the command line start."""

import asyncio

from application.scheduling import (
    JobContext,
    RecurrentBackgroundJob,
    RetryPolicy,
    ScheduledBackgroundJob,
    backgroundjob,
)


@backgroundjob(task_type="recurrent")
class Greet(RecurrentBackgroundJob):
    """End at once, or hold until somebody cancels it."""

    label: str
    hold: bool = False

    async def run_every(self) -> dict[str, str]:
        if self.hold:
            await asyncio.Event().wait()
        return {"label": self.label}


@backgroundjob(task_type="scheduled", retry=RetryPolicy(max_retries=0))
class Copy(ScheduledBackgroundJob):
    """Copy some files, step by step; hold before the last until somebody cancels it, or fail there."""

    files: int = 2
    hold: bool = False
    fail: str = ""

    async def run_at(self, ctx: JobContext) -> dict[str, int]:
        for number in range(1, self.files):
            await ctx.step(number, of=self.files, message="copying")
        if self.hold:
            await asyncio.Event().wait()
        if self.fail:
            raise ValueError(self.fail)
        return {"files": self.files}
