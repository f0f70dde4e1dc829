"""The task descriptor: the JSON request to run a background job."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import uuid4
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from domain.scheduling.policy import YEAR_S, SchedulePolicy, UtcDatetime

Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:\-]{0,199}$")]

MIN_INTERVAL_S = 0.01

Interval = Annotated[float, Field(ge=MIN_INTERVAL_S, le=YEAR_S, allow_inf_nan=False)]


OF_THE_MACHINE = ("localtime", "posixrules", "posix/", "right/", "Factory")
"""Names that some machines know, each in its own way: every instance must find the same due times."""


class TaskDescriptor(BaseModel):
    """What every request has: an id, the job's name, its data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Id = Field(default_factory=lambda: uuid4().hex)
    name: Annotated[str, Field(min_length=1, max_length=200)]
    data: dict[str, Any] = Field(default_factory=dict)
    version: Annotated[int, Field(ge=1)] | None = None
    """Version of the payload; the class's own when left out."""


class RecurrentTaskDescriptor(TaskDescriptor):
    """Run a job again and again: every ``interval`` seconds, or by a ``cron`` line in ``timezone``.

    A cron line has five fields with the meaning of crontab(5): weekday 0 and 7 are Sunday; when day of month and
    weekday are both restricted, either matches.
    """

    type: Literal["recurrent"] = "recurrent"
    interval: Interval | None = None
    cron: Annotated[str, Field(max_length=200)] | None = None
    timezone: Annotated[str, Field(max_length=100)] = "UTC"
    policy: SchedulePolicy = SchedulePolicy()

    @field_validator("timezone")
    @classmethod
    def _known_timezone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            known = False
        else:
            known = not value.startswith(OF_THE_MACHINE)
        if not known:
            raise ValueError(f"there is no timezone {value!r}; use an IANA name such as 'Europe/Brussels'")
        return value

    @model_validator(mode="after")
    def _one_trigger(self) -> "RecurrentTaskDescriptor":
        if (self.interval is None) == (self.cron is None):
            raise ValueError("give either interval (seconds) or cron, and not both")
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
