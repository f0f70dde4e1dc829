"""Jobs for processes of their own: each attempt writes itself into a file, which is not the store under test.

With ``CLOCK_OFF_S`` in the environment the clock of the process is off by so many seconds from here on.
"""

import asyncio
import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from dependency_injector import containers, providers

from application.scheduling import (
    Injected,
    JobContext,
    RecurrentBackgroundJob,
    ScheduledBackgroundJob,
    backgroundjob,
)

EPOCH_S = time.time() - time.monotonic()
"""What the machine's clock says, asked before this process may put it off."""


class Ledger:
    """A file of JSON lines that several processes append to: one short write a line is atomic."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, phase: str, ctx: JobContext) -> None:
        """Note one phase of an attempt; ``at`` is the machine's clock (s), ``host_time`` what this process believes."""
        line = {"phase": phase, "pid": os.getpid(), "run_id": ctx.run_id, "job_id": ctx.job_id}
        line |= {"attempt": ctx.attempt, "missed": ctx.missed, "fire_time": ctx.fire_time.isoformat()}
        line |= {"token": ctx.token, "at": EPOCH_S + time.monotonic(), "host_time": time.time()}
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, (json.dumps(line) + "\n").encode())
        finally:
            os.close(file)


@backgroundjob(task_type="recurrent")
class Write(RecurrentBackgroundJob):
    """Begin, hold, end. With ``first_hold_s`` the first attempt holds for so long instead."""

    hold_s: float = 0.0
    first_hold_s: float = 0.0
    ledger: Injected[Ledger]

    async def run_every(self, ctx: JobContext) -> dict[str, Any]:
        self.ledger.write("begin", ctx)
        await asyncio.sleep(self.first_hold_s if self.first_hold_s and ctx.attempt == 1 else self.hold_s)
        self.ledger.write("end", ctx)
        return {"pid": os.getpid()}


@backgroundjob(task_type="scheduled")
class WriteOnce(ScheduledBackgroundJob):
    """The same, once. Only the first attempt holds: who takes over need not wait."""

    hold_s: float = 0.0
    ledger: Injected[Ledger]

    async def run_at(self, ctx: JobContext) -> dict[str, Any]:
        self.ledger.write("begin", ctx)
        await asyncio.sleep(self.hold_s if ctx.attempt == 1 else 0.0)
        self.ledger.write("end", ctx)
        return {"pid": os.getpid()}


class Container(containers.DeclarativeContainer):
    """Give the ledger that LEDGER_FILE names."""

    ledger = providers.Singleton(
        Ledger, providers.Factory(Path, providers.Callable(os.environ.__getitem__, "LEDGER_FILE"))
    )


def _put_clock_off(by_s: float) -> None:
    """Let this process believe in another time, which goes on from there; what waits for a while still waits for it."""
    import time_machine

    time_machine.travel(datetime.now(UTC) + timedelta(seconds=by_s), tick=True).start()


if "CLOCK_OFF_S" in os.environ:
    _put_clock_off(float(os.environ["CLOCK_OFF_S"]))
