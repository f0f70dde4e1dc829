"""A policy says what happens when a fire finds the one before still running, and when nobody was there to take it."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from application.scheduling import (
    JobContext,
    RecurrentBackgroundJob,
    RecurrentTaskDescriptor,
    SchedulePolicy,
    backgroundjob,
)
from fundamentals.conftest import App, running
from infrastructure.program import Program
from infrastructure.settings import Settings
from support import wait_until


@backgroundjob(task_type="recurrent")
class Walk(RecurrentBackgroundJob):
    """Walk the dog, who comes home when it is called."""

    call: Path

    async def run_every(self, ctx: JobContext) -> int:
        while not self.call.exists():
            await asyncio.sleep(0.01)
        return ctx.missed


@pytest.mark.parametrize(("overlap", "at_once"), [("skip", 1), ("allow(2)", 2)])
async def test_fires_that_overlap_are_skipped_or_allowed_over_all_instances(
    app: App, tmp_path: Path, overlap: str, at_once: int
) -> None:
    """There is also ``queue_one``: one fire waits for its turn, and those after it are skipped."""
    skipped = await app.listen("schedule.fire_skipped")
    policy = SchedulePolicy(overlap=overlap)
    data = {"call": str(tmp_path / "call")}
    await app.bus.schedule_task(RecurrentTaskDescriptor(id="w", name="Walk", data=data, interval=0.05, policy=policy))
    await wait_until(lambda: len(skipped) >= 3, "three fires to be skipped, and announced")
    info = await app.scheduler.get_task_info("w")
    assert len(info.running) == at_once


@pytest.mark.parametrize(
    ("catch_up", "reasons"), [("one", ["fire"]), ("all(3)", ["catch_up", "catch_up", "fire"]), ("none", ["fire"])]
)
async def test_fires_that_nobody_took_are_caught_up_as_the_policy_says(
    settings: Settings, tmp_path: Path, catch_up: str, reasons: list[str]
) -> None:
    """``one`` run for all of them, or a run for each of the last n, or ``none``.

    The latest fire is not late yet, with ``none`` too: two leases are allowed.
    """
    call = tmp_path / "call"
    call.touch()
    policy = SchedulePolicy(catch_up=catch_up)
    walk = RecurrentTaskDescriptor(id="w", name="Walk", data={"call": str(call)}, interval=0.1, policy=policy)
    program = Program(settings)
    await program.open()  # it can schedule, and executes nothing
    first_fire = (await App(program).bus.schedule_task(walk)).info.next_fire
    await program.close()
    await wait_until(lambda: datetime.now(UTC) > first_fire + timedelta(seconds=0.5), "six fires to be due")
    async with running(settings) as app:
        runs = sorted(await app.ended_runs("w", len(reasons)), key=lambda run: run.fire_time)
        info = await app.scheduler.get_task_info("w")
    assert [run.reason for run in runs[: len(reasons)]] == reasons
    if catch_up == "one":
        assert runs[0].result >= 5, "a run is told how many earlier fires it stands for"
    else:
        assert info.counts.missed >= 3, "what gets no run is counted, and announced as schedule.fire_skipped"
