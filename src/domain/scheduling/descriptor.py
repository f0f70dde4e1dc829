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

    id: Id = Field(default_factory=lambda: uuid4().hex, description="Chosen by you; random without it.")
    name: Annotated[str, Field(min_length=1, max_length=200)] = Field(description="Which background job to run.")
    data: dict[str, Any] = Field(default_factory=dict, description="The data fields of the job.")
    version: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Version of the data; that of the job's class without it."
    )


class RecurrentTaskDescriptor(TaskDescriptor):
    """Run a job again and again, by one trigger: ``interval``, ``cron``, ``calendar``, ``either`` or ``both``."""

    type: Literal["recurrent"] = "recurrent"
    interval: Interval | None = Field(default=None, description="Fires every so many seconds of elapsed time.")
    cron: CronText | None = Field(
        default=None,
        description="A line of five fields with the meaning of crontab(5): weekday 0 and 7 are Sunday; when day of "
        "month and weekday are both restricted, either matches.",
    )
    calendar: CalendarInterval | None = Field(
        default=None, description="Every so many months or days, at one time of the day."
    )
    either: Parts | None = Field(default=None, description="Fires whenever one of several triggers does.")
    both: Parts | None = Field(default=None, description="Fires only when all of several triggers do, at one moment.")
    timezone: Timezone = Field(
        default="UTC", description="IANA name of the timezone of cron lines and calendars, such as `Europe/Brussels`."
    )
    policy: SchedulePolicy = Field(default=SchedulePolicy(), description="What happens around the plain rhythm.")

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
    scheduled_at: UtcDatetime | None = Field(default=None, description="When to run it; now without it.")
    max_retries: Annotated[int, Field(ge=0, le=1000)] | None = Field(
        default=None, description="How often it is tried again when it fails; as the job's class says without it."
    )
    timeout_s: Annotated[float, Field(gt=0, le=YEAR_S, allow_inf_nan=False)] | None = Field(
        default=None, description="How long an attempt may take; as the job's class says without it, or the setting."
    )
    correlation_id: Annotated[str, Field(max_length=200)] | None = Field(
        default=None, description="What its events, logs and spans are found by."
    )

    def due(self, now: datetime) -> datetime:
        """Return when it is due, given that it is ``now``."""
        return self.scheduled_at or now


Descriptor = Annotated[RecurrentTaskDescriptor | ScheduledTaskDescriptor, Field(discriminator="type")]
