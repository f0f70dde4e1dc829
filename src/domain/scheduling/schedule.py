"""The schedule: a recurrent descriptor in the store, and what is known of it."""

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from domain.runs.run import RunRecord
from domain.scheduling.descriptor import RecurrentTaskDescriptor


class Pause(BaseModel):
    """Who paused a schedule, when and why."""

    model_config = ConfigDict(frozen=True)

    at: datetime
    by: str
    reason: str = ""


class Parked(BaseModel):
    """Why a schedule or a run was set aside, and when; None: nobody knows when."""

    model_config = ConfigDict(frozen=True)

    at: datetime | None = None
    reason: str


class ScheduleState(BaseModel):
    """What changes as a schedule lives. Stored as JSON and compared as a whole: who changes it must have seen it.

    ``due`` and ``anchor`` are milliseconds of the store's clock. ``generation`` grows with every changed definition;
    ``incarnation`` tells a schedule from one of the same id that was deleted before.
    """

    model_config = ConfigDict(frozen=True)

    generation: int
    incarnation: str
    lane: str
    anchor: int
    """What an interval counts from."""
    due: int
    """The next nominal due time."""
    paused: Pause | None = None
    parked: Parked | None = None
    traceparent: str | None = None
    """Where in a trace this definition was asked for; its fires point there."""

    def dump(self) -> str:
        """Return the one JSON text of this state."""
        return self.model_dump_json(exclude_none=True)


class ScheduleStatus(StrEnum):
    """How a schedule stands. ``docs/state-machines.md`` draws the arrows."""

    ACTIVE = "active"
    PAUSED = "paused"
    PARKED = "parked"


class ScheduleCounts(BaseModel):
    """How many fires and runs there were, since the schedule was made."""

    fired: int = 0
    skipped: int = 0
    missed: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    retried: int = 0
    lost: int = 0


class ScheduleInfo(BaseModel):
    """A schedule as everybody may see it.

    ``descriptor``, ``when``, ``generation`` and ``created_at`` are None for one that this version of the program cannot
    read. ``when`` is its trigger in words; ``next_fires`` are the next due times, without jitter, or None in a list.
    """

    id: str
    name: str
    descriptor: RecurrentTaskDescriptor | None
    status: ScheduleStatus
    generation: int | None
    created_at: datetime | None
    next_fire: datetime | None
    when: str | None = None
    next_fires: list[datetime] | None = None
    last_fire: datetime | None = None
    last_outcome: str | None = None
    last_error: str | None = None
    last_ended_at: datetime | None = None
    counts: ScheduleCounts = ScheduleCounts()
    running: list[str] = []
    parked_runs: dict[str, str] = {}
    """Runs that are set aside, and why. Each keeps its place under the overlap policy until somebody resumes it."""
    paused: Pause | None = None
    parked: Parked | None = None


class OneShotInfo(BaseModel):
    """A one-shot as everybody may see it."""

    id: str
    name: str
    run: RunRecord


class Stopped(BaseModel):
    """What a stop did. ``running`` runs were executing; ``cancelled`` says which of them were told to end."""

    id: str
    stopped: bool = True
    running: list[str] = []
    cancelled: list[str] = []


class PutResult(StrEnum):
    """What scheduling did to the store."""

    CREATED = "created"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
