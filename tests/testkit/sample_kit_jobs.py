"""Jobs for the tests of the kit, and what they depend on."""

import asyncio
import time
from dataclasses import dataclass, field
from datetime import datetime

from dependency_injector import containers, providers

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


@dataclass
class Mailer:
    """A dependency that a test wants to replace."""

    sent: list[str] = field(default_factory=list)
    fails: int = 0

    def send(self, text: str) -> None:
        if self.fails:
            self.fails -= 1
            raise OSError("the mail server does not answer")
        self.sent.append(text)


@backgroundjob(task_type="recurrent", retry=RetryPolicy(max_retries=2, backoff_s=30, jitter=False))
class Digest(RecurrentBackgroundJob):
    """Take ``takes_s`` seconds, then send."""

    to: str
    takes_s: float = 0.0
    mailer: Injected[Mailer]

    async def run_every(self, ctx: JobContext) -> dict[str, str]:
        await asyncio.sleep(self.takes_s)
        self.mailer.send(f"to {self.to}, attempt {ctx.attempt}")
        return {"sent": self.to}


@backgroundjob(task_type="scheduled", retry=RetryPolicy(max_retries=1, backoff_s=10, jitter=False))
class Reminder(ScheduledBackgroundJob):
    """A sync body with a time in its data."""

    text: str
    day: datetime | None = None
    mailer: Injected[Mailer]

    def run_at(self, ctx: JobContext) -> str:
        ctx.progress(0.5, "half")
        self.mailer.send(self.text)
        return self.text


@backgroundjob(task_type="recurrent")
class Planner(RecurrentBackgroundJob):
    """Schedule another job, two hours later, until there are enough."""

    count: int
    bus: Injected[BackgroundTasksBus]

    async def run_every(self, ctx: JobContext) -> None:
        if self.count == 0:
            raise JobTerminationException("enough")
        at = ctx.fire_time.replace(hour=(ctx.fire_time.hour + 2) % 24)
        await self.bus.schedule_task(
            ScheduledTaskDescriptor(id=f"r{self.count}", name="Reminder", data={"text": "hello"}, scheduled_at=at)
        )


@backgroundjob(task_type="scheduled")
class SlowThread(ScheduledBackgroundJob):
    """A sync body that takes real time."""

    bus: Injected[BackgroundTasksBus]

    def run_at(self) -> None:
        time.sleep(0.05)
        self.bus.schedule_task_sync(
            ScheduledTaskDescriptor(id="after", name="Reminder", data={"text": "from a thread"})
        )


class MailContainer(containers.DeclarativeContainer):
    mailer = providers.Singleton(Mailer)
