"""Jobs and their dependency for the tests of the framework: each run writes itself down in a ledger."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime

from dependency_injector import containers, providers

from application.scheduling import (
    Injected,
    JobContext,
    JobTerminationException,
    RecurrentBackgroundJob,
    RetryPolicy,
    ScheduledBackgroundJob,
    backgroundjob,
)


@dataclass
class Entry:
    """One attempt that began."""

    run_id: str
    job_id: str
    fire_time: datetime
    attempt: int
    missed: int
    label: str


@dataclass
class Ledger:
    """Where bodies write, and what they wait for: a body that holds goes on when its label is released."""

    entries: list[Entry] = field(default_factory=list)
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    cancelled: list[str] = field(default_factory=list)

    def of(self, job_id: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.job_id == job_id]

    def gate(self, label: str) -> asyncio.Event:
        return self.gates.setdefault(label, asyncio.Event())


@backgroundjob(task_type="recurrent")
class Note(RecurrentBackgroundJob):
    """Write down each run; hold until the gate of its label opens, fail or end as told."""

    label: str = "plain"
    hold: bool = False
    fail: str = ""
    end: bool = False
    ledger: Injected[Ledger]

    async def run_every(self, ctx: JobContext) -> dict[str, str]:
        entry = Entry(ctx.run_id, ctx.job_id, ctx.fire_time, ctx.attempt, ctx.missed, self.label)
        self.ledger.entries.append(entry)
        try:
            if self.hold:
                await self.ledger.gate(self.label).wait()
        except asyncio.CancelledError:
            self.ledger.cancelled.append(ctx.run_id)
            raise
        if self.fail:
            raise ValueError(self.fail)
        if self.end:
            raise JobTerminationException("nothing is left to do")
        return {"label": self.label}


@backgroundjob(task_type="scheduled", retry=RetryPolicy(max_retries=0, backoff_s=0.05, jitter=False))
class Once(ScheduledBackgroundJob):
    """The same, once."""

    label: str = "plain"
    hold: bool = False
    fail_times: int = 0
    ledger: Injected[Ledger]

    async def run_at(self, ctx: JobContext) -> dict[str, str]:
        entry = Entry(ctx.run_id, ctx.job_id, ctx.fire_time, ctx.attempt, ctx.missed, self.label)
        self.ledger.entries.append(entry)
        await ctx.progress(0.5, "half way")
        if self.hold:
            await self.ledger.gate(self.label).wait()
        if ctx.attempt <= self.fail_times:
            raise ValueError(f"attempt {ctx.attempt}")
        return {"label": self.label}


class LedgerContainer(containers.DeclarativeContainer):
    """Give the ledger that a test looks into."""

    ledger = providers.Dependency(instance_of=Ledger)
