"""When: at an interval, by a cron line in a timezone, by the calendar, by several of these, or once at a given time."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from application.scheduling import (
    CalendarInterval,
    JobContext,
    RecurrentBackgroundJob,
    RecurrentTaskDescriptor,
    ScheduledBackgroundJob,
    ScheduledTaskDescriptor,
    TriggerPart,
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


async def test_by_the_calendar(app: App) -> None:
    """The 31st of each month; where there is none, the last day. Without ``missing_day`` that month is left out."""
    monthly = CalendarInterval(months=1, day=31, hour=9, missing_day="last")
    scheduled = await app.bus.schedule_task(RecurrentTaskDescriptor(id="bill", name="Tick", calendar=monthly))
    assert scheduled.info.when == "every month on the 31st at 09:00 (on the last day where there is none), UTC"
    assert all((fire + timedelta(days=1)).day == 1 for fire in scheduled.info.next_fires)


async def test_by_several_triggers_at_once(app: App) -> None:
    """``both``: only when all of them fire. ``either``: whenever one does."""
    parts = (TriggerPart(interval=7200), TriggerPart(cron="* * * * 1-5"))
    descriptor = RecurrentTaskDescriptor(id="poll", name="Tick", both=parts, timezone="Europe/Brussels")
    scheduled = await app.bus.schedule_task(descriptor)
    assert scheduled.info.when == "every 2 hours on weekdays, Europe/Brussels"
    there = [fire.astimezone(ZoneInfo("Europe/Brussels")) for fire in scheduled.info.next_fires]
    assert all(fire.isoweekday() <= 5 for fire in there)


async def test_once_at_a_given_time(app: App) -> None:
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)
    await app.bus.schedule_task(ScheduledTaskDescriptor(id="alarm", name="Alarm", scheduled_at=soon))
    run = await app.end_of("alarm")
    assert run.fire_time == soon <= run.started_at


async def test_a_time_that_never_comes_is_refused(app: App) -> None:
    with pytest.raises(InvalidTrigger, match="it would never fire"):
        await app.bus.schedule_task(RecurrentTaskDescriptor(id="leap", name="Tick", cron="0 0 30 2 *"))
