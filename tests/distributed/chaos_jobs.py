"""Jobs of the chaos run: they return, hold, fail, time out, end their schedule; each attempt writes itself down."""

import asyncio
import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dependency_injector import containers, providers

from application.scheduling import (
    Injected,
    JobContext,
    JobTerminationException,
    PermanentError,
    RecurrentBackgroundJob,
    RetryPolicy,
    ScheduledBackgroundJob,
    TransientError,
    backgroundjob,
)

RETRY = RetryPolicy(max_retries=2, backoff_s=0.2, max_backoff_s=1.0)
THREADED = frozenset({"ChoreSync", "ErrandSync"})
"""Jobs whose bodies run in threads."""


class Ledger:
    """A file of JSON lines that all processes append to: one short write a line is atomic."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, phase: str, ctx: JobContext) -> None:
        """Append one line."""
        line = {"phase": phase, "pid": os.getpid(), "run_id": ctx.run_id, "job_id": ctx.job_id, "at": time.time()}
        line |= {"attempt": ctx.attempt, "missed": ctx.missed, "fire_time": ctx.fire_time.isoformat()}
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, (json.dumps(line) + "\n").encode())
        finally:
            os.close(file)

    @contextmanager
    def attempt(self, ctx: JobContext) -> Iterator[None]:
        """Write how a body begins and how it comes to an end: ``end`` by itself, ``out`` by anything else."""
        self.write("begin", ctx)
        phase = "out"
        try:
            yield
            phase = "end"
        finally:
            self.write(phase, ctx)


def dice(ctx: JobContext, sides: int) -> bool:
    """Return true in one of ``sides`` attempts; the same for an attempt, whoever executes it."""
    digest = hashlib.blake2b(f"{ctx.run_id} {ctx.attempt}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") % sides == 0


def strike(mood: str, ctx: JobContext) -> None:
    """Raise what the mood of a job asks for."""
    if mood == "frail" and dice(ctx, 3):
        raise TransientError("a passing fault")
    if mood == "broken":
        raise ValueError("it always fails")
    if mood == "hopeless" and dice(ctx, 2):
        raise PermanentError("it fails for good")
    if mood == "ending" and dice(ctx, 25):
        raise JobTerminationException("its work is done")


def hold_of(mood: str, hold_s: float, ctx: JobContext) -> float:
    """Return how long a body takes: a slow one outlasts any timeout of the plan, now and then."""
    return 4.0 if mood == "slow" and dice(ctx, 3) else hold_s


async def work(ledger: Ledger, mood: str, hold_s: float, ctx: JobContext) -> dict[str, Any]:
    """Do what an async body does."""
    with ledger.attempt(ctx):
        await ctx.progress(0.5, mood)
        await asyncio.sleep(hold_of(mood, hold_s, ctx))
        strike(mood, ctx)
    return {"pid": os.getpid()}


def toil(ledger: Ledger, mood: str, hold_s: float, ctx: JobContext) -> dict[str, Any]:
    """Do what a body in a thread does; it does not look whether it was cancelled."""
    with ledger.attempt(ctx):
        time.sleep(min(hold_of(mood, hold_s, ctx), 2.0))
        strike(mood, ctx)
    return {"pid": os.getpid()}


@backgroundjob(task_type="recurrent", retry=RETRY)
class Chore(RecurrentBackgroundJob):
    """Recurrent, on the loop."""

    mood: str = "calm"
    hold_s: float = 0.0
    ledger: Injected[Ledger]

    async def run_every(self, ctx: JobContext) -> dict[str, Any]:
        return await work(self.ledger, self.mood, self.hold_s, ctx)


@backgroundjob(task_type="recurrent", retry=RETRY)
class ChoreSync(RecurrentBackgroundJob):
    """Recurrent, in a thread."""

    mood: str = "calm"
    hold_s: float = 0.0
    ledger: Injected[Ledger]

    def run_every(self, ctx: JobContext) -> dict[str, Any]:
        return toil(self.ledger, self.mood, self.hold_s, ctx)


@backgroundjob(task_type="scheduled", retry=RETRY)
class Errand(ScheduledBackgroundJob):
    """Once, on the loop."""

    mood: str = "calm"
    hold_s: float = 0.0
    ledger: Injected[Ledger]

    async def run_at(self, ctx: JobContext) -> dict[str, Any]:
        return await work(self.ledger, self.mood, self.hold_s, ctx)


@backgroundjob(task_type="scheduled", retry=RETRY)
class ErrandSync(ScheduledBackgroundJob):
    """Once, in a thread."""

    mood: str = "calm"
    hold_s: float = 0.0
    ledger: Injected[Ledger]

    def run_at(self, ctx: JobContext) -> dict[str, Any]:
        return toil(self.ledger, self.mood, self.hold_s, ctx)


JOBS = (Chore, ChoreSync, Errand, ErrandSync)


class Container(containers.DeclarativeContainer):
    """Give the ledger that LEDGER_FILE names."""

    ledger = providers.Singleton(
        Ledger, providers.Factory(Path, providers.Callable(os.environ.__getitem__, "LEDGER_FILE"))
    )
