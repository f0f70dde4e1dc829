"""A schedule made ready for planning."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from application.runs.registry import JobRegistry
from application.scheduling import RecurrentBackgroundJob, RetryPolicy, backgroundjob, states
from application.scheduling.compiled import CompiledSchedule, compile_schedule
from application.scheduling.moments import at, milliseconds
from application.scheduling.planning import PlannedRun
from domain.runs.errors import UnknownJob
from domain.runs.run import RunReason
from domain.scheduling.descriptor import RecurrentTaskDescriptor
from domain.scheduling.errors import InvalidTrigger
from domain.scheduling.policy import SchedulePolicy

NOW = milliseconds(datetime(2026, 11, 22, 12, tzinfo=UTC))
DUE = NOW + 30_000


@backgroundjob(task_type="recurrent", version=2, timeout_s=40, retry=RetryPolicy(max_retries=3, backoff_s=9))
class Careful(RecurrentBackgroundJob):
    count: int = 1

    async def run_every(self) -> None: ...


@backgroundjob(task_type="recurrent")
class Plain(RecurrentBackgroundJob):
    async def run_every(self) -> None: ...


def compiled(**fields: Any) -> CompiledSchedule:
    descriptor = RecurrentTaskDescriptor(**{"id": "s", "name": "Careful", "interval": 30, **fields})
    state = states.put(descriptor, None, NOW)
    return compile_schedule(descriptor, state, JobRegistry([Careful, Plain]), 300.0)


def test_the_run_of_a_fire_has_an_id_that_follows_from_the_fire() -> None:
    schedule = compiled()
    spec = schedule.spec(PlannedRun(DUE, 4, RunReason.FIRE))
    assert spec.run_id == f"s@{schedule.incarnation}.{DUE}"
    assert (spec.job_id, spec.name, spec.reason, spec.fire_time, spec.missed) == (
        "s",
        "Careful",
        RunReason.FIRE,
        at(DUE),
        4,
    )
    assert (spec.incarnation, spec.generation) == (schedule.incarnation, 1)
    assert schedule.spec(PlannedRun(DUE, 0, RunReason.FIRE)).run_id == spec.run_id
    others = {schedule.spec(PlannedRun(DUE, 0, reason)).run_id for reason in (RunReason.CATCH_UP, RunReason.BACKFILL)}
    assert len(others | {spec.run_id}) == 3


@pytest.mark.parametrize(
    ("fields", "timeout_s", "max_retries", "backoff_s", "version"),
    [
        ({}, 40, 3, 9, 2),
        ({"policy": SchedulePolicy(timeout_s=5, max_retries=0)}, 5, 0, 9, 2),
        ({"name": "Plain"}, 300, 0, 1, 1),
        ({"name": "Plain", "policy": SchedulePolicy(max_retries=7)}, 300, 7, 1, 1),
        ({"version": 1}, 40, 3, 9, 1),
    ],
)
def test_the_schedule_says_it_or_else_the_class_or_else_the_setting(
    fields: dict[str, Any], timeout_s: float, max_retries: int, backoff_s: float, version: int
) -> None:
    spec = compiled(**fields).template
    assert (spec.timeout_s, spec.retry.max_retries, spec.retry.backoff_s, spec.version) == (
        timeout_s,
        max_retries,
        backoff_s,
        version,
    )


def test_data_goes_along_as_it_was_scheduled_though_the_class_would_not_take_it_now() -> None:
    """Whether it loads is found out when it runs, and parks the schedule; planning goes on for the others."""
    assert json.loads(compiled(data={"count": "many", "gone": 1}).data) == {"count": "many", "gone": 1}


def test_what_cannot_be_planned_is_told() -> None:
    with pytest.raises(UnknownJob, match="Did you mean Careful"):
        compiled(name="Carefull")
    good = RecurrentTaskDescriptor(id="s", name="Careful", cron="* * * * *")
    state = states.put(good, None, NOW)
    with pytest.raises(InvalidTrigger):
        compile_schedule(good.model_copy(update={"cron": "nonsense"}), state, JobRegistry([Careful]), 300.0)


@given(st.integers(-(10**12), 10**14))
def test_milliseconds_and_times_are_the_same_thing(moment: int) -> None:
    assert milliseconds(at(moment)) == moment
    assert milliseconds(at(moment) + timedelta(microseconds=999)) == moment
