"""Run one contestant in a process of its own: ``python -m benchmarks.contestants.run CASE_AS_JSON``.

It speaks in lines of JSON: ``opened``, ``added``, ``started``, ``window_begins``, ``window_ends``, ``done``. It hears
one line before it adds (``base_ms``) and one before it starts (``begin``, ``end``: the window, Unix seconds).
"""

import asyncio
import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.contestants.interface import Case, Contestant, Recorder, say

PERIOD_S = 0.005
"""How long the control coroutine sleeps; what it sleeps longer is a stall of the loop."""


async def main(case: Case) -> None:
    """Do all steps of one case."""
    recorder = Recorder()
    contestant: Contestant = importlib.import_module(f"benchmarks.contestants.{case.contestant}").create(case, recorder)
    await contestant.open()
    say("opened", facts=contestant.facts())
    if case.adds:
        base_ms = (await hear())["base_ms"]
        began = time.perf_counter()
        await contestant.add([base_ms + phase for phase in phases(case)])
        say("added", seconds=time.perf_counter() - began)
    window = await hear()
    recorder.recording = window["begin"] <= time.time()
    await contestant.start()
    say("started")
    await measure(case, recorder, window["begin"], window["end"])
    await asyncio.to_thread(Path(case.rows_file).write_bytes, recorder.rows.tobytes())
    await contestant.stop()
    say("done")


def phases(case: Case) -> list[int]:
    """Return by how many ms each schedule is first due after the base."""
    return [index * case.interval_ms // case.schedules if case.spread else 0 for index in range(case.schedules)]


async def measure(case: Case, recorder: Recorder, begin: float, end: float) -> None:
    """Record from ``begin`` to ``end``, and for as long after it as stragglers may need."""
    await asyncio.sleep(begin - time.time())
    recorder.recording = True
    say("window_begins")
    cpu_s = time.process_time()
    stalls = await watch_loop(end, recorder, case.enough)
    say("window_ends", cpu_s=time.process_time() - cpu_s, stalls=stalls)
    if not case.enough:
        await asyncio.sleep(case.grace_s)
    recorder.recording = False


async def watch_loop(end: float, recorder: Recorder | None = None, enough: int = 0) -> list[float]:
    """Return by how much each of many short sleeps was too long (s), until ``end`` or until enough has started."""
    stalls: list[float] = []
    while time.time() < end and not (recorder and enough and recorder.count >= enough):
        began = time.perf_counter()
        await asyncio.sleep(PERIOD_S)
        stalls.append(time.perf_counter() - began - PERIOD_S)
    return stalls


async def hear() -> dict[str, Any]:
    """Return the next line that the benchmark says."""
    heard: dict[str, Any] = json.loads(await asyncio.to_thread(sys.stdin.readline))
    return heard


if __name__ == "__main__":
    asyncio.run(main(Case.parse(sys.argv[1])))
