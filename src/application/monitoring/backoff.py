"""Look less often at workers whose looks fail, and as usual again when one succeeds."""

import logging
from datetime import datetime

from application.monitoring.fleet import Fleet, Watched
from application.monitoring.rhythm import Rhythms, job_id
from application.scheduling import BackgroundTaskScheduler
from domain.monitoring.backoff import Failures, pause_s
from domain.scheduling.errors import ScheduleNotFound
from domain.scheduling.schedule import ScheduleInfo

log = logging.getLogger(__name__)


class Backoff:
    """Move the next due time of a failing worker's schedule; its definition and generation stay.

    The failures are in the store, so any instance counts on where another left off. A healthy worker costs no round
    trip: its failures are read together with it. How often it *should* be heard of stays what its rhythm says, so its
    no-data alert fires in time. Looks that somebody asks for count as any other, and are held back by nothing.
    """

    def __init__(self, fleet: Fleet, rhythms: Rhythms, scheduler: BackgroundTaskScheduler) -> None:
        self._fleet = fleet
        self._rhythms = rhythms
        self._scheduler = scheduler

    async def watched(self, worker_id: str) -> Watched | None:
        """Return a worker that is to be looked at, with its failures."""
        return await self._fleet.watched(worker_id)

    async def failed(self, watched: Watched, now: datetime) -> Failures:
        """Count a failure, and put the next look off if there were several; return what is remembered of them."""
        worker_id, before = watched.worker.id, watched.failures
        count = before.count + 1 if before else 1
        until = await self._put_off(worker_id, count, now)
        failures = Failures(count=count, backing_off_until=until)
        await self._fleet.note(worker_id, failures)
        return failures

    async def ended(self, watched: Watched, *, goes_on: bool = True) -> None:
        """Forget the failures of a worker, if there were any, and go on in its rhythm."""
        if watched.failures is None:
            return
        if goes_on and watched.failures.backing_off_until is not None:
            await self._postpone(watched.worker.id, 0.0)
        await self._fleet.forget(watched.worker.id)

    async def _put_off(self, worker_id: str, count: int, now: datetime) -> datetime | None:
        """Postpone the next look as the failures ask for; return until when, None for as usual."""
        if pause_s(count, 1.0) == 0:  # whatever its rhythm is
            return None
        rhythm = await self._rhythms.of(worker_id, now)
        pause = 0.0 if rhythm is None else pause_s(count, rhythm.interval_s)
        info = await self._postpone(worker_id, pause) if pause else None
        return None if info is None else info.next_fire

    async def _postpone(self, worker_id: str, delay_s: float) -> ScheduleInfo | None:
        try:
            return await self._scheduler.postpone(job_id(worker_id), delay_s, "backoff of monitoring")
        except ScheduleNotFound:
            log.info("worker %s is not monitored any more", worker_id)
            return None
