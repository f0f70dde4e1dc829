"""Measure how far off estimated completions are: ``python -m benchmarks.job_estimates --help``.

Three classes of jobs in three queues, whose durations scatter (log-normal, sigma 0.6) about means that wander up and
down by a factor of two, come in waves that the slots now can and now cannot keep up with. Meanwhile jobs that are not
over are asked at random for their estimate; when all is over, each answer is compared with when the job ended.
"""

import argparse
import asyncio
import json
import math
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from application.jobs.service import JobService
from benchmarks import machine
from benchmarks.measuring import percentile
from benchmarks.report import machine_line, table
from benchmarks.server import Server
from domain.jobs.request import JobRequest
from infrastructure.program import Program
from infrastructure.settings import Settings

SLOTS = 10
CLASSES = {"Quick": ("enterprise", 0.1), "Middling": ("pro", 0.5), "Slow": ("free", 2.0)}
"""The queue of each class, and how long its jobs take on the average (s). Each gets a third of the slots' time."""
SIGMA = 0.6
WANDERS_S, WAVE_S = 40.0, 15.0
LOADS = (0.6, 1.5)
"""How much comes, as a share of what the slots can do: by turns, each for a wave."""
ASK_EVERY_S, ASKED = 0.25, 6


@dataclass(frozen=True)
class Asked:
    """An estimate that somebody was given at a time (s); None: nobody could tell."""

    job_id: str
    task: str
    status: str
    at: float
    estimate: float | None


class Play:
    """One run of the scenario."""

    def __init__(self, service: JobService, seconds: float) -> None:
        self._service = service
        self._seconds = seconds
        self._began = time.monotonic()
        self._chance = random.Random(7)  # noqa: S311 - no secret
        self._open: list[str] = []
        self.asked: list[Asked] = []
        self.submitted = 0

    async def play(self) -> None:
        """Let jobs come, ask about them, and wait until all are over."""
        async with asyncio.TaskGroup() as group:
            coming = [group.create_task(self._come(task)) for task in CLASSES]
            group.create_task(self._ask(coming))

    async def errors(self) -> list[tuple[Asked, float, float]]:
        """Return for each estimate how far off it was, and how long was yet to wait (s)."""
        ended: dict[str, float] = {}
        for one in self.asked:
            if one.job_id not in ended:
                job = await self._service.get(one.job_id)
                ended[one.job_id] = job.ended_at.timestamp() if job.ended_at else math.nan
        told = [(one, one.estimate) for one in self.asked if one.estimate is not None]
        return [
            (one, abs(told_s - ended[one.job_id]), ended[one.job_id] - one.at)
            for one, told_s in told
            if ended[one.job_id] > one.at
        ]

    def _passed(self) -> float:
        return time.monotonic() - self._began

    async def _come(self, task: str) -> None:
        queue, mean_s = CLASSES[task]
        while (now := self._passed()) < self._seconds:
            load = LOADS[int(now / WAVE_S) % len(LOADS)]
            await asyncio.sleep(self._chance.expovariate(load * SLOTS / len(CLASSES) / mean_s))
            wandering = mean_s * 2 ** math.sin(2 * math.pi * now / WANDERS_S)
            takes_s = wandering * self._chance.lognormvariate(-(SIGMA**2) / 2, SIGMA)
            made = await self._service.submit(JobRequest(task=task, params={"takes_s": takes_s}, queue=queue))
            self._open.append(made.job.id)
            self.submitted += 1

    async def _ask(self, coming: Sequence["asyncio.Task[None]"]) -> None:
        while self._open or not all(one.done() for one in coming):
            await asyncio.sleep(ASK_EVERY_S)
            for job_id in self._chance.sample(self._open, min(ASKED, len(self._open))):
                job = await self._service.get(job_id)
                if job.ended_at is not None:
                    self._open.remove(job_id)
                    continue
                estimate = await self._service.estimated_completion(job)
                told = None if estimate is None else estimate.timestamp()
                self.asked.append(Asked(job_id, job.task, job.status.value, time.time(), told))


async def played(server: Server, folder: Path, seconds: float) -> dict[str, Any]:
    """Run the scenario with one instance of the whole program; return what was found."""
    settings = {
        "data_dir": str(folder / "data"),
        "store": {"redis_url": server.url},
        "background_jobs": {"modules": ["benchmarks.estimated_jobs"], "concurrency": SLOTS},
        "monitoring": {"local_worker": False},
    }
    program = Program(Settings.model_validate(settings), role="all")
    await program.start()
    try:
        play = Play(program.container.jobs.service(), seconds)
        await play.play()
        errors = await play.errors()
    finally:
        await program.stop()
    unknown = sum(one.estimate is None for one in play.asked)
    rows = [{**asdict(one), "error_s": error, "left_s": left} for one, error, left in errors]
    return {"jobs": play.submitted, "asked": len(play.asked), "unknown": unknown, "rows": rows}


def markdown(results: dict[str, Any]) -> str:
    """Return the errors by class and status."""
    rows = results["rows"]
    groups = [("all", rows)]
    groups += [
        (f"that are {status}", [row for row in rows if row["status"] == status]) for status in ("queued", "running")
    ]
    groups += [(f"of {task}", [row for row in rows if row["task"] == task]) for task in CLASSES]
    head = ("Jobs", "estimates", "left to wait, median", "error, median", "p90", "of the wait, median", "p90")
    lines = (_line(name, of) for name, of in groups if of)
    whole = (
        f"{results['jobs']:,} jobs, {results['asked']:,} estimates asked for, {results['unknown']:,} of them not known."
    )
    return f"{machine_line(results)}\n\n{whole}\n\n{table(head, lines)}\n"


def _line(name: str, rows: list[dict[str, Any]]) -> list[str]:
    errors, left = sorted(row["error_s"] for row in rows), sorted(row["left_s"] for row in rows)
    shares = sorted(row["error_s"] / row["left_s"] for row in rows)
    seconds = [f"{percentile(of, percent):.2f} s" for of, percent in ((left, 50), (errors, 50), (errors, 90))]
    return [name, f"{len(rows):,}", *seconds, *(f"{percentile(shares, percent):.0%}" for percent in (50, 90))]


def main(arguments: list[str]) -> None:
    """Run it, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0, help="how long jobs come (120)")
    parser.add_argument("--json", type=Path, help="also write everything there")
    options = parser.parse_args(arguments)
    facts = machine.facts()
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder)) as server:
        found = asyncio.run(played(server, Path(folder), options.seconds))
        results = {"machine": facts, "valkey": server.version, **found}
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    print(markdown(results))


if __name__ == "__main__":
    main(sys.argv[1:])
