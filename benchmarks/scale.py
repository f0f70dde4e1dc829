"""What many schedules cost beside their fires: adding, memory, a restart, and all of them due at once."""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.contestants.interface import Case
from benchmarks.measuring import read_rows
from benchmarks.process import ContestantProcess
from benchmarks.server import Server

FAR_S = 3600
"""An interval in which nothing is due twice."""
LEAD_S_A_SCHEDULE = 0.002
"""A burst is due this much later for each schedule that must be added before."""
LONGEST_S = 60.0
"""Within this time all bodies of a burst must have started."""
ROUND_TRIPS = {"roundsman": ("evalsha",), "apscheduler_redis": ("zrangebyscore", "hmget", "hexists", "exec", "zrange")}
"""Contestant -> the server's commands that are a round trip each. What runs within our scripts costs none."""


async def run_burst(server: Server, contestant: str, schedules: int) -> dict[str, Any]:
    """Let all be due at one moment: when did the first and the last body start, how long was the loop held?"""
    await asyncio.to_thread(server.reset)
    with tempfile.TemporaryDirectory() as folder:
        case = _case(server, contestant, schedules, Path(folder), spread=False, enough=schedules)
        async with ContestantProcess(case) as process:
            due = int(time.time() + 2) + round(schedules * LEAD_S_A_SCHEDULE)
            added_s = await process.add(due * 1000)
            await process.begin(due - 0.05, due + LONGEST_S)
            await process.expect("started")
            await process.expect("window_begins")
            before = server.reading()
            ended = await process.expect("window_ends")
            after = server.reading().since(before)
            await process.expect("done")
        starts = sorted(start.at - due for start in read_rows([Path(case.rows_file)]))
    return {
        "contestant": contestant,
        "schedules": schedules,
        "added_s": added_s,
        "started": len(starts),
        "first_s": starts[0] if starts else None,
        "last_s": starts[-1] if starts else None,
        "stall_max": max(ended["stalls"], default=0.0),
        "round_trips": {
            name: after.calls[name][0] for name in ROUND_TRIPS[contestant] if after.calls.get(name, (0, 0))[0]
        },
    }


async def run_restart(server: Server, contestant: str, schedules: int, interval_s: int) -> dict[str, Any]:
    """Add schedules, measure what they take, let the process end, start another: when does its first body start?"""
    await asyncio.to_thread(server.reset)
    empty = server.memory()
    with tempfile.TemporaryDirectory() as folder:
        adding = _case(server, contestant, schedules, Path(folder), interval_ms=interval_s * 1000)
        async with ContestantProcess(adding) as process:
            # In the past: without this the first fire would be waited for, and not found.
            added_s = await process.add((int(time.time()) - interval_s) * 1000)
            taken = server.memory() - empty
            process.kill()
        starting = _case(
            server, contestant, schedules, Path(folder), interval_ms=interval_s * 1000, adds=False, enough=1
        )
        async with ContestantProcess(starting) as process:
            opened_s = time.time() - process.spawned
            await process.begin(0, time.time() + LONGEST_S)
            for event in ("started", "window_begins", "window_ends", "done"):
                await process.expect(event)
        starts = [start.at for start in read_rows([Path(starting.rows_file)])]
    return {
        "contestant": contestant,
        "schedules": schedules,
        "added_s": added_s,
        "bytes_each": taken / schedules,
        "opened_s": opened_s,
        "first_fire_s": min(starts) - process.spawned if starts else None,
    }


def _case(server: Server, contestant: str, schedules: int, folder: Path, **options: Any) -> Case:
    options.setdefault("interval_ms", FAR_S * 1000)
    return Case(contestant, schedules, redis_url=server.url, rows_file=str(folder / "rows"), **options)
