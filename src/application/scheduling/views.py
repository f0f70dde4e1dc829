"""Schedules as people see them, from what is stored."""

from application.scheduling.compiled import at
from application.scheduling.store import Statistics, Stored
from domain.scheduling.schedule import ScheduleCounts, ScheduleInfo, ScheduleState, ScheduleStatus

NOTHING = Statistics(ScheduleCounts())


def status(state: ScheduleState) -> ScheduleStatus:
    """Return how a schedule stands; parked outweighs paused."""
    if state.parked:
        return ScheduleStatus.PARKED
    return ScheduleStatus.PAUSED if state.paused else ScheduleStatus.ACTIVE


def standing(stored: Stored) -> ScheduleStatus:
    """Return how a schedule stands: it is parked too while nobody knows it, unless it rests anyway."""
    found = status(stored.state)
    return ScheduleStatus.PARKED if stored.waits and found is ScheduleStatus.ACTIVE else found


def schedule(
    schedule_id: str, stored: Stored, counted: Statistics = NOTHING, running: list[str] | None = None
) -> ScheduleInfo:
    """Return what is known of one schedule."""
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
        last_fire=None if counted.last_fire is None else at(counted.last_fire),
        last_outcome=counted.last_outcome,
        last_error=counted.last_error,
        last_ended_at=None if counted.last_ended is None else at(counted.last_ended),
        counts=counted.counts,
        running=running or [],
        paused=state.paused,
        parked=state.parked or (stored.waits if stands is ScheduleStatus.PARKED else None),
    )
