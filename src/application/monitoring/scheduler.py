"""Start, stop, change and show the monitoring of workers: one schedule a worker, with an id that follows from it."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from application.monitoring.alerting import AlertEngine
from application.monitoring.fleet import Fleet
from application.monitoring.providers import MetricsProviders
from application.monitoring.rhythm import job_id
from application.monitoring.stores import Samples, Workers
from application.monitoring.views import BulkStart, Monitoring, MonitoringPage, MonitoringRequest, Selection
from application.monitoring.wishes import JOB, MonitoringWishes
from application.scheduling import BackgroundTasksBus, BackgroundTaskScheduler
from application.scheduling.store import ScheduleStore, Stored, Unreadable
from application.scheduling.triggers import compile_trigger
from application.scheduling.views import schedule as schedule_view
from domain.errors import RoundsmanError, StoreUnavailable
from domain.monitoring.errors import NotMonitored, WorkerNotFound
from domain.monitoring.worker import Worker
from domain.scheduling.errors import NotResumable, ScheduleNotFound
from domain.scheduling.schedule import PutResult, Stopped

log = logging.getLogger(__name__)

PREFIX = job_id("")
TOGETHER = 500
"""Workers whose facts are read in one round trip."""
AT_ONCE = 250
"""Workers that are started at the same moment: what they ask of the store is gathered, and others come in between."""
PAUSED_AT_ONCE = 32
"""To pause or resume needs a connection each, and others want some too."""


@dataclass(frozen=True)
class Started:
    """What ``start`` did, and how the worker is monitored now."""

    is_new: bool
    monitoring: Monitoring


class WorkerMonitoringScheduler:
    """The store is the truth: every method works from any process, before and after restarts.

    All raise ``StoreUnavailable``, and ``WorkerNotFound`` for a worker that is not registered.
    """

    def __init__(
        self,
        workers: Workers,
        samples: Samples,
        alerts: AlertEngine,
        bus: BackgroundTasksBus,
        scheduler: BackgroundTaskScheduler,
        schedules: ScheduleStore,
        fleet: Fleet,
        providers: MetricsProviders,
        *,
        default_interval_s: float = 5.0,
    ) -> None:
        self._workers = workers
        self._samples = samples
        self._alerts = alerts
        self._bus = bus
        self._scheduler = scheduler
        self._schedules = schedules
        self._fleet = fleet
        self._wishes = MonitoringWishes(providers, default_interval_s)

    async def start(self, worker_id: str, request: MonitoringRequest | None = None) -> Started:
        """Monitor a worker as asked; asking the same again changes nothing.

        A worker that was not monitored is looked at once at once. Raises ``InvalidMonitoring``.
        """
        worker = await self._worker(worker_id)
        before = await self._schedules.find(job_id(worker_id))
        if before is None:
            await self._fleet.expect([worker_id], await self._workers.now())
        result = await self._start(worker, request or MonitoringRequest(), before)
        if result is PutResult.UNCHANGED:
            await self._schedules.confirm()
        (found,) = await self._views([worker_id], foretell=True, in_rhythm=True)
        if found is None:
            raise NotMonitored(worker_id=worker_id)
        return Started(result is PutResult.CREATED, found)

    async def start_many(
        self, worker_ids: Sequence[str], request: MonitoringRequest | None = None
    ) -> Sequence[BulkStart]:
        """Monitor many workers as asked; say of each, in the order asked, what became of it.

        One that cannot be started keeps no other from it. Asking again makes up for what failed, and changes nothing
        else. Raises ``InvalidMonitoring`` when the request would do for none, ``StoreUnavailable`` when none was told.
        """
        wanted, ids = request or MonitoringRequest(), list(dict.fromkeys(worker_ids))
        answers: list[BulkStart] = []
        for first in range(0, len(ids), TOGETHER):
            answers += await self._start_some(ids[first : first + TOGETHER], wanted)
        return answers

    async def follow(self, worker: Worker) -> None:
        """Put the monitoring of a worker that was changed into the phase of its batch, if there is one of either."""
        stored = await self._schedules.find(job_id(worker.id))
        if isinstance(stored, Stored):
            wanted = self._wishes.descriptor(worker, MonitoringRequest(), stored.definition)
            if wanted.policy.start != stored.definition.policy.start:
                await self._bus.schedule_task(wanted)

    async def select(self, selection: Selection) -> list[str]:
        """Return the ids of the workers that a selection means, in their order."""
        if selection.worker_ids is not None:
            return list(selection.worker_ids)
        found: list[str] = []
        cursor = ""
        while True:
            page = await self._workers.page(TOGETHER, cursor)
            found += [worker.id for worker in page.items if selection.selects(worker)]
            if page.next_cursor is None:
                return found
            cursor = page.next_cursor

    async def stop(self, worker_id: str, cancel_running: bool = False) -> Stopped:
        """Monitor a worker no more, and close its alerts; raises ``NotMonitored``."""
        worker = await self._worker(worker_id)
        stopped = await self.stop_schedule(worker_id, cancel_running)
        if stopped is None:
            raise NotMonitored(worker_id=worker_id)
        await self._alerts.close(worker_id, "its monitoring was stopped", worker_name=worker.name)
        return stopped

    async def stop_schedule(self, worker_id: str, cancel_running: bool = False) -> Stopped | None:
        """Take the schedule alone out of the store; None when there is none."""
        try:
            stopped = await self._scheduler.stop_task(job_id(worker_id), cancel_running)
        except ScheduleNotFound:
            stopped = None
        await self._samples.ignore([worker_id])
        await self._fleet.forget(worker_id)
        return stopped

    async def run_now(self, worker_id: str) -> str:
        """Look at a worker now, beside its rhythm; return the run's id.

        Raises ``NotMonitored``, and ``ScheduleBusy`` while it is being looked at.
        """
        await self._worker(worker_id)
        try:
            return await self._scheduler.run_now(job_id(worker_id))
        except ScheduleNotFound:
            raise NotMonitored(worker_id=worker_id) from None

    async def get(self, worker_id: str) -> Monitoring:
        """Return how a worker is monitored; raises ``NotMonitored``."""
        await self._worker(worker_id)
        (found,) = await self._views([worker_id], foretell=True)
        if found is None:
            raise NotMonitored(worker_id=worker_id)
        return found

    async def of(self, worker_ids: Sequence[str]) -> Sequence[Monitoring | None]:
        """Return how each of some workers is monitored, None where it is not."""
        return await self._views(worker_ids, foretell=False)

    async def list(self, limit: int = 50, cursor: str = "") -> MonitoringPage:
        """Return monitored workers, those whose ids sort after ``cursor``."""
        page = await self._scheduler.list_tasks(name=JOB, limit=limit, cursor=cursor and job_id(cursor))
        infos = [(info.id.removeprefix(PREFIX), info) for info in page.items if info.id.startswith(PREFIX)]
        failures = await self._fleet.failures([worker_id for worker_id, _ in infos])
        items = [Monitoring.of(*one, failed) for one, failed in zip(infos, failures, strict=True)]
        return MonitoringPage(items=items, next_cursor=page.next_cursor and page.next_cursor.removeprefix(PREFIX))

    async def _start_some(self, ids: Sequence[str], wanted: MonitoringRequest) -> Sequence[BulkStart]:
        """Start some workers at once, a limited number at a time, and read back how they stand."""
        workers = await self._fleet.workers(ids)
        stored = dict(zip(ids, await self._schedules.find_all([job_id(one) for one in ids]), strict=True))
        for worker in list(workers.values())[:1]:
            self._wishes.descriptor(worker, wanted, None)  # what is no rhythm for one is none for all
        await self._fleet.expect([one for one in workers if stored[one] is None], await self._workers.now())
        gate = asyncio.Semaphore(AT_ONCE if wanted.paused is None else PAUSED_AT_ONCE)

        async def start(worker_id: str) -> PutResult | RoundsmanError:
            async with gate:
                try:
                    if worker_id not in workers:
                        raise WorkerNotFound(worker_id=worker_id)
                    return await self._start(workers[worker_id], wanted, stored[worker_id])
                except RoundsmanError as error:
                    return error

        results = await asyncio.gather(*(start(worker_id) for worker_id in ids))
        if PutResult.UNCHANGED in results:
            await self._schedules.confirm()
        for error in results:
            if isinstance(error, StoreUnavailable) and not any(isinstance(one, PutResult) for one in results):
                raise error
        views = await self._views(ids, foretell=False, in_rhythm=True)
        return [BulkStart.of(*one) for one in zip(ids, results, views, strict=True)]

    async def _start(self, worker: Worker, request: MonitoringRequest, before: Stored | Unreadable | None) -> PutResult:
        """Schedule one worker, if it is not as asked already; a new one is looked at once at once."""
        known = before if isinstance(before, Stored) else None
        wanted = self._wishes.descriptor(worker, request, known.definition if known else None)
        result = PutResult.UNCHANGED
        if known is None or known.definition != wanted:
            result = (await self._bus.schedule_task(wanted, fires_at_once=not request.paused)).result
        if request.paused is not None and (known is None or request.paused is not bool(known.state.paused)):
            await self._pause_or_resume(worker.id, request.paused)
        return result

    async def _views(
        self, worker_ids: Sequence[str], *, foretell: bool, in_rhythm: bool = False
    ) -> Sequence[Monitoring | None]:
        """Return how workers are monitored, in a few round trips for all of them.

        ``in_rhythm`` tells when they are looked at next after what is due now, as a first look is.
        """
        all_found = await self._schedules.find_all([job_id(worker_id) for worker_id in worker_ids])
        stored = {one: found for one, found in zip(worker_ids, all_found, strict=True) if found is not None}
        if in_rhythm:
            now = await self._schedules.now()
            stored = {one: _after_what_is_due(found, now) for one, found in stored.items()}
        if not stored:
            return [None] * len(worker_ids)
        ids = [job_id(worker_id) for worker_id in stored]
        counted, running = await self._schedules.statistics(ids), await self._schedules.open_runs(ids)
        failures = await self._fleet.failures(list(stored))
        known = {
            worker_id: Monitoring.of(
                worker_id, schedule_view(job_id(worker_id), found, statistics, runs, foretell=foretell), failed
            )
            for (worker_id, found), statistics, runs, failed in zip(
                stored.items(), counted, running, failures, strict=True
            )
        }
        return [known.get(worker_id) for worker_id in worker_ids]

    async def _pause_or_resume(self, worker_id: str, paused: bool) -> None:
        if paused:
            await self._scheduler.pause(job_id(worker_id), reason="monitoring was paused")
            return
        try:
            await self._scheduler.resume(job_id(worker_id))
        except NotResumable:
            return
        await self._samples.expect(worker_id, await self._workers.now())

    async def _worker(self, worker_id: str) -> Worker:
        worker = await self._workers.get(worker_id)
        if worker is None:
            raise WorkerNotFound(worker_id=worker_id)
        return worker


def _after_what_is_due(found: Stored | Unreadable, now: int) -> Stored | Unreadable:
    """Return a schedule as it is when what is due now was taken."""
    if isinstance(found, Unreadable) or found.state.due > now:
        return found
    due = compile_trigger(found.definition, found.state.anchor).next_after(now)
    return found if due is None else replace(found, state=found.state.model_copy(update={"due": due}))
