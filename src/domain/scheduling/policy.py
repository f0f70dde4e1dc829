"""How the fires of a schedule behave: overlap, catch-up, jitter, bounds, retries."""

import re
from datetime import MAXYEAR, UTC, datetime
from functools import cache
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

YEAR_S = 366 * 86_400.0

Overlap = Annotated[str, Field(pattern=r"^(skip|queue_one|allow\([1-9]\d{0,2}\))$")]
CatchUp = Annotated[str, Field(pattern=r"^(one|none|all\([1-9]\d{0,2}\))$")]


def aware_utc(moment: datetime) -> datetime:
    """Refuse a naive time and move any other to UTC, in whole milliseconds, as all due times are."""
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise ValueError("the time has no timezone; add one, for example '2026-11-22T08:00:00Z'")
    try:
        moment = moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("the time is too far away to be told in UTC") from None
    if moment.year == MAXYEAR:  # room for jitter, and for rounding up
        raise ValueError(f"the time is too far away; the last year is {MAXYEAR - 1}")
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


UtcDatetime = Annotated[datetime, AfterValidator(aware_utc)]


class SchedulePolicy(BaseModel):
    """Say what happens around the plain rhythm."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    overlap: Overlap = Field(
        default="skip",
        description="What a fire does while a run of its schedule is not over, over all instances: `skip` it, "
        "`queue_one` (at most one waits), `allow(n)` (up to n at once).",
    )
    catch_up: CatchUp = Field(
        default="one",
        description="What is made of fires that nobody could take in time: `one` run for the latest of them, `none`, "
        "or `all(n)`, the n latest, one after another.",
    )
    jitter_s: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)] = Field(
        default=0.0,
        description="Each fire is late by a part of this that only its schedule and its due time decide.",
    )
    start: UtcDatetime | None = Field(
        default=None, description="It does not fire before; an interval counts from here, a calendar from this day."
    )
    end: UtcDatetime | None = Field(default=None, description="It does not fire after, and is removed then.")
    max_retries: Annotated[int, Field(ge=0, le=1000)] | None = Field(
        default=None, description="How often a failed run is tried again; as the job's class says without it."
    )
    timeout_s: Annotated[float, Field(gt=0, le=YEAR_S, allow_inf_nan=False)] | None = Field(
        default=None, description="How long an attempt may take; as the job's class says without it, or the setting."
    )

    @model_validator(mode="after")
    def _bounds(self) -> "SchedulePolicy":
        if self.start and self.end and self.end <= self.start:
            raise ValueError(f"end ({self.end}) must come after start ({self.start})")
        return self

    @property
    def overlap_mode(self) -> Literal["skip", "queue_one", "allow"]:
        """Return the word before the parenthesis."""
        return self.overlap.partition("(")[0]  # type: ignore[return-value]  # the pattern allows no other

    @property
    def overlap_limit(self) -> int:
        """Return how many runs may execute at once."""
        return _number(self.overlap, 1)

    @property
    def catch_up_limit(self) -> int:
        """Return how many late fires are run: 0, 1 or n."""
        return 0 if self.catch_up == "none" else _number(self.catch_up, 1)


@cache  # of some two thousand texts at most; asked for at every fire
def _number(text: str, default: int) -> int:
    found = re.search(r"\d+", text)
    return int(found[0]) if found else default
