"""Schedules as clients ask for them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from pydantic import Field, Strict, ValidationError, model_validator

from domain.runs.errors import InvalidData, UnknownJob
from domain.scheduling.descriptor import Id, RecurrentTaskDescriptor
from domain.scheduling.errors import InvalidTrigger
from domain.scheduling.policy import SchedulePolicy
from domain.scheduling.trigger import MOST_PARTS, CalendarInterval
from infrastructure.web.json_models import Body, LeftOut, Patch, example
from infrastructure.web.parameters import CountedTime
from infrastructure.web.problems import IN_REQUEST, invalid

PLACES: dict[tuple[str | int, ...], tuple[str | int, ...]] = {
    (): ("body",),
    ("interval",): ("body", "trigger", "interval_s"),
    **{(kind,): ("body", "trigger", kind) for kind in ("cron", "calendar", "either", "both", "timezone")},
    **{
        (kind, n, "interval"): ("body", "trigger", kind, n, "interval_s")
        for kind in ("either", "both")
        for n in range(MOST_PARTS)
    },
}
"""Where a field of a descriptor stands in a request."""

CALENDAR = {"calendar": {"months": 1, "day": 31, "hour": 9, "missing_day": "last"}, "timezone": "Europe/Brussels"}
BOTH = {"both": [{"interval_s": 7200}, {"cron": "* * * * 1-5"}], "timezone": "Europe/Brussels"}
EITHER = {"either": [{"cron": "0 9 * * 1-5"}, {"cron": "0 12 * * 0,6"}], "timezone": "Europe/Brussels"}
CRON = {"cron": "0 6 * * 1-5", "timezone": "Europe/Brussels"}
POLICY = {"overlap": "skip", "catch_up": "one", "jitter_s": 30, "timeout_s": 600}
REQUEST = {"id": "nightly-report", "name": "Report", "data": {"team": "ops"}, "trigger": CRON, "policy": POLICY}


SINGLE = ("interval_s", "cron", "calendar")
ELAPSED = "a timezone goes with cron or calendar; an interval counts elapsed time, the same everywhere"
Seconds = Annotated[float, Strict()]


class PartRequest(Body):
    """One trigger of a combination: every `interval_s` seconds, a `cron` line or a `calendar`."""

    model_config = example({"cron": "* * * * 1-5"}, oneOf=[{"required": [kind]} for kind in SINGLE])

    interval_s: LeftOut[Seconds] = Field(default=None, description="Seconds of elapsed time between two fires.")
    cron: LeftOut[str] = Field(default=None, description="A line of five fields, as in crontab(5).")
    calendar: LeftOut[CalendarInterval] = Field(default=None, description="Every so many months or days.")
    timezone: LeftOut[str] = Field(default=None, description="IANA name of its timezone; that of the trigger without.")

    @model_validator(mode="after")
    def _one(self) -> "PartRequest":
        if [self.interval_s, self.cron, self.calendar].count(None) != 2:
            raise ValueError("give one of interval_s, cron and calendar; combinations do not nest")
        if self.interval_s is not None and "timezone" in self.model_fields_set:
            raise ValueError(ELAPSED)
        return self

    def fields(self) -> dict[str, Any]:
        """Return the part's fields in a descriptor."""
        return {"interval": self.interval_s, "cron": self.cron, "calendar": self.calendar, "timezone": self.timezone}


RequestParts = Annotated[list[PartRequest], Field(min_length=2, max_length=MOST_PARTS)]


class TriggerRequest(Body):
    """When to fire, in one of five ways.

    Every `interval_s` seconds; by a `cron` line of five fields; by a `calendar`, every so many months or days; whenever
    `either` of several triggers fires; or only when `both` (all) of them fire at the very same moment. `timezone` is
    that of cron lines and calendars. In a combination an interval counts from the full minute in which the schedule was
    made, or from `policy.start`.
    """

    model_config = example(CRON, oneOf=[{"required": [kind]} for kind in (*SINGLE, "either", "both")])

    interval_s: LeftOut[Seconds] = Field(
        default=None, description="Seconds of elapsed time between two fires, 0.01 to a year.", examples=[30]
    )
    cron: LeftOut[str] = Field(
        default=None,
        description="minute hour day-of-month month day-of-week, as in crontab(5); 0 and 7 are Sunday.",
        examples=["0 6 * * 1-5"],
    )
    calendar: LeftOut[CalendarInterval] = Field(
        default=None, description="One time of the day, every so many years and months, or weeks and days."
    )
    either: LeftOut[RequestParts] = Field(default=None, description="Fires whenever one of these does.")
    both: LeftOut[RequestParts] = Field(default=None, description="Fires when all of these do, at the same moment.")
    timezone: str = Field(
        default="UTC",
        description="IANA name of the timezone of cron lines and calendars.",
        examples=["Europe/Brussels"],
    )

    @model_validator(mode="after")
    def _one(self) -> "TriggerRequest":
        given = [kind for kind in (*SINGLE, "either", "both") if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError("give one of interval_s, cron, calendar, either and both")
        if given == ["interval_s"] and "timezone" in self.model_fields_set:
            raise ValueError(ELAPSED)
        return self

    def fields(self) -> dict[str, Any]:
        """Return the trigger's fields in a descriptor."""
        parts = {"either": self.either, "both": self.both}
        return {
            "interval": self.interval_s,
            "cron": self.cron,
            "calendar": self.calendar,
            **{kind: [part.fields() for part in found] if found else None for kind, found in parts.items()},
            "timezone": self.timezone,
        }


class ScheduleRequest(Body):
    """A schedule to make, or to change to this."""

    model_config = example(REQUEST)

    id: LeftOut[Id] = Field(default=None, description="Chosen by you; without one it gets a random id.")
    name: str = Field(description="Which background job to run.", examples=["Report"])
    data: dict[str, Any] = Field(default={}, description="The data fields of the job.")
    trigger: TriggerRequest
    policy: SchedulePolicy = Field(default=SchedulePolicy(), description="What happens around the plain rhythm.")

    def descriptor(self) -> RecurrentTaskDescriptor:
        """Return what the scheduler is asked for; raises what is wrong with the request."""
        chosen = {} if self.id is None else {"id": self.id}
        return RecurrentTaskDescriptor(
            **chosen, name=self.name, data=self.data, policy=self.policy, **self.trigger.fields()
        )


class SchedulePatch(Patch):
    """What to change. What is left out stays; `data` is replaced as a whole, `policy` field by field."""

    model_config = example({"trigger": {"interval_s": 60}, "policy": {"jitter_s": 5}})

    data: LeftOut[dict[str, Any]] = Field(default=None, description="The data fields of the job, all of them.")
    trigger: LeftOut[TriggerRequest] = Field(default=None, description="The new trigger: the rhythm begins anew.")
    policy: LeftOut[SchedulePolicy] = Field(default=None, description="The fields of the policy that change.")

    def changes(self) -> dict[str, Any]:
        """Return the fields of a descriptor that change."""
        changes: dict[str, Any] = {} if self.trigger is None else self.trigger.fields()
        if self.data is not None:
            changes["data"] = self.data
        if self.policy is not None:
            changes["policy"] = self.policy.model_dump(exclude_unset=True)
        return changes


class PauseRequest(Body):
    """Why a schedule is paused."""

    model_config = example({"reason": "the database moves"})

    reason: str = Field(default="", max_length=500)


class BackfillRequest(Body):
    """A time in the past whose fires are to be run."""

    model_config = example({"since": "2026-11-20T00:00:00Z", "until": "2026-11-22T00:00:00Z"})

    since: CountedTime
    until: CountedTime


@contextmanager
def told_by_place() -> Iterator[None]:
    """Name the place in the request body for each thing that is wrong with a descriptor."""
    try:
        yield
    except ValidationError as error:
        raise invalid(error.errors(), PLACES) from None
    except UnknownJob as error:
        error.facts[IN_REQUEST] = [{"loc": ["body", "name"], "msg": "no background job has this name"}]
        raise
    except InvalidTrigger as error:
        error.facts[IN_REQUEST] = [{"loc": ["body", "trigger"], "msg": error.facts["why"]}]
        raise
    except InvalidData as error:
        found = error.facts.get("errors") or [{"loc": [], "msg": error.facts["why"]}]
        error.facts[IN_REQUEST] = [{"loc": ["body", "data", *item["loc"]], "msg": item["msg"]} for item in found]
        raise
