"""The store freezes, dies and comes back; a process is cut off from it; clients go on asking for changes meanwhile."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from distributed.rain import raining
from distributed.scenario_kit import Scenario, attempts, scenario
from fault_proxy import FaultProxy
from infrastructure.redis.embedded import EmbeddedValkey
from support import NO_AUTHORITIES

pytestmark = pytest.mark.timeout(400)  # several waits, each with its own deadline
OUTAGE_S = 10.0
ONCE = [f"o{n}" for n in range(10)]
RHYTHM = [f"s{n}" for n in range(5)]


@asynccontextmanager
async def own_server(directory: Path) -> AsyncIterator[EmbeddedValkey]:
    """A server that may be frozen and killed; what it has acknowledged is on the disk."""
    server = EmbeddedValkey(directory, durability="always")
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def statuses(address: str) -> tuple[int, int]:
    """Ask the API for something that needs the store, and for a sign of life."""
    async with httpx2.AsyncClient(trust_env=False, timeout=30, verify=NO_AUTHORITIES, base_url=address) as http:
        list_of, live = await asyncio.gather(http.get("/api/v1/schedules"), http.get("/health/live"))
        return list_of.status_code, live.status_code


async def answers(run: Scenario, address: str, status: int) -> None:
    """Wait until the API answers so; whatever it answers, it lives."""

    async def asked() -> bool:
        of_store, live = await statuses(address)
        assert live == 200
        return of_store == status

    await run.until(asked, f"the API to answer {status}")


async def test_a_store_that_freezes_and_one_that_is_killed_lose_nothing(namespace: str, tmp_path: Path) -> None:
    options = {"lease_s": 0.8 * OUTAGE_S}
    async with own_server(tmp_path / "data") as server, scenario(server.url, namespace, tmp_path, **options) as run:
        owners = [run.fleet.start(), run.fleet.start("all")]
        await run.recurrent(*RHYTHM)
        await run.joined(2)
        address = await run.until(lambda: owners[1].address, "the address of the API")
        await run.at_once(*ONCE, first_hold_s=OUTAGE_S + 10)
        await run.reached("begin", *ONCE)
        async with raining(run, *[server.url] * 3) as rain:
            owners[0].freeze()
            os.kill(server.pid, signal.SIGSTOP)
            thaw_at = time.monotonic() + OUTAGE_S
            await answers(run, address, 503)
            await run.until(lambda: time.monotonic() > thaw_at, "the outage to be over")
            os.kill(server.pid, signal.SIGCONT)
            await run.work(owners[1])  # which could take over what the other holds, whose leases have lapsed
            owners[0].thaw()
            await run.ended(3, *RHYTHM)
            await run.work(*owners)
            await answers(run, address, 200)
            await run.reached("end", *ONCE)

            os.kill(server.pid, signal.SIGKILL)
            await run.ended(3, *RHYTHM)
            await run.work(*owners)
            await answers(run, address, 200)
            await run.until(rain.heavy, "every kind of request to be carried out")
            assert rain.refused["StoreUnavailable"]
        await run.verdict()
        # Both owners came back, so nobody was overtaken, not even the one that came later than the other.
        held = [line for line in run.fleet.lines("begin") if line.job_id in ONCE]
        assert set(map(tuple, attempts(held).values())) == {(1,)}
        assert "Traceback" not in run.fleet.logs()


async def test_processes_that_are_cut_off_are_overtaken_and_come_back(
    valkey: EmbeddedValkey, namespace: str, tmp_path: Path
) -> None:
    async with (
        FaultProxy(valkey) as hole,
        FaultProxy(valkey) as gap,
        scenario(valkey.url, namespace, tmp_path, lease_s=1) as run,
    ):
        cut = [run.fleet.start(redis_url=hole.url), run.fleet.start(redis_url=gap.url)]
        await run.recurrent(*RHYTHM)
        await run.joined(2)
        await run.one_shots(*ONCE, hold_s=600)
        await run.reached("begin", *ONCE)
        reached = run.fleet.start()
        await run.joined(3)
        async with raining(run, valkey.url, hole.url, gap.url) as rain:
            await hole.set_fault("black hole")
            await gap.set_fault("down")
            heal_at = time.monotonic() + OUTAGE_S
            await run.reached("end", *ONCE)
            await run.settled(*ONCE)
            await run.ended(3, *RHYTHM)
            await run.until(lambda: time.monotonic() > heal_at, "the partition to be over")
            for proxy in (hole, gap):
                await proxy.set_fault("none")
            for member in cut:
                await run.until(lambda member=member: "was lost" in member.said, "what was cut off to hear of its loss")
            await run.until(rain.heavy, "every kind of request to be carried out")
            run.fleet.kill(reached)
            await run.ended(3, *RHYTHM)
            assert rain.refused["StoreUnavailable"]
        await run.verdict()
        ends = [line for line in run.fleet.lines("end") if line.job_id in ONCE]
        assert {(line.pid, line.attempt) for line in ends} == {(reached.pid, 2)}
        assert "Traceback" not in run.fleet.logs()
