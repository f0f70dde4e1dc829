"""Jobs whose runs are logged, counted and traced."""

import asyncio
import contextvars
import logging
import threading

from opentelemetry.trace import get_tracer

from application.scheduling import (
    BackgroundTasksBus,
    Injected,
    JobContext,
    JobTerminationException,
    RecurrentBackgroundJob,
    RetryPolicy,
    ScheduledBackgroundJob,
    ScheduledTaskDescriptor,
    backgroundjob,
)

library = logging.getLogger("a.library")
"""Somebody else's: it knows nothing of runs."""


@backgroundjob(task_type="recurrent")
class Beat(RecurrentBackgroundJob):
    """Say a word; end when told."""

    word: str = "beat"
    end: bool = False

    async def run_every(self, ctx: JobContext) -> None:
        library.warning("%s", self.word)
        if self.end:
            raise JobTerminationException("enough")


@backgroundjob(task_type="recurrent")
class Slow(RecurrentBackgroundJob):
    """Go on until it is cancelled: its next fires overlap."""

    async def run_every(self) -> None:
        await asyncio.Event().wait()


@backgroundjob(task_type="scheduled", retry=RetryPolicy(max_retries=2, backoff_s=0.01, jitter=False))
class Shaky(ScheduledBackgroundJob):
    """Fail some times, then succeed."""

    fail_times: int = 0
    why: str = "not\nyet"

    async def run_at(self, ctx: JobContext) -> str:
        library.warning("attempt")
        if ctx.attempt <= self.fail_times:
            raise ValueError(self.why)
        return "done"


@backgroundjob(task_type="scheduled")
class Nested(ScheduledBackgroundJob):
    """Log from wherever a body's work ends up, then ask for another job."""

    next_id: str = ""
    bus: Injected[BackgroundTasksBus]

    async def run_at(self, ctx: JobContext) -> None:
        await asyncio.create_task(self._say("from a task"))
        await asyncio.to_thread(library.warning, "from a thread")
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(library.warning, "from a bare thread"))
        thread.start()
        await asyncio.to_thread(thread.join)
        if self.next_id:
            await self.bus.schedule_task(ScheduledTaskDescriptor(id=self.next_id, name="Plain"))

    async def _say(self, words: str) -> None:
        library.warning(words)


@backgroundjob(task_type="recurrent", retry=RetryPolicy(max_retries=1, backoff_s=0.01, jitter=False))
class Spanning(RecurrentBackgroundJob):
    """Make a span of its own, and fail in a way that is hard to tell."""

    async def run_every(self, ctx: JobContext) -> None:
        with get_tracer("user").start_as_current_span("work of the body"):
            library.warning("in a span\nof its own \u2028 %s", "\x1b[2J")
        raise ValueError("two\nlines")


@backgroundjob(task_type="scheduled")
class Plain(ScheduledBackgroundJob):
    """A sync body, in a thread of its own."""

    def run_at(self) -> None:
        library.warning("from a sync body")
