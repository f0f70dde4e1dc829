"""What is measured of each job service; nothing that it says of itself is believed."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.contestants.jobs.interface import Board, JobCase
from benchmarks.job_process import JobProcess
from benchmarks.measuring import percentile
from benchmarks.peers import OURS
from benchmarks.process import ContestantFailed
from benchmarks.server import Reading, Server

WARM_UP = 20
"""Jobs before those that count: with them a worker shows that it works, and everybody has connected."""
PAUSE_MS = (50.0, 100.0)
STUCK_S = 20.0
"""A worker that executed nothing for so long is given up."""
LOOK_S = 0.01


@dataclass
class Stage:
    """An emptied server, a board, and the processes that are let in."""

    server: Server
    contestant: str
    board: Board
    file: Path

    def process(self, role: str) -> JobProcess:
        """Return one side of the contestant, to be entered."""
        return JobProcess(JobCase(self.contestant, role, self.server.url, str(self.file), self.board.jobs))

    async def wait(self, worker: JobProcess, bodies: int) -> None:
        """Return when so many bodies ran, or raise ``ContestantFailed``."""
        seen, deadline = self.board.bodies, time.monotonic() + STUCK_S
        while (now := self.board.bodies) < bodies:
            if now != seen:
                seen, deadline = now, time.monotonic() + STUCK_S
            if worker.has_ended or time.monotonic() > deadline:
                raise ContestantFailed(
                    f"{self.contestant} executed {now} of {bodies} jobs and then no more:\n{worker.last_words()}"
                )
            await asyncio.sleep(LOOK_S)

    async def warm_up(self, submitter: JobProcess, worker: JobProcess) -> None:
        """Let some jobs through, one by one."""
        await submitter.ask("singly", expect="submitted", first=0, count=WARM_UP, pause_ms=PAUSE_MS)
        await self.wait(worker, WARM_UP)


@asynccontextmanager
async def stage(server: Server, contestant: str, jobs: int) -> AsyncIterator[Stage]:
    """Empty the server and give a stage for so many jobs."""
    await asyncio.to_thread(server.reset)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "board"
        with Board.create(file, jobs) as board:
            yield Stage(server, contestant, board, file)


async def drained(server: Server, contestant: str, jobs: int) -> dict[str, Any]:
    """Fill the queue, weigh it, and then let one worker empty it."""
    async with stage(server, contestant, jobs) as here:
        async with here.process("submit") as submitter:
            empty, before = server.held(), server.reading()
            sent = await submitter.ask("many", expect="submitted", first=0, count=jobs)
            sending = server.reading().since(before)
            taken, events = server.held() - empty, server.events() if contestant == OURS else 0
        async with here.process("work") as worker:
            await here.wait(worker, 1)
            known, cpu_s, at_first = here.board.bodies, worker.cpu_s(), server.reading()
            await here.wait(worker, jobs)
            cpu_s, working = worker.cpu_s() - cpu_s, server.reading().since(at_first)
        times = sorted(here.board.times(0, jobs))
        return {
            **_enqueued(contestant, jobs, sent, sending, submitter),
            **_worked(here, times, jobs / (times[-1] - times[0]), cpu_s, working, jobs - known),
            "bytes_each": taken / jobs,
            "event_bytes_each": events / jobs,
        }


async def together(server: Server, contestant: str, jobs: int) -> dict[str, Any]:
    """Let one worker empty the queue while it is filled."""
    async with stage(server, contestant, WARM_UP + jobs) as here:
        async with here.process("work") as worker, here.process("submit") as submitter:
            await here.warm_up(submitter, worker)
            cpu_s, before = worker.cpu_s(), server.reading()
            sent = await submitter.ask("many", expect="submitted", first=WARM_UP, count=jobs)
            await here.wait(worker, WARM_UP + jobs)
            cpu_s, working = worker.cpu_s() - cpu_s, server.reading().since(before)
        times = sorted(here.board.times(WARM_UP, jobs))
        return {
            **_enqueued(contestant, jobs, sent, working, submitter),
            **_worked(here, times, jobs / (times[-1] - sent["began"]), cpu_s, working, jobs),
        }


async def latency(server: Server, contestant: str, jobs: int) -> dict[str, Any]:
    """Submit one job after another to a worker that has nothing to do: how soon does each body run?"""
    async with stage(server, contestant, WARM_UP + jobs) as here:
        async with here.process("work") as worker, here.process("submit") as submitter:
            await here.warm_up(submitter, worker)
            sent = await submitter.ask("singly", expect="submitted", first=WARM_UP, count=jobs, pause_ms=PAUSE_MS)
            await here.wait(worker, WARM_UP + jobs)
        times = here.board.times(WARM_UP, jobs)
        waited = sorted(ran - asked for ran, asked in zip(times, sent["asked"], strict=True))
        return {
            "contestant": contestant,
            "facts": submitter.facts,
            "jobs": jobs,
            "p50": percentile(waited, 50),
            "p99": percentile(waited, 99),
            "max": waited[-1],
        }


async def weighed_with_keys(server: Server, jobs: int) -> float:
    """Return the bytes that one of our queued jobs takes with its event and an idempotency key."""
    async with stage(server, OURS, jobs) as here, here.process("submit") as submitter:
        empty = server.held()
        await submitter.ask("submit_with_keys", expect="answered", first=0, count=jobs)
        return (server.held() - empty) / jobs


async def looked(server: Server, jobs: int, rounds: int) -> dict[str, Any]:
    """Queue many of our jobs, and see how long looking at them takes; s."""
    async with stage(server, OURS, jobs) as here, here.process("submit") as submitter:
        await submitter.ask("many", expect="submitted", first=0, count=jobs)
        found = (await submitter.ask("look", expect="answered", rounds=rounds))["found"]
    return {
        "jobs": jobs,
        "times": {
            what: {"p50": percentile(sorted(times), 50), "p99": percentile(sorted(times), 99)}
            for what, times in found.items()
        },
    }


def _enqueued(
    contestant: str, jobs: int, sent: dict[str, Any], server: Reading, submitter: JobProcess
) -> dict[str, Any]:
    return {
        "contestant": contestant,
        "facts": submitter.facts,
        "jobs": jobs,
        "enqueued_per_s": jobs / (sent["ended"] - sent["began"]),
        "enqueue_cpu_us": sent["cpu_s"] / jobs * 1e6,
        "enqueue_server_cpu_us": server.cpu_s / jobs * 1e6,
    }


def _worked(
    here: Stage, times: list[float], per_s: float, cpu_s: float, server: Reading, counted: int
) -> dict[str, Any]:
    """Tell what the worker did; the costs are None where all ran before the first look at the worker's clock."""
    return {
        "executed": len(times),
        "executed_per_s": per_s,
        "repeated": here.board.repeated(),
        "worker_cpu_us": cpu_s / counted * 1e6 if counted else None,
        "server_cpu_us": server.cpu_s / counted * 1e6 if counted else None,
        "calls": {name: calls for name, calls in server.calls.items() if calls[0]},
    }
