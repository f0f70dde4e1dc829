"""Schedules and runs as clients see them."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from application.scheduling.compiled import at, milliseconds
from application.scheduling.planning import look_at
from domain.runs.run import RunRecord
from domain.scheduling.policy import SchedulePolicy
from domain.scheduling.schedule import Parked, Pause, ScheduleCounts, ScheduleInfo, ScheduleStatus
from infrastructure.web.json_models import example
from infrastructure.web.lists import Page
from infrastructure.web.schedule_requests import POLICY, REQUEST
from infrastructure.web.trigger_views import TriggerView, trigger_view

UNREADABLE = "Null if it was written by another version of the program, so that this one cannot read it."
RUN_ID = "nightly-report@19aaa2f8cc00b51.1795500000000"
COUNTS = {"fired": 12, "skipped": 1, "missed": 0, "succeeded": 11, "failed": 1, "cancelled": 0, "retried": 2, "lost": 0}
SCHEDULE: dict[str, Any] = {
    **REQUEST,
    "version": 1,
    "when": "at 06:00 on weekdays, Europe/Brussels",
    "policy": {**POLICY, "start": None, "end": None, "max_retries": None},
    "status": "active",
    "generation": 3,
    "created_at": "2026-11-02T10:15:00.123Z",
    "next_fire": "2026-11-24T05:00:00Z",
    "next_fires": [f"2026-11-{day}T05:00:00Z" for day in (24, 25, 26, 27, 30)],
    "next_run_time": "2026-11-24T05:00:17.402Z",
    "last_fire": "2026-11-23T05:00:00Z",
    "last_outcome": "failed",
    "last_error": "ConnectionError: no route to host",
    "last_ended_at": "2026-11-23T05:00:21.870Z",
    "counts": COUNTS,
    "running": [],
    "parked_runs": {},
    "paused": None,
    "parked": None,
}
RUN = {
    "run_id": RUN_ID,
    "job_id": "nightly-report",
    "name": "Report",
    "reason": "fire",
    "status": "succeeded",
    "attempt": 1,
    "fire_time": "2026-11-24T05:00:00Z",
    "queued_at": None,
    "started_at": "2026-11-24T05:00:17.410Z",
    "ended_at": "2026-11-24T05:00:21.002Z",
    "instance": "host-1-4711",
    "error": None,
    "result": {"rows": 4711},
    "progress": None,
    "message": None,
    "parked": None,
}


class ScheduleView(BaseModel):
    """A schedule: what it does, when, and how it went."""

    model_config = example(SCHEDULE)

    id: str
    name: str = Field(description="The background job that it runs.")
    data: dict[str, Any] | None = Field(description=f"The job's data. {UNREADABLE}")
    version: int | None = Field(
        description="Version of the data. One below that of the job's class is upgraded each time it is loaded; an "
        f"empty change stores it in the present version. {UNREADABLE}"
    )
    trigger: TriggerView | None = Field(description=f"When it fires. {UNREADABLE}")
    when: str | None = Field(description=f"The trigger in words. {UNREADABLE}")
    policy: SchedulePolicy | None = Field(description=f"What happens around the trigger. {UNREADABLE}")
    status: ScheduleStatus
    generation: int | None = Field(description=f"Grows with every change of the definition. {UNREADABLE}")
    created_at: datetime | None = Field(description=f"When it was made. {UNREADABLE}")
    next_fire: datetime | None = Field(description="The next due time; null while it is paused or parked.")
    next_fires: list[datetime] | None = Field(
        description="The next five due times, without jitter. Empty while it is paused or parked; null in lists."
    )
    next_run_time: datetime | None = Field(description="When that fire is taken: its due time plus its jitter.")
    last_fire: datetime | None
    last_outcome: str | None
    last_error: str | None
    last_ended_at: datetime | None
    counts: ScheduleCounts = Field(description="Fires and runs since the schedule was made.")
    running: list[str] = Field(description="Ids of the runs that execute now.")
    parked_runs: dict[str, str] = Field(
        description="Ids of runs that were set aside, and why. Each keeps its place, so that under `skip` no fire runs "
        "until the schedule is resumed: what ended one process after another is not tried again by itself."
    )
    paused: Pause | None = Field(description="Who paused it, when and why.")
    parked: Parked | None = Field(
        description="Why it was set aside. What cannot be loaded waits for a person; what no running instance knows "
        "goes on by itself when one comes; what this version of the program cannot read can be stopped."
    )

    @classmethod
    def of(cls, info: ScheduleInfo) -> "ScheduleView":
        """Return a schedule as it is shown."""
        descriptor = info.descriptor
        return cls(
            **{name: getattr(info, name) for name in cls.model_fields.keys() & ScheduleInfo.model_fields.keys()},
            data=descriptor.data if descriptor else None,
            version=descriptor.version if descriptor else None,
            trigger=trigger_view(descriptor) if descriptor else None,
            policy=descriptor.policy if descriptor else None,
            next_run_time=next_run_time(info),
        )


class ScheduleList(Page[ScheduleView]):
    """Schedules in the order of their ids."""

    model_config = example({"items": [{**SCHEDULE, "next_fires": None}], "next_cursor": "nightly-report"})


class RunList(Page[RunRecord]):
    """Runs, those that are not over first."""

    model_config = example({"items": [RUN], "next_cursor": None})


class StopView(BaseModel):
    """What a stop did."""

    model_config = example({"id": "nightly-report", "stopped": True, "running": [RUN_ID], "cancelled": []})

    id: str
    stopped: bool
    running: list[str] = Field(description="Ids of the runs that were executing.")
    cancelled: list[str] = Field(description="Which of them were told to end.")


class RunStarted(BaseModel):
    """A run that was made."""

    model_config = example({"run_id": RUN_ID})

    run_id: str


class RunsStarted(BaseModel):
    """Runs that were made, in the order of their due times."""

    model_config = example({"run_ids": [RUN_ID]})

    run_ids: list[str]


def next_run_time(info: ScheduleInfo) -> datetime | None:
    """Return when the next fire of a schedule is taken, with its jitter."""
    if info.next_fire is None or info.descriptor is None:
        return None
    return at(look_at(info.id, milliseconds(info.next_fire), info.descriptor.policy))
