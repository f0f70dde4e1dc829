"""One contestant at one rate: who fires when, what it costs, and how the event loop fares."""

import asyncio
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks import machine
from benchmarks.contestants.interface import Case
from benchmarks.contestants.run import watch_loop
from benchmarks.measuring import expected, percentile, punctuality, read_rows
from benchmarks.process import ContestantProcess
from benchmarks.server import Reading, Server

LEAD_S_A_SCHEDULE = 0.001
"""The first fires are due this much later for each schedule that must be added before."""


@dataclass(frozen=True)
class Load:
    """How many schedules, how many fires a second together, measured for how long."""

    schedules: int
    rate: int
    seconds: float
    warm_up_s: float

    @property
    def interval_ms(self) -> int:
        """Return the interval of each schedule: whole milliseconds, so that the rate is nearly what was asked."""
        return max(round(self.schedules / self.rate * 1000), 1)

    @property
    def settling_s(self) -> float:
        """Return how long to wait before the window: what is done once a schedule shall be over, within reason."""
        return max(self.warm_up_s, min(self.interval_ms / 1000, 4 * self.warm_up_s))


@dataclass
class Window:
    """What was measured from begin to end."""

    begin: float
    end: float
    server: Reading
    cpu_s: list[float]
    stalls: list[list[float]]
    idle_stalls: list[float]
    stolen_share: float
    """How much of all its cores the machine did not get from its host while it wanted them."""


async def run_load(server: Server, contestant: str, load: Load, processes: int = 1) -> dict[str, Any]:
    """Return the figures of one contestant under one load; ``processes`` share the schedules that the first adds."""
    await asyncio.to_thread(server.reset)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cases = [_case(server, contestant, load, folder, number) for number in range(processes)]
        started = [await stack.enter_async_context(ContestantProcess(case)) for case in cases]
        base_ms = (int(time.time() + 1) + round(load.schedules * LEAD_S_A_SCHEDULE)) * 1000
        added_s = await started[0].add(base_ms)
        window = await _window(server, started, base_ms, load)
        for process in started:
            await process.expect("done")
        rows = read_rows(Path(case.rows_file) for case in cases)
        said = "".join(process.last_words() for process in started)
    begin_ms, end_ms = round(window.begin * 1000), round(window.end * 1000)
    fires = expected(base_ms, load.schedules, load.interval_ms, begin_ms, end_ms)
    found = punctuality(rows, fires, window.begin, window.end)
    return {
        "contestant": contestant,
        "processes": processes,
        "schedules": load.schedules,
        "rate": load.rate,
        "added_s": added_s,
        "facts": started[0].facts,
        "said": said,
        **found.dump(),
        **_costs(window, found.started_per_s * load.seconds),
    }


def _case(server: Server, contestant: str, load: Load, folder: Path, number: int) -> Case:
    return Case(
        contestant=contestant,
        schedules=load.schedules,
        interval_ms=load.interval_ms,
        redis_url=server.url,
        rows_file=str(folder / f"rows-{number}"),
        adds=number == 0,
    )


async def _window(server: Server, processes: list[ContestantProcess], base_ms: int, load: Load) -> Window:
    begin = max(base_ms / 1000, time.time() + 1) + load.settling_s
    end = begin + load.seconds
    for process in processes:
        await process.begin(begin, end)
        await process.expect("started")
    for process in processes:
        await process.expect("window_begins")
    before, cores = server.reading(), psutil.cpu_times()
    idle = await watch_loop(end)
    ended = [await process.expect("window_ends") for process in processes]
    after, cores_after = server.reading(), psutil.cpu_times()
    return Window(
        begin,
        end,
        after.since(before),
        [facts["cpu_s"] for facts in ended],
        [facts["stalls"] for facts in ended],
        idle,
        machine.stolen_share(cores, cores_after),
    )


def _costs(window: Window, starts: float) -> dict[str, Any]:
    seconds = window.end - window.begin
    cpu_s = sum(window.cpu_s)
    stalls = sorted(stall for one in window.stalls for stall in one)
    scripts = {name: spent for name, spent in window.server.calls.items() if name in ("evalsha", "eval", "fcall")}
    return {
        "stall_p999": percentile(stalls, 99.9),
        "stall_max": stalls[-1] if stalls else 0.0,
        "idle_stall_p999": percentile(sorted(window.idle_stalls), 99.9),
        "stolen_share": window.stolen_share,
        "cpu_share": cpu_s / seconds,
        "server_cpu_share": window.server.cpu_s / seconds,
        "cpu_us_a_fire": cpu_s / starts * 1e6 if starts else None,
        "server_cpu_us_a_fire": window.server.cpu_s / starts * 1e6 if starts else None,
        "scripts": scripts,
    }
