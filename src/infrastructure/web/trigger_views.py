"""Triggers as clients see them: what is shown can be sent again as it is."""

from pydantic import BaseModel, Field

from domain.scheduling.descriptor import RecurrentTaskDescriptor
from domain.scheduling.trigger import CalendarInterval, TriggerPart
from infrastructure.web.json_models import example
from infrastructure.web.schedule_requests import BOTH, CALENDAR, CRON, EITHER


def _absent(value: object) -> bool:
    return value is None


class IntervalView(BaseModel):
    """Fires every so many seconds."""

    model_config = example({"interval_s": 30})

    interval_s: float


class CronView(BaseModel):
    """Fires by a cron line."""

    model_config = example(CRON)

    cron: str
    timezone: str


class CalendarView(BaseModel):
    """Fires at one time of the day, every so many months or days."""

    model_config = example(CALENDAR)

    calendar: CalendarInterval
    timezone: str


class PartView(BaseModel):
    """One trigger of a combination."""

    model_config = example({"cron": "* * * * 1-5"})

    interval_s: float | None = Field(default=None, exclude_if=_absent)
    cron: str | None = Field(default=None, exclude_if=_absent)
    calendar: CalendarInterval | None = Field(default=None, exclude_if=_absent)
    timezone: str | None = Field(default=None, exclude_if=_absent, description="Its own, where it has one.")


class EitherView(BaseModel):
    """Fires whenever one of several triggers does."""

    model_config = example(EITHER)

    either: list[PartView]
    timezone: str


class BothView(BaseModel):
    """Fires when several triggers do, at the same moment."""

    model_config = example(BOTH)

    both: list[PartView]
    timezone: str


TriggerView = IntervalView | CronView | CalendarView | EitherView | BothView


def trigger_view(descriptor: RecurrentTaskDescriptor) -> TriggerView:
    """Return the trigger of a schedule as it is shown."""
    timezone = descriptor.timezone
    if descriptor.interval is not None:
        return IntervalView(interval_s=descriptor.interval)
    if descriptor.calendar is not None:
        return CalendarView(calendar=descriptor.calendar, timezone=timezone)
    if descriptor.either is not None:
        return EitherView(either=[_part(part) for part in descriptor.either], timezone=timezone)
    if descriptor.both is not None:
        return BothView(both=[_part(part) for part in descriptor.both], timezone=timezone)
    return CronView(cron=descriptor.cron or "", timezone=timezone)


def _part(part: TriggerPart) -> PartView:
    return PartView(interval_s=part.interval, cron=part.cron, calendar=part.calendar, timezone=part.timezone)
