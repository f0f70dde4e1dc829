"""Measure what docs/proof.md promises, with default settings: ``measure.py [kill] [term] [calm] [outage]``, or all.

Prints one table; ends with status 1 when a figure is not what it must be. Take it on a machine that does nothing else.
"""

import argparse
import asyncio
import math
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent / "src")]

import httpx2  # noqa: E402

from application.scheduling import RecurrentTaskDescriptor  # noqa: E402
from application.tasks import end_task  # noqa: E402
from distributed.fleet import Line, Member  # noqa: E402
from distributed.scenario_kit import Scenario, scenario  # noqa: E402
from domain.scheduling.policy import SchedulePolicy  # noqa: E402
from external_server import ExternalServer  # noqa: E402
from support import wait_until  # noqa: E402

LEASE_S = 5.0
"""The default of background_jobs.lease_s."""
IN_FLIGHT = 200
FIRES_PER_S = 500
CALM_S = 60.0
OUTAGE_S = 10.0


@dataclass(frozen=True)
class Figure:
    """One row of the table; ``ok`` is None where nothing is promised."""

    what: str
    value: str
    must: str = ""
    ok: bool | None = None


@asynccontextmanager
async def stage(**options: float) -> AsyncIterator[tuple[Scenario, ExternalServer]]:
    """A server, and a fleet with default settings on it."""
    with tempfile.TemporaryDirectory() as folder:
        server = ExternalServer(Path(folder) / "store").start()
        try:
            async with scenario(server.url, "proof", Path(folder), lease_s=LEASE_S, **options) as run:
                yield run, server
        finally:
            server.stop()


async def measure_kill() -> list[Figure]:
    """Kill one of two processes that has all runs in flight."""
    async with stage(grace_s=10.0) as (run, _):
        taken, lost = await _handed_over(run, lambda victim: victim.kill())
    what = f"kill -9 with {IN_FLIGHT} runs in flight: running again elsewhere after"
    return [
        Figure(f"{what}, p50", _s(_part(taken, 0.5))),
        Figure(f"{what}, p95", _s(_part(taken, 0.95)), "< 6 s", _part(taken, 0.95) < 6),
        Figure(f"{what}, max", _s(max(taken)), "< 8 s", max(taken) < 8),
        Figure("... lost", str(lost), "0", lost == 0),
    ]


async def measure_term() -> list[Figure]:
    """Ask one of two processes to end, without any grace: its bodies are cancelled and given back at the signal."""
    async with stage(grace_s=0.0) as (run, _):
        taken, lost = await _handed_over(run, lambda victim: victim.terminate())
    what = f"SIGTERM (no grace) with {IN_FLIGHT} runs in flight: running again elsewhere, from the signal, after"
    return [
        Figure(f"{what}, p50", _s(_part(taken, 0.5))),
        Figure(f"{what}, p95", _s(_part(taken, 0.95))),
        Figure(f"{what}, max", _s(max(taken)), "< 1 s", max(taken) < 1),
        Figure("... lost", str(lost), "0", lost == 0),
    ]


async def measure_calm() -> list[Figure]:
    """Five processes share a steady load, and nothing goes wrong."""
    async with stage(grace_s=10.0) as (run, _):
        for _ in range(5):
            run.fleet.start(ROUNDSMAN_BACKGROUND_JOBS__EVENTS_KEPT="10000000")
        await run.joined(5)
        start = datetime.now(UTC) + timedelta(seconds=10)
        for n in range(FIRES_PER_S):  # evenly over each second
            first = start + timedelta(seconds=n / FIRES_PER_S)
            policy = SchedulePolicy(start=first, end=first + timedelta(seconds=CALM_S - 0.5))
            await run.control.schedule(RecurrentTaskDescriptor(id=f"s{n}", name="Write", interval=1.0, policy=policy))
        wait_s = 5 * CALM_S
        await wait_until(lambda: _none_left(run), "all schedules to come to their end", wait_s)
        report = await run.verdict()
        late = [line.at - datetime.fromisoformat(line.fire_time).timestamp() for line in run.fleet.lines("begin")]
    due, ran = sum(report.fires.values()), report.fires["settled"] + report.fires["again"]
    what = f"5 processes, {FIRES_PER_S} fires/s for {CALM_S:g} s:"
    rest = ", ".join(f"{kind} {count}" for kind, count in report.fires.items() if kind not in ("settled", "again"))
    return [
        Figure(
            f"{what} fires checked", str(due), f">= {FIRES_PER_S * (CALM_S - 1):g}", due >= FIRES_PER_S * (CALM_S - 1)
        ),
        Figure(f"{what} run", f"{ran / due:.3%}", ">= 99.9 %", ran / due >= 0.999),
        Figure(f"{what} the rest, announced", rest or "none"),
        Figure(f"{what} doubled, unexplained, lost", str(len(report.findings)), "0", report.ok),
        Figure(f"{what} attempts beyond the first", str(report.crashed_attempts), "0", report.crashed_attempts == 0),
        Figure(
            f"{what} late at the body, p50 / p99 / max",
            " / ".join(map(_s, (_part(late, 0.5), _part(late, 0.99), max(late)))),
        ),
    ]


async def measure_outage() -> list[Figure]:
    """Freeze the store, then stop it, each time for ten seconds."""
    return [*await _outage("frozen"), *await _outage("stopped")]


async def _outage(how: str) -> list[Figure]:
    async with stage(grace_s=10.0) as (run, server):
        run.fleet.start()
        api = run.fleet.start("all")
        await run.joined(2)
        ids = [f"s{n}" for n in range(100)]
        await run.recurrent(*ids, interval_s=0.5)
        await run.at_once(*(held := [f"h{n}" for n in range(20)]), first_hold_s=2 * OUTAGE_S)
        await run.reached("begin", *held)
        await run.ended(2, *ids)
        address = await run.until(lambda: api.address, "the address of the API")
        async with _probing(address) as probes:
            calm = len(probes)
            pid = int(server.tell("INFO", "server")["process_id"])
            os.kill(pid, signal.SIGSTOP) if how == "frozen" else server.stop()
            began = time.monotonic()
            await wait_until(lambda: time.monotonic() > began + OUTAGE_S, "the outage to end")
            during = probes[calm:]
            os.kill(pid, signal.SIGCONT) if how == "frozen" else await asyncio.to_thread(server.start)
            back = time.time()
            await run.until(lambda: {*ids} <= {line.job_id for line in _since(run, back)}, "all to run again")
            await run.until(lambda: probes[-1].status == 200, "the API to answer again")
        first = {line.job_id: line.at - back for line in reversed(_since(run, back)) if line.job_id in ids}
        await run.reached("end", *held)
        report = await run.verdict()
        overtaken = sum(line.attempt > 1 for line in run.fleet.lines("begin") if line.job_id in held)
    what, slowest = f"store {how} for {OUTAGE_S:g} s:", max(first.values())
    return [
        Figure(f"{what} all schedules run again after its return", _s(slowest), "< 2 s", slowest < 2),
        *_meanwhile(what, probes, during),
        Figure(f"{what} runs in flight overtaken", str(overtaken), "0", overtaken == 0),
        Figure(f"{what} doubled, unexplained, lost", str(len(report.findings)), "0", report.ok),
    ]


def _meanwhile(what: str, probes: list["Probe"], during: list["Probe"]) -> list[Figure]:
    refused = sum(probe.status == 503 for probe in during)
    odd = sorted({probe.status for probe in during} - {503, 200})
    stall = max(probe.live_s for probe in probes)
    return [
        Figure(f"{what} API meanwhile", f"503 x {refused}, others {odd or 'none'}", "503", refused > 0 and not odd),
        Figure(f"{what} slowest sign of life of the loop", _s(stall), "< 1 s", stall < 1),
    ]


@dataclass(frozen=True)
class Probe:
    """What the API answered to a question that needs the store, and how long a sign of life took."""

    status: int
    live_s: float


@asynccontextmanager
async def _probing(address: str) -> AsyncIterator[list[Probe]]:
    probes: list[Probe] = []

    async def ask(http: httpx2.AsyncClient) -> None:
        status = (await http.get("/api/v1/schedules?limit=1")).status_code
        probes.append(Probe(status, probes[-1].live_s if probes else 0.0))

    async def probe(http: httpx2.AsyncClient) -> None:
        asking = asyncio.create_task(ask(http))
        try:
            while True:
                began = time.monotonic()
                await http.get("/health/live")
                probes.append(Probe(probes[-1].status if probes else 0, time.monotonic() - began))
                if asking.done():
                    asking.result()
                    asking = asyncio.create_task(ask(http))
                await asyncio.sleep(0.05)
        finally:
            await end_task(asking)

    async with httpx2.AsyncClient(trust_env=False, timeout=60, base_url=address) as http:
        probing = asyncio.create_task(probe(http))
        try:
            await wait_until(lambda: probes and probes[-1].status == 200, "the API to answer")
            yield probes
        finally:
            await end_task(probing)


async def _handed_over(run: Scenario, end: Callable[[Member], object]) -> tuple[list[float], int]:
    """End a process that has all runs in flight; return after how long each runs elsewhere, and how many never did."""
    victim = run.fleet.start()
    ids = [f"o{n}" for n in range(IN_FLIGHT)]
    await run.one_shots(*ids, hold_s=3600)
    await run.reached("begin", *ids)
    run.fleet.start()
    await run.joined(2)
    victim.dismissed = True
    at = time.time()
    end(victim)
    status = await asyncio.to_thread(victim.wait)
    assert status in (0, -signal.SIGKILL), victim.said
    await run.reached("end", *ids)
    await run.verdict()
    again = {line.job_id: line.at - at for line in run.fleet.lines("begin") if line.attempt == 2}
    return sorted(again.values()), IN_FLIGHT - len(again)


async def _none_left(run: Scenario) -> bool:
    await asyncio.sleep(0.5)  # looking costs the store time too
    return not (await run.control.list_tasks(name="Write", limit=1)).items


def _since(run: Scenario, moment: float) -> list[Line]:
    return [line for line in run.fleet.lines("begin") if line.at >= moment]


def _part(values: Iterable[float], part: float) -> float:
    """Return the value below which this part lies: nearest rank."""
    ordered = sorted(values)
    return ordered[max(math.ceil(part * len(ordered)) - 1, 0)]


def _s(seconds: float) -> str:
    return f"{seconds:.3f} s"


MEASUREMENTS: dict[str, Callable[[], Coroutine[None, None, list[Figure]]]] = {
    "kill": measure_kill,
    "term": measure_term,
    "calm": measure_calm,
    "outage": measure_outage,
}


def main() -> int:
    """Measure what was asked for, and print it as a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", choices=[*MEASUREMENTS, []], help="default: all")
    figures = []
    print("| Figure | Measured | Must be | |\n|---|---|---|---|", flush=True)  # noqa: T201
    for name in parser.parse_args().what or MEASUREMENTS:
        for figure in asyncio.run(MEASUREMENTS[name]()):
            figures.append(figure)
            mark = {None: "", True: "yes", False: "NO"}[figure.ok]
            print(f"| {figure.what} | {figure.value} | {figure.must} | {mark} |", flush=True)  # noqa: T201
    return 1 if any(figure.ok is False for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
