"""Run one side of a contestant: ``python -m benchmarks.contestants.jobs.run CASE_AS_JSON``.

It speaks in lines of JSON. One that works says ``opened`` and then works until it is ended. One that submits hears what
to do, a line each, and answers each: ``many`` (first, count), ``singly`` (first, count, least and most ms between two),
``look`` (what only ours is asked), ``close``.
"""

import asyncio
import importlib
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.contestants.interface import say
from benchmarks.contestants.jobs.interface import Board, JobCase, JobContestant, use


def main(case: JobCase) -> None:
    """Do what the case asks for."""
    use(Board(Path(case.board_file), case.jobs))
    contestant: JobContestant = importlib.import_module(f"benchmarks.contestants.jobs.{case.contestant}").create(case)
    if case.role == "work":
        say("opened", facts=contestant.facts())
        contestant.work()
    else:
        asyncio.run(submit(contestant))


async def submit(contestant: JobContestant) -> None:
    """Submit what the benchmark asks for."""
    await contestant.open()
    say("opened", facts=contestant.facts())
    while True:
        wish: dict[str, Any] = json.loads(await asyncio.to_thread(sys.stdin.readline) or '{"do": "close"}')
        match wish.pop("do"):
            case "many":
                say("submitted", **await many(contestant, **wish))
            case "singly":
                say("submitted", **await singly(contestant, **wish))
            case "close":
                await contestant.close()
                return say("closed")
            case what:
                say("answered", found=await getattr(contestant, what)(**wish))


async def many(contestant: JobContestant, first: int, count: int) -> dict[str, Any]:
    """Submit all as fast as can be; return when that began and ended, and the processor time."""
    cpu_s, began = time.process_time(), time.time()
    await contestant.submit(range(first, first + count))
    ended = time.time()
    return {"began": began, "ended": ended, "cpu_s": time.process_time() - cpu_s}


async def singly(contestant: JobContestant, first: int, count: int, pause_ms: tuple[float, float]) -> dict[str, Any]:
    """Submit one after another, with pauses of chance length between; return when each call began."""
    chance, asked = random.Random(1), []  # noqa: S311 - no secret
    for index in range(first, first + count):
        await asyncio.sleep(chance.uniform(*pause_ms) / 1000)
        asked.append(time.time())
        await contestant.submit_one(index)
    return {"asked": asked}


if __name__ == "__main__":
    main(JobCase.parse(sys.argv[1]))
