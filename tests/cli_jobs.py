"""Jobs for programs that the tests of the command line start."""

import asyncio

from application.scheduling import RecurrentBackgroundJob, backgroundjob


@backgroundjob(task_type="recurrent")
class Greet(RecurrentBackgroundJob):
    """End at once, or hold until somebody cancels it."""

    label: str
    hold: bool = False

    async def run_every(self) -> dict[str, str]:
        if self.hold:
            await asyncio.Event().wait()
        return {"label": self.label}
