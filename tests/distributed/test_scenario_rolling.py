"""A new version is rolled out: one process after another is asked to end while others take its place."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from distributed.rain import raining
from distributed.scenario_kit import attempts, scenario

pytestmark = pytest.mark.timeout(400)  # several waits, each with its own deadline
ONCE = [f"o{n}" for n in range(10)]
RHYTHM = [f"s{n}" for n in range(10)]


async def test_a_process_that_is_asked_to_end_gives_its_runs_back_at_once(
    redis_url: str, namespace: str, tmp_path: Path
) -> None:
    async with scenario(redis_url, namespace, tmp_path) as run:
        leaving = run.fleet.start()
        await run.one_shots("o", hold_s=600)
        await run.reached("begin", "o")
        staying = run.fleet.start()
        await run.joined(2)
        assert await asyncio.to_thread(run.fleet.end, leaving) == 0
        await run.reached("end", "o")
        await run.verdict()
        assert [(line.pid, line.attempt) for line in run.fleet.lines("begin")] == [(leaving.pid, 1), (staying.pid, 2)]
        assert await run.events("job", "job.lost") == []
        assert "Traceback" not in run.fleet.logs()


async def test_a_rolling_restart_under_load_loses_and_doubles_nothing(
    redis_url: str, namespace: str, tmp_path: Path
) -> None:
    async with scenario(redis_url, namespace, tmp_path) as run:
        old = [run.fleet.start() for _ in range(3)]
        await run.recurrent(*RHYTHM)
        await run.one_shots(*ONCE, hold_s=600)
        await run.reached("begin", *ONCE)
        async with raining(run, *[redis_url] * 3) as rain:
            for leaving in old:
                joining = run.fleet.start()
                await run.work(joining)
                assert await asyncio.to_thread(run.fleet.end, leaving) == 0, leaving.said
            await run.reached("end", *ONCE)
            await run.until(rain.heavy, "every kind of request to be carried out")
        await run.verdict()

        once = [line for line in run.fleet.lines("begin") if line.job_id in ONCE]
        assert all(found[0] == 1 and len(found) > 1 for found in attempts(once).values())
        assert Counter(line.job_id for line in run.fleet.lines("end") if line.job_id in ONCE) == Counter(ONCE)
        assert await run.events("job", "job.lost") == []
        assert "Traceback" not in run.fleet.logs()
