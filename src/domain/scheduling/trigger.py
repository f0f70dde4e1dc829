"""What says when a schedule fires, as data: intervals, cron lines, steps of the calendar, and two or more of them."""

from datetime import date
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from domain.scheduling.policy import YEAR_S

MIN_INTERVAL_S = 0.01
MOST_PARTS = 5
"""Triggers in a combination: each costs its own search for each fire."""

OF_THE_MACHINE = ("localtime", "posixrules", "posix/", "right/", "Factory")
"""Names that some machines know, each in its own way: every instance must find the same due times."""

Interval = Annotated[float, Field(ge=MIN_INTERVAL_S, le=YEAR_S, allow_inf_nan=False)]
CronText = Annotated[str, Field(max_length=200)]


def _known_timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        known = False
    else:
        known = not value.startswith(OF_THE_MACHINE)
    if not known:
        raise ValueError(f"there is no timezone {value!r}; use an IANA name such as 'Europe/Brussels'")
    return value


Timezone = Annotated[str, Field(max_length=100), AfterValidator(_known_timezone)]


def _absent(value: object) -> bool:
    return not value


class CalendarInterval(BaseModel):
    """Every so many years and months, or weeks and days, at one time of the day.

    It counts dates from ``start_date``, or from the day on which the schedule was made; ``day`` puts each date of a
    rhythm of months or years on that day of its month. A month without the day is left out (``missing_day: skip``), or
    its last day is taken (``last``). A time of day that does not exist fires at the next instant that does; one that
    exists twice fires the first time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    years: Annotated[int, Field(strict=True, ge=0, le=100, exclude_if=_absent)] = Field(
        default=0, description="Years from one date to the next, beside the months."
    )
    months: Annotated[int, Field(strict=True, ge=0, le=1200, exclude_if=_absent)] = Field(
        default=0, description="Months from one date to the next."
    )
    weeks: Annotated[int, Field(strict=True, ge=0, le=5200, exclude_if=_absent)] = Field(
        default=0, description="Weeks from one date to the next; they do not mix with months and years."
    )
    days: Annotated[int, Field(strict=True, ge=0, le=36_500, exclude_if=_absent)] = Field(
        default=0, description="Days from one date to the next, beside the weeks."
    )
    day: Annotated[int, Field(strict=True, ge=1, le=31)] | None = Field(
        default=None, exclude_if=_absent, description="Day of the month; that of the first date without it."
    )
    hour: Annotated[int, Field(strict=True, ge=0, le=23)] = Field(default=0, description="Of the time of the day.")
    minute: Annotated[int, Field(strict=True, ge=0, le=59)] = Field(default=0, description="The same.")
    second: Annotated[int, Field(strict=True, ge=0, le=59, exclude_if=_absent)] = Field(
        default=0, description="The same."
    )
    start_date: date | None = Field(
        default=None,
        exclude_if=_absent,
        description="The first date, from which the others are counted; the day on which the schedule was made without "
        "it.",
    )
    missing_day: Literal["skip", "last"] = Field(
        default="skip", description="A month without the day: `skip` it, or fire on its `last` day."
    )

    @property
    def step_months(self) -> int:
        """Return the months from one date to the next; 0 where it counts days."""
        return self.years * 12 + self.months

    @property
    def step_days(self) -> int:
        """Return the days from one date to the next; 0 where it counts months."""
        return self.weeks * 7 + self.days

    @model_validator(mode="after")
    def _one_step(self) -> "CalendarInterval":
        if bool(self.step_months) == bool(self.step_days):
            raise ValueError("give years and months, or weeks and days: one of them, and not both")
        if self.day is not None and (self.step_days or self.start_date is not None):
            raise ValueError("day goes with months or years, and without a start_date, which has a day of its own")
        if self.start_date is not None and not 1970 <= self.start_date.year <= 9000:
            raise ValueError("start_date lies before 1970, from which times are counted, or after 9000")
        return self


class TriggerPart(BaseModel):
    """One trigger of a combination: ``interval``, ``cron`` or ``calendar``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    interval: Interval | None = Field(
        default=None,
        description="Seconds, counted from the full minute in which the schedule was made, or from `policy.start`.",
    )
    cron: CronText | None = Field(default=None, description="A line of five fields, as in crontab(5).")
    calendar: CalendarInterval | None = Field(default=None, description="Every so many months or days.")
    timezone: Timezone | None = Field(
        default=None, description="IANA name of its timezone; that of the schedule without it. None for an interval."
    )

    @model_validator(mode="after")
    def _one(self) -> "TriggerPart":
        if [self.interval, self.cron, self.calendar].count(None) != 2:
            raise ValueError("give one of interval (seconds), cron and calendar; combinations do not nest")
        if self.interval is not None and self.timezone is not None:
            raise ValueError("a timezone goes with cron or calendar; an interval counts elapsed time")
        return self


Parts = Annotated[tuple[TriggerPart, ...], Field(min_length=2, max_length=MOST_PARTS)]

KINDS = ("interval", "cron", "calendar", "either", "both")
"""The fields of a recurrent descriptor of which one is the trigger."""
