"""A job is tested without servers and without waiting: a kit runs it as the program does, and the test moves time."""

from typing import Any

import pytest

from application.scheduling import (
    Injected,
    JobContext,
    RecurrentBackgroundJob,
    RecurrentTaskDescriptor,
    RetryPolicy,
    backgroundjob,
)
from testing import JobKit, run_job


class Thermometer:
    def read(self) -> float:
        raise OSError("no thermometer is plugged in")


@backgroundjob(task_type="recurrent", retry=RetryPolicy(max_retries=1, backoff_s=60, jitter=False))
class Measure(RecurrentBackgroundJob):
    room: str
    thermometer: Injected[Thermometer]

    async def run_every(self, ctx: JobContext) -> dict[str, float]:
        return {self.room: self.thermometer.read()}


class Warm(Thermometer):
    def read(self) -> float:
        return 21.5


async def test_construct_it_with_a_fake_and_run_it_once() -> None:
    run = await run_job(Measure(room="attic", thermometer=Warm()))
    assert run.result == {"attic": 21.5}


async def test_a_failure_can_be_looked_at() -> None:
    run = await run_job(Measure(room="attic", thermometer=Thermometer()))
    assert (run.status, run.attempt) == ("failed", 2)
    assert isinstance(run.exception, OSError)


@pytest.fixture
def kit_options() -> dict[str, Any]:
    """The fixture ``job_kit`` knows the jobs of this file, and takes this."""
    return {"given": {Thermometer: Warm()}, "at": "2026-03-28T12:00:00+01:00"}


async def test_let_days_pass(job_kit: JobKit) -> None:
    every_night = {"cron": "30 2 * * *", "timezone": "Europe/Brussels"}
    await job_kit.schedule(RecurrentTaskDescriptor(id="m", name="Measure", data={"room": "attic"}, **every_night))
    runs = await job_kit.advance(days=3)
    assert [f"{run.record.fire_time:%d %H:%M}" for run in runs] == ["29 01:00", "30 00:30", "31 00:30"]
    job_kit.assert_ran(Measure, times=3)
    job_kit.assert_published("job.succeeded", {"job_id": "m", "result": {"attic": 21.5}})


async def test_what_is_not_as_expected_is_shown(job_kit: JobKit) -> None:
    with pytest.raises(AssertionError, match=r"What was scheduled:\n  \(nothing\)"):
        job_kit.assert_scheduled(Measure)
