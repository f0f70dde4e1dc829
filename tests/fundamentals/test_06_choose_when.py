"""When: at an interval, by a cron line in a timezone, or once at a given time."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from application.scheduling import (
    JobContext,
    RecurrentBackgroundJob,
    RecurrentTaskDescriptor,
    ScheduledBackgroundJob,
    ScheduledTaskDescriptor,
    backgroundjob,
)
from domain.scheduling.errors import InvalidTrigger
from fundamentals.conftest import App


@backgroundjob(task_type="recurrent")
class Tick(RecurrentBackgroundJob):
    """``ctx`` tells a run about itself; a body that does not care leaves it out."""

    async def run_every(self, ctx: JobContext) -> str:
        return ctx.fire_time.isoformat()


@backgroundjob(task_type="scheduled")
class Alarm(ScheduledBackgroundJob):
    async def run_at(self, ctx: JobContext) -> str:
        return ctx.fire_time.isoformat()


async def test_at_an_interval(app: App) -> None:
    """The rhythm counts from when it was scheduled. A run that starts late does not move the next."""
    await app.bus.schedule_task(RecurrentTaskDescriptor(id="tick", name="Tick", interval=0.1))
    first, second, *_ = [datetime.fromisoformat(run.result) for run in await app.ended_runs("tick", 2)]
    assert (second - first) % timedelta(seconds=0.1) == timedelta(0)


async def test_by_a_cron_line_on_the_wall_clock_of_a_place(app: App) -> None:
    """The fields are those of crontab(5): here, at nine on Monday to Friday."""
    descriptor = RecurrentTaskDescriptor(id="office", name="Tick", cron="0 9 * * 1-5", timezone="Europe/Brussels")
    scheduled = await app.bus.schedule_task(descriptor)
    there = scheduled.info.next_fire.astimezone(ZoneInfo("Europe/Brussels"))
    assert (there.hour, there.minute) == (9, 0)
    assert there.isoweekday() <= 5


async def test_once_at_a_given_time(app: App) -> None:
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)
    await app.bus.schedule_task(ScheduledTaskDescriptor(id="alarm", name="Alarm", scheduled_at=soon))
    run = await app.end_of("alarm")
    assert run.fire_time == soon <= run.started_at


async def test_a_time_that_never_comes_is_refused(app: App) -> None:
    with pytest.raises(InvalidTrigger, match="it would never fire"):
        await app.bus.schedule_task(RecurrentTaskDescriptor(id="leap", name="Tick", cron="0 0 30 2 *"))
