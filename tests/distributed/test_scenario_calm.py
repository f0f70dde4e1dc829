"""Nothing is broken: one process, two, and five share a store."""

from pathlib import Path

import pytest

from distributed.scenario_kit import attempts, scenario

pytestmark = pytest.mark.timeout(400)  # several waits, each with its own deadline
IDS = [f"s{n}" for n in range(10)]


async def test_in_calm_one_two_and_five_processes_run_each_fire_once(
    redis_url: str, namespace: str, tmp_path: Path
) -> None:
    async with scenario(redis_url, namespace, tmp_path) as calm:
        await calm.recurrent(*IDS)
        for size in (1, 2, 5):
            while len(calm.fleet.processes) < size:
                calm.fleet.start()
            await calm.joined(size)
            await calm.work(*calm.fleet.processes)
            await calm.ended(5, *IDS)
        report = await calm.verdict()
        assert report.crashed_attempts == 0
        assert set(report.fires) <= {"settled", "skipped", "coalesced", "waiting"}
        begun = calm.fleet.lines("begin")
        assert set(map(tuple, attempts(begun).values())) == {(1,)}
        assert await calm.events("job", "job.lost") == []
