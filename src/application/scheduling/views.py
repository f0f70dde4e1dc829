"""Schedules as people see them, from what is stored."""

from datetime import datetime
from typing import Any

from application.scheduling import words
from application.scheduling.combined import HASTY
from application.scheduling.moments import LAST_MOMENT, at, milliseconds
from application.scheduling.store import OpenRuns, Statistics, Stored, Unreadable
from application.scheduling.triggers import compile_trigger
from domain.scheduling.errors import InvalidTrigger, UnreadableSchedule
from domain.scheduling.schedule import Parked, ScheduleCounts, ScheduleInfo, ScheduleState, ScheduleStatus

NOTHING = Statistics(ScheduleCounts())
NONE_OPEN = OpenRuns()
FORETOLD = 5
"""Due times to come that one schedule shows."""


def status(state: ScheduleState) -> ScheduleStatus:
    """Return how a schedule stands; parked outweighs paused."""
    if state.parked:
        return ScheduleStatus.PARKED
    return ScheduleStatus.PAUSED if state.paused else ScheduleStatus.ACTIVE


def standing(stored: Stored | Unreadable) -> ScheduleStatus:
    """Return how a schedule stands: parked too while nobody knows it, unless it rests anyway, or nobody can read it."""
    if isinstance(stored, Unreadable):
        return ScheduleStatus.PARKED
    found = status(stored.state)
    return ScheduleStatus.PARKED if stored.waits and found is ScheduleStatus.ACTIVE else found


def name_of(stored: Stored | Unreadable) -> str:
    """Return the name of a schedule's background job."""
    return stored.name if isinstance(stored, Unreadable) else stored.definition.name


def schedule(
    schedule_id: str,
    stored: Stored | Unreadable,
    counted: Statistics = NOTHING,
    open_runs: OpenRuns = NONE_OPEN,
    *,
    foretell: bool = True,
) -> ScheduleInfo:
    """Return what is known of one schedule. To ``foretell`` its next fires costs too much for a list."""
    if isinstance(stored, Unreadable):
        return _unreadable(schedule_id, stored, counted, open_runs)
    state = stored.state
    stands = standing(stored)
    return ScheduleInfo(
        id=schedule_id,
        name=stored.definition.name,
        descriptor=stored.definition,
        status=stands,
        generation=state.generation,
        created_at=at(int(state.incarnation[:-4], 16)),
        next_fire=at(state.due) if stands is ScheduleStatus.ACTIVE else None,
        when=words.describe(stored.definition, state.anchor),
        next_fires=_coming(stored) if foretell and stands is ScheduleStatus.ACTIVE else [] if foretell else None,
        **_went(counted, open_runs),
        paused=state.paused,
        parked=state.parked or (stored.waits if stands is ScheduleStatus.PARKED else None),
    )


def _coming(stored: Stored) -> list[datetime]:
    """Return the next due times; fewer where it ends, or where they are hard to find."""
    definition, due = stored.definition, stored.state.due
    try:
        trigger = compile_trigger(definition, stored.state.anchor, looks=HASTY)
    except InvalidTrigger:  # a newer version of the program can read it
        return [at(due)]
    end = LAST_MOMENT if definition.policy.end is None else milliseconds(definition.policy.end)
    found = [due]
    while len(found) < FORETOLD and (following := trigger.next_after(found[-1])) is not None and following <= end:
        found.append(following)
    return [at(fire) for fire in found]


def _unreadable(schedule_id: str, found: Unreadable, counted: Statistics, open_runs: OpenRuns) -> ScheduleInfo:
    return ScheduleInfo(
        id=schedule_id,
        name=found.name,
        descriptor=None,
        status=ScheduleStatus.PARKED,
        generation=None,
        created_at=None,
        next_fire=None,
        **_went(counted, open_runs),
        parked=Parked(reason=str(UnreadableSchedule(id=schedule_id, why=found.why)).replace("\n", " ")),
    )


def _went(counted: Statistics, open_runs: OpenRuns) -> dict[str, Any]:
    """Return how it went so far."""
    return {
        "last_fire": None if counted.last_fire is None else at(counted.last_fire),
        "last_outcome": counted.last_outcome,
        "last_error": counted.last_error,
        "last_ended_at": None if counted.last_ended is None else at(counted.last_ended),
        "counts": counted.counts,
        "running": open_runs.running,
        "parked_runs": open_runs.parked,
    }
