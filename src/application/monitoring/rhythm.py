"""How often a worker is looked at, as its schedule says: the one truth about that."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from application.scheduling.compiled import milliseconds
from application.scheduling.store import ScheduleStore, Stored
from application.scheduling.triggers import compile_trigger

FIRES_AHEAD = 8
"""A cron line has no interval: the longest pause between this many fires to come stands for it."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """A worker that is monitored; paused ones are not expected to be heard of."""

    interval_s: float
    is_paused: bool


RhythmOf = Callable[[str, datetime], Awaitable[Rhythm | None]]


def job_id(worker_id: str) -> str:
    """Return the id of the schedule that measures a worker."""
    return f"worker-metrics-{worker_id}"


class Rhythms:
    """The rhythms of workers, from the job store."""

    def __init__(self, schedules: ScheduleStore) -> None:
        self._schedules = schedules

    async def of(self, worker_id: str, now: datetime) -> Rhythm | None:
        """Return a worker's rhythm; None when it is not monitored."""
        stored = await self._schedules.get(job_id(worker_id))
        return None if stored is None else Rhythm(interval_s(stored, now), stored.state.paused is not None)


def interval_s(stored: Stored, now: datetime) -> float:
    """Return after how many seconds the next sample is expected at the latest."""
    definition = stored.definition
    jitter_s = definition.policy.jitter_s
    if definition.interval is not None:
        return definition.interval + jitter_s
    trigger = compile_trigger(definition, stored.state.anchor)
    longest, moment = 0, trigger.next_after(milliseconds(now))
    for _ in range(FIRES_AHEAD):
        following = None if moment is None else trigger.next_after(moment)
        if moment is None or following is None:
            break
        longest, moment = max(longest, following - moment), following
    return longest / 1000 + jitter_s
