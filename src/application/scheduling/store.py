"""What the scheduler needs from the store."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Protocol

from application.runs.asking import Note
from domain.scheduling.descriptor import RecurrentTaskDescriptor
from domain.scheduling.schedule import Parked, ScheduleCounts, ScheduleState


@dataclass(frozen=True, slots=True)
class Stored:
    """A schedule as it was read: ``text`` is the state's own JSON, to be compared when it is changed.

    ``waits`` says why it is due and nobody takes it: no running instance knows its job in its version.
    """

    text: str
    state: ScheduleState
    definition: RecurrentTaskDescriptor
    waits: Parked | None = None

    @property
    def lane(self) -> str:
        """What an instance must know to take it."""
        return self.state.lane


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A schedule that another version of the program wrote so that this one cannot read it: it can be seen and stopped.

    ``name`` and ``lane`` are what could be made out; ``lane`` is '' when it could not.
    """

    text: str
    name: str
    lane: str
    why: str


@dataclass(frozen=True, slots=True)
class Statistics:
    """What is counted of a schedule, and how its last run ended; times in ms."""

    counts: ScheduleCounts
    last_fire: int | None = None
    last_outcome: str | None = None
    last_error: str | None = None
    last_ended: int | None = None


@dataclass(frozen=True, slots=True)
class OpenRuns:
    """Runs of a schedule that are not over: those that execute, and those set aside, with the reason."""

    running: list[str] = field(default_factory=list)
    parked: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """A compare-and-set of one schedule with the event that tells it.

    ``before`` is None for a schedule that must not exist, ``after`` is None to remove it, ``definition`` is None to
    keep it, ``look`` None for a schedule that is not to fire. ``withdrawn`` fires were late, and will have no run.
    ``note`` is written down with it.
    """

    id: str
    before: Stored | Unreadable | None
    after: ScheduleState | None
    topic: str
    event: dict[str, object]
    definition: RecurrentTaskDescriptor | None = None
    look: int | None = None
    withdrawn: int = 0
    note: Note | None = None


@dataclass(frozen=True, slots=True)
class Changed:
    """The store's answer. ``current`` is what was found instead when the change was refused."""

    done: bool
    current: Stored | None = None
    one_shot: bool = False
    running: tuple[str, ...] = ()


class ScheduleStore(Protocol):
    """Schedules in the store. Every method raises ``StoreUnavailable`` when it does not answer."""

    async def now(self) -> int:
        """Return the store's time, ms."""
        ...

    async def change(self, change: Change) -> Changed:
        """Change one schedule, if it is still as it was read."""
        ...

    async def confirm(self) -> None:
        """Return when all that was written so far is as durable as was chosen: before a yes that needed no write."""
        ...

    async def get(self, schedule_id: str) -> Stored | None:
        """Return a schedule, or None; raises ``UnreadableSchedule``."""
        ...

    async def find(self, schedule_id: str) -> Stored | Unreadable | None:
        """Return a schedule, also one that cannot be read, or None."""
        ...

    async def find_all(self, schedule_ids: list[str]) -> "list[Stored | Unreadable | None]":
        """Return each of some schedules, also those that cannot be read, in one round trip."""
        ...

    async def statistics(self, schedule_ids: list[str]) -> list[Statistics]:
        """Return what is counted of each."""
        ...

    async def open_runs(self, job_ids: list[str]) -> list[OpenRuns]:
        """Return which runs of each execute now, and which are parked."""
        ...

    def scan(self, after: str = "") -> AsyncIterator[tuple[str, Stored | Unreadable]]:
        """Yield the schedules whose ids sort after ``after``, in the order of their ids."""
        ...
