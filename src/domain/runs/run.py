"""The run: one unit of execution, and the machine of its statuses."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from domain.runs.errors import InvalidTransition
from domain.runs.retry import RetryPolicy


class RunStatus(StrEnum):
    """Where a run is in its life. The last four are terminal."""

    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


TERMINAL = frozenset({RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.EXPIRED})

TRANSITIONS: dict[RunStatus, dict[RunStatus, str]] = {
    RunStatus.QUEUED: {
        RunStatus.RUNNING: "claimed by an instance",
        RunStatus.CANCELLED: "cancelled by a person, or its schedule was stopped",
        RunStatus.EXPIRED: "nobody started it in time",
    },
    RunStatus.RUNNING: {
        RunStatus.SUCCEEDED: "the body returned",
        RunStatus.FAILED: "the body raised, and no retry is left",
        RunStatus.RETRYING: "the body raised, and a retry is left",
        RunStatus.CANCELLED: "cancelled by a person, or by the body",
        RunStatus.QUEUED: "given back by an instance that stops",
        RunStatus.RUNNING: "taken over from an owner whose lease lapsed",
    },
    RunStatus.RETRYING: {
        RunStatus.QUEUED: "its time has come",
        RunStatus.FAILED: "superseded by the next fire",
        RunStatus.CANCELLED: "cancelled by a person, or its schedule was stopped",
    },
    RunStatus.SUCCEEDED: {},
    RunStatus.FAILED: {RunStatus.QUEUED: "retried by a person"},
    RunStatus.CANCELLED: {RunStatus.QUEUED: "retried by a person"},
    RunStatus.EXPIRED: {RunStatus.QUEUED: "retried by a person"},
}
"""The whole machine: status → next status → why. The store's scripts carry this very table."""


def check_transition(status: RunStatus, wanted: RunStatus) -> None:
    """Refuse a change of status that the machine does not draw."""
    if wanted not in TRANSITIONS[status]:
        raise InvalidTransition(status=status.value, wanted=wanted.value)


class RunReason(StrEnum):
    """Why a run exists."""

    FIRE = "fire"
    CATCH_UP = "catch_up"
    BACKFILL = "backfill"
    RUN_NOW = "run_now"
    ONE_SHOT = "one_shot"


class RunSpec(BaseModel):
    """What a run is, fixed when it is made. Data travels beside it, as its own JSON text."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    run_id: str
    job_id: str
    name: str
    reason: RunReason
    fire_time: datetime
    """The nominal due time, UTC; jitter does not move it."""
    scheduled_at: datetime | None = None
    """What a one-shot asked for; None: now."""
    version: int = 1
    incarnation: str = ""
    generation: int = 0
    missed: int = 0
    """How many earlier fires this one stands for."""
    timeout_s: float
    retry: RetryPolicy = RetryPolicy()
    correlation_id: str | None = None
    traceparent: str | None = None
    queue: str | None = None
    """Of a job that was submitted to one; this and what follows is None for all other runs."""
    priority: int | None = None
    user_id: str | None = None
    team_id: str | None = None


@dataclass(slots=True, eq=False)  # not frozen: one is made for each run, and freezing costs three times as much
class Claim:
    """An instance's time-limited right to execute a run. Two claims of one run are two things. Nobody changes one."""

    spec: RunSpec
    data: str
    lane: str
    attempt: int
    retries: int
    token: str


class PastAttempt(BaseModel):
    """An attempt that did not settle its run: it failed and was retried, or its owner was lost."""

    attempt: int
    instance: str | None = None
    started_at: datetime | None = None
    ended_at: datetime
    error: str


class RunRecord(BaseModel):
    """A run as the store shows it. ``attempts`` are those before the present one, oldest first, at most twenty."""

    run_id: str
    job_id: str
    name: str
    reason: RunReason
    status: RunStatus
    attempt: int = 0
    fire_time: datetime
    scheduled_at: datetime | None = None
    queue: str | None = None
    priority: int | None = None
    user_id: str | None = None
    team_id: str | None = None
    correlation_id: str | None = None
    queued_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    instance: str | None = None
    error: str | None = None
    result: Any = None
    progress: float | None = None
    """Percent, 0..100."""
    message: str | None = None
    parked: str | None = None
    attempts: list[PastAttempt] = []


def lane_of(name: str, version: int, queue: str | None = None) -> str:
    """Return the lane of a job: what an instance must know to take its work, and the queue it waits in."""
    return f"{name}@{version}#{queue}" if queue else f"{name}@{version}"
