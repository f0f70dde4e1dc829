"""Start, stop, change and show the monitoring of workers: one schedule a worker, with an id that follows from it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from application.monitoring.alerting import AlertEngine
from application.monitoring.jobs import WorkerMetricsCollectionJob
from application.monitoring.rhythm import job_id
from application.monitoring.stores import Samples, Workers
from application.monitoring.views import Monitoring, MonitoringPage, MonitoringRequest
from application.scheduling import BackgroundTasksBus, BackgroundTaskScheduler, RecurrentTaskDescriptor
from application.scheduling.store import ScheduleStore
from application.scheduling.views import schedule as schedule_view
from domain.monitoring.errors import InvalidMonitoring, NotMonitored, WorkerNotFound
from domain.monitoring.worker import Worker
from domain.runs.job import describe
from domain.scheduling.errors import NotResumable, ScheduleBusy, ScheduleNotFound
from domain.scheduling.schedule import PutResult, ScheduleInfo, Stopped
from domain.scheduling.trigger import KINDS

log = logging.getLogger(__name__)

JOB = WorkerMetricsCollectionJob.__definition__.name
PREFIX = job_id("")


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
        *,
        default_interval_s: float = 5.0,
    ) -> None:
        self._workers = workers
        self._samples = samples
        self._alerts = alerts
        self._bus = bus
        self._scheduler = scheduler
        self._schedules = schedules
        self._default_interval_s = default_interval_s

    async def start(self, worker_id: str, request: MonitoringRequest | None = None) -> Started:
        """Monitor a worker as asked; asking the same again changes nothing.

        A worker that was not monitored is looked at once at once. Raises ``InvalidMonitoring``.
        """
        request = request or MonitoringRequest()
        await self._worker(worker_id)
        before = await self._info(worker_id)
        if before is None:
            await self._samples.expect(worker_id, await self._workers.now())
        scheduled = await self._bus.schedule_task(self._descriptor(worker_id, request, before))
        is_new = scheduled.result is PutResult.CREATED
        await self._pause_or_resume(worker_id, request.paused)
        if is_new and not request.paused:
            await self._first_look(worker_id)
        return Started(is_new, await self.get(worker_id))

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
        info = await self._info(worker_id)
        if info is None:
            raise NotMonitored(worker_id=worker_id)
        return Monitoring.of(worker_id, info)

    async def of(self, worker_ids: Sequence[str]) -> list[Monitoring | None]:
        """Return how each of some workers is monitored, None where it is not."""
        # One after another: a page of workers must not take every connection that there is.
        found = [(worker_id, await self._schedules.find(job_id(worker_id))) for worker_id in worker_ids]
        stored = {worker_id: one for worker_id, one in found if one is not None}
        if not stored:
            return [None] * len(worker_ids)
        ids = [job_id(worker_id) for worker_id in stored]
        counted, running = await self._schedules.statistics(ids), await self._schedules.open_runs(ids)
        known = {
            worker_id: Monitoring.of(worker_id, schedule_view(job_id(worker_id), one, statistics, runs, foretell=False))
            for (worker_id, one), statistics, runs in zip(stored.items(), counted, running, strict=True)
        }
        return [known.get(worker_id) for worker_id in worker_ids]

    async def list(self, limit: int = 50, cursor: str = "") -> MonitoringPage:
        """Return monitored workers, those whose ids sort after ``cursor``."""
        page = await self._scheduler.list_tasks(name=JOB, limit=limit, cursor=cursor and job_id(cursor))
        items = [Monitoring.of(info.id.removeprefix(PREFIX), info) for info in page.items if info.id.startswith(PREFIX)]
        return MonitoringPage(items=items, next_cursor=page.next_cursor and page.next_cursor.removeprefix(PREFIX))

    def _descriptor(
        self, worker_id: str, request: MonitoringRequest, before: ScheduleInfo | None
    ) -> RecurrentTaskDescriptor:
        facts: dict[str, Any] = {"id": job_id(worker_id), "name": JOB, "data": {"worker_id": worker_id}}
        if before is not None and before.descriptor is not None:
            facts["policy"] = before.descriptor.policy
        given = request.model_dump(include={"interval_s", "cron", "timezone"}, exclude_none=True)
        try:
            return RecurrentTaskDescriptor.model_validate({**facts, **self._trigger(given, before)})
        except ValidationError as error:
            why = describe(error).replace("interval:", "interval_s:", 1)
            raise InvalidMonitoring(worker_id=worker_id, why=why) from None

    def _trigger(self, given: dict[str, Any], before: ScheduleInfo | None) -> dict[str, Any]:
        """Return the trigger that is asked for, else the one there is, else the default."""
        known = before.descriptor if before else None
        old = known.model_dump(include={*KINDS, "timezone"}) if known else {}
        asked = {name.removesuffix("_s"): value for name, value in given.items()}
        if "interval" in asked or "cron" in asked:
            timezone = asked.get("timezone") or old.get("timezone") or "UTC"
            return {"interval": asked.get("interval"), "cron": asked.get("cron"), "timezone": timezone}
        return {"interval": self._default_interval_s, **old, **asked}

    async def _pause_or_resume(self, worker_id: str, paused: bool | None) -> None:
        if paused is True:
            await self._scheduler.pause(job_id(worker_id), reason="monitoring was paused")
        elif paused is False:
            try:
                await self._scheduler.resume(job_id(worker_id))
            except NotResumable:
                return
            await self._samples.expect(worker_id, await self._workers.now())

    async def _first_look(self, worker_id: str) -> None:
        """Look once beside the rhythm, so that the first sample need not wait for it."""
        try:
            await self._scheduler.run_now(job_id(worker_id))
        except (ScheduleBusy, ScheduleNotFound) as error:
            log.info("no first look at worker %s beside its rhythm: %s", worker_id, error)

    async def _worker(self, worker_id: str) -> Worker:
        worker = await self._workers.get(worker_id)
        if worker is None:
            raise WorkerNotFound(worker_id=worker_id)
        return worker

    async def _info(self, worker_id: str) -> ScheduleInfo | None:
        try:
            info = await self._scheduler.get_task_info(job_id(worker_id))
        except ScheduleNotFound:
            return None
        return info if isinstance(info, ScheduleInfo) else None
