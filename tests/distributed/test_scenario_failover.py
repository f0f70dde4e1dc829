"""The primary dies, and the Sentinels make a replica the primary, while real processes work."""

import asyncio
from pathlib import Path

import pytest

from distributed.chaos_stage import now_ms
from distributed.scenario_kit import scenario
from sentinels import sentinel_set
from support import wait_until_sync

pytestmark = pytest.mark.timeout(400)  # several waits, each with its own deadline
ONCE = [f"o{n}" for n in range(10)]
RHYTHM = [f"s{n}" for n in range(5)]
MAY_BE_LOST_MS = 500
"""Replication does not wait for anybody: what was acknowledged just before the end may be gone with the primary."""


async def test_processes_follow_the_primary_and_every_fire_is_accounted_for(namespace: str, tmp_path: Path) -> None:
    with sentinel_set(tmp_path / "set", sentinels=3) as nodes:
        async with scenario(nodes.url, namespace, tmp_path, lease_s=5) as run:
            members = [run.fleet.start("all"), run.fleet.start("all")]
            await run.ready(*members)
            await run.recurrent(*RHYTHM)
            await run.at_once(*ONCE, first_hold_s=8)
            await run.reached("begin", *ONCE)
            await run.work(*members)

            killed = now_ms()
            await asyncio.to_thread(nodes.kill_primary)
            await run.ended(3, *RHYTHM)
            await run.work(*members)
            await run.reached("end", *ONCE)

            await asyncio.to_thread(nodes.servers[0].start)
            demoted = wait_until_sync, lambda: nodes.servers[0].tell("ROLE")[0] == "slave", "the Sentinels to demote it"
            await asyncio.to_thread(*demoted)
            await run.ended(3, *RHYTHM)
            await run.recurrent("late")
            await run.ended(1, "late")
            assert run.store.primary == ("127.0.0.1", nodes.ports[1])
            await run.verdict(store_kills=[killed], store_loses_ms=MAY_BE_LOST_MS)
            lost = [event for event in await run.events("job", "job.lost") if event["job_id"] in ONCE]
            assert not lost, "an owner that follows in time keeps its runs"
            assert "HAS LOST ITS DATA" not in run.fleet.logs()
