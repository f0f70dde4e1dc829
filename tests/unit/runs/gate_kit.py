"""Jobs that wait for the test, each in its own way."""

import asyncio
import contextlib
import threading
from typing import Any

from application.scheduling import JobContext
from unit.runs.runner_kit import job_of


class Gate:
    """What bodies wait for, and what they tell."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.ended: list[str] = []
        self.open = asyncio.Event()
        self.threads_may_end = threading.Event()
        self.contexts: list[JobContext] = []


def waits(gate: Gate) -> type:
    """A job that waits for the gate."""

    async def body(self: Any, ctx: JobContext) -> str:
        gate.started.append(ctx.token)
        gate.contexts.append(ctx)
        try:
            await gate.open.wait()
        finally:
            gate.ended.append(ctx.token)
        return "done"

    return job_of(body)


def insists(gate: Gate) -> type:
    """A job that swallows every cancellation."""

    async def body(self: Any, ctx: JobContext) -> str:
        gate.started.append(ctx.token)
        while not gate.open.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await gate.open.wait()
        gate.ended.append(ctx.token)
        return "done"

    return job_of(body)


def blocks(gate: Gate) -> type:
    """A job whose sync body waits in its thread."""

    def body(self: Any, ctx: JobContext) -> str:
        gate.started.append(ctx.token)
        gate.contexts.append(ctx)
        gate.threads_may_end.wait()
        gate.ended.append(ctx.token)
        return "done"

    return job_of(body)


def refuses_to_start() -> type:
    async def body(self: Any) -> None:
        raise AssertionError("it was not to start")

    return job_of(body)


async def turn() -> None:
    """Let the loop turn a few times: what was to happen at once has happened."""
    for _ in range(5):
        await asyncio.sleep(0)
