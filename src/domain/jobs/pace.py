"""How fast jobs go, and what follows from it for one that is not over."""

import math
from dataclasses import dataclass

from domain.jobs.job import Job
from domain.runs.run import RunStatus

MEMORY_MS = 60_000
"""What ended so long ago counts a third (1/e) of what ends now. settle.lua writes by the same."""
LEAST_MS = 1_000
"""A rate over less time than this says nothing."""
LEAST_PERCENT = 5.0
"""From so much progress on, what a job says of itself is believed more than how others fared."""


@dataclass(frozen=True, slots=True)
class Flow:
    """How many jobs of a queue end: a rate that forgets, when it was last counted, and when counting began (ms)."""

    per_s: float
    last_ms: int
    first_ms: int

    @classmethod
    def parse(cls, text: str) -> "Flow":
        """Return what settle.lua wrote."""
        rate, last, first = text.split()
        return cls(float(rate), int(last), int(first))

    def at(self, now_ms: int) -> float:
        """Return how many end a second, as of now. One that has not been counted for long is not taken for slow."""
        fading = math.exp(-max(0, now_ms - self.last_ms) / MEMORY_MS)
        counted = 1 - math.exp(-max(LEAST_MS, now_ms - self.first_ms) / MEMORY_MS)
        return self.per_s * fading / counted


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is known of how a job will fare.

    ``due_ms``: it waits for this time. ``ahead``: so many jobs of its queue come before it, None when it waits for
    something else. ``running``: so many of its queue execute. ``per_s``: so many of its queue ended a second lately.
    ``average_ms``: so long did jobs of its class take; None when none ended.
    """

    now_ms: int
    due_ms: int | None = None
    ahead: int | None = None
    running: int = 0
    per_s: float | None = None
    average_ms: float | None = None


def expected_end_ms(job: Job, outlook: Outlook, started_ms: int | None) -> float | None:
    """Return when a job may be done (ms); None when it is over or parked, or nobody can tell."""
    if job.parked is not None:
        return None
    match job.status:
        case RunStatus.RUNNING:
            return None if started_ms is None else _end_of_running(job.progress, outlook, started_ms)
        case RunStatus.QUEUED | RunStatus.RETRYING:
            start = _start(outlook)
            return None if start is None or outlook.average_ms is None else start + outlook.average_ms
        case _:
            return None


def _end_of_running(progress: float | None, outlook: Outlook, started_ms: int) -> float | None:
    now, average = outlook.now_ms, outlook.average_ms
    if progress is not None and progress >= LEAST_PERCENT:
        return now + max(0, now - started_ms) * (100 - progress) / progress
    return None if average is None else max(started_ms + average, now)


def _start(outlook: Outlook) -> float | None:
    if outlook.due_ms is not None:
        return max(outlook.due_ms, outlook.now_ms)
    if not outlook.ahead or outlook.average_ms is None:
        return None if outlook.ahead is None else outlook.now_ms
    # While a queue is behind, its slots are full: then it goes as fast as these, also before anything has ended.
    by_slots = outlook.running * 1000 / max(outlook.average_ms, 1)
    pace = max(outlook.per_s or 0.0, by_slots)
    return outlook.now_ms + outlook.ahead * 1000 / pace if pace else None
