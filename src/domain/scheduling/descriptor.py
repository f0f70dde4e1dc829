"""The task descriptor: the JSON request to run a background job."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, model_validator

from domain.scheduling.policy import YEAR_S, SchedulePolicy, UtcDatetime
from domain.scheduling.trigger import KINDS, CalendarInterval, CronText, Interval, Parts, Timezone

Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:\-]{0,199}$")]


class TaskDescriptor(BaseModel):
    """What every request has: an id, the job's name, its data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Id = Field(default_factory=lambda: uuid4().hex)
    name: Annotated[str, Field(min_length=1, max_length=200)]
    data: dict[str, Any] = Field(default_factory=dict)
    version: Annotated[int, Field(ge=1)] | None = None
    """Version of the payload; the class's own when left out."""


class RecurrentTaskDescriptor(TaskDescriptor):
    """Run a job again and again, by one trigger.

    ``interval``: every so many seconds of elapsed time. ``cron``: a line of five fields with the meaning of crontab(5):
    weekday 0 and 7 are Sunday; when day of month and weekday are both restricted, either matches. ``calendar``: every
    so many months or days, at one time of the day. ``either``: whenever one of several triggers fires; ``both``: only
    when all of them fire at the same moment. ``timezone`` is that of cron lines and calendars.
    """

    type: Literal["recurrent"] = "recurrent"
    interval: Interval | None = None
    cron: CronText | None = None
    calendar: CalendarInterval | None = None
    either: Parts | None = None
    both: Parts | None = None
    timezone: Timezone = "UTC"
    policy: SchedulePolicy = SchedulePolicy()

    @property
    def rhythm(self) -> tuple[object, ...]:
        """Return what decides about due times; an end only cuts them off."""
        trigger = (self.interval, self.cron, self.calendar, self.either, self.both)
        return (*trigger, None if self.interval else self.timezone, self.policy.start)

    @model_validator(mode="after")
    def _one_trigger(self) -> "RecurrentTaskDescriptor":
        if sum(getattr(self, kind) is not None for kind in KINDS) != 1:
            if self.interval is not None and self.cron is not None:
                raise ValueError("give either interval (seconds) or cron, and not both")
            raise ValueError("give one trigger: interval (seconds), cron, calendar, either or both")
        return self


class ScheduledTaskDescriptor(TaskDescriptor):
    """Run a job once, at ``scheduled_at`` or, without one, now."""

    type: Literal["scheduled"] = "scheduled"
    scheduled_at: UtcDatetime | None = None
    max_retries: Annotated[int, Field(ge=0, le=1000)] | None = None
    timeout_s: Annotated[float, Field(gt=0, le=YEAR_S, allow_inf_nan=False)] | None = None
    correlation_id: Annotated[str, Field(max_length=200)] | None = None

    def due(self, now: datetime) -> datetime:
        """Return when it is due, given that it is ``now``."""
        return self.scheduled_at or now


Descriptor = Annotated[RecurrentTaskDescriptor | ScheduledTaskDescriptor, Field(discriminator="type")]
