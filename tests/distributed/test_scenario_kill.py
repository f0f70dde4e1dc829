"""An owner dies without a word, freezes past its lease, or believes in another time."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from application.scheduling import ScheduledTaskDescriptor
from distributed.scenario_kit import attempts, scenario

pytestmark = pytest.mark.timeout(400)  # several waits, each with its own deadline
ONCE = [f"o{n}" for n in range(10)]
HELD = [f"h{n}" for n in range(10)]
RHYTHM = [f"s{n}" for n in range(5)]
OFF_S = 300.0


async def test_what_a_killed_process_had_in_flight_runs_again_elsewhere_and_none_is_lost(
    redis_url: str, namespace: str, tmp_path: Path
) -> None:
    async with scenario(redis_url, namespace, tmp_path) as run:
        victim = run.fleet.start()
        await run.one_shots(*ONCE, hold_s=600)
        await run.at_once(*HELD, first_hold_s=600)
        await run.recurrent(*RHYTHM)
        in_flight = {*ONCE, *HELD}
        await run.reached("begin", *in_flight)
        survivor = run.fleet.start()
        await run.joined(2)
        await run.ended(3, *RHYTHM)
        run.fleet.kill(victim)
        await run.reached("end", *in_flight)
        await run.ended(3, *RHYTHM)
        await run.verdict()

        lost = {event["run_id"] for event in await run.events("job", "job.lost")}
        begun = attempts(run.fleet.lines("begin"))
        assert {run_id for run_id, found in begun.items() if found != [1]} == lost
        again = {line.job_id for line in run.fleet.lines("begin") if line.pid == survivor.pid and line.attempt == 2}
        assert in_flight <= again


async def test_a_frozen_process_that_thaws_changes_nothing_any_more(
    redis_url: str, namespace: str, tmp_path: Path
) -> None:
    async with scenario(redis_url, namespace, tmp_path, lease_s=1) as run:
        frozen = run.fleet.start()
        await run.one_shots(*ONCE, hold_s=600)
        await run.recurrent(*RHYTHM)
        await run.reached("begin", *ONCE)
        other = run.fleet.start()
        await run.joined(2)
        frozen.freeze()
        await run.reached("end", *ONCE)
        await run.settled(*ONCE)
        records = [(await run.control.get_task_info(task_id)).run for task_id in ONCE]  # type: ignore[union-attr]
        frozen.thaw()
        await run.until(lambda: frozen.said.count("was lost") >= len(ONCE), "the thawed process to hear of it")
        await run.work(frozen, other)
        ends = [line for line in run.fleet.lines("end") if line.job_id in ONCE]
        assert {(line.pid, line.attempt) for line in ends} == {(other.pid, 2)}
        assert [(await run.control.get_task_info(task_id)).run for task_id in ONCE] == records  # type: ignore[union-attr]
        await run.verdict()


async def test_fires_follow_the_time_of_the_store_not_that_of_a_process(
    redis_url: str, namespace: str, tmp_path: Path
) -> None:
    async with scenario(redis_url, namespace, tmp_path, lease_s=1) as run:
        ahead, behind = (run.fleet.start(CLOCK_OFF_S=str(off)) for off in (OFF_S, -OFF_S))
        began = time.time()
        await run.recurrent(*RHYTHM)
        await run.at_once("long", first_hold_s=2.5)  # beyond its lease
        await run.joined(2)
        soon = datetime.now(UTC) + timedelta(seconds=1)
        await run.control.schedule(ScheduledTaskDescriptor(id="soon", name="WriteOnce", scheduled_at=soon))
        await run.work(ahead, behind)
        await run.reached("end", "long", "soon")
        await run.verdict()

        lines = run.fleet.lines("begin")
        assert set(map(tuple, attempts(lines).values())) == {(1,)}
        for line in lines:
            off = OFF_S if line.pid == ahead.pid else -OFF_S
            assert abs(line.host_time - line.at - off) < 60, "its clock was not off"
            due = datetime.fromisoformat(line.fire_time).timestamp()
            assert began - 1 <= due <= line.at + 1
        (once,) = (line for line in lines if line.job_id == "soon")
        assert once.at >= soon.timestamp() - 0.1
        assert await run.events("job", "job.lost") == []
