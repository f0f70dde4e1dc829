"""Register, change, show and remove workers."""

from collections.abc import Sequence
from datetime import datetime
from uuid import uuid4

from pydantic import ValidationError

from application.monitoring.alerting import AlertEngine
from application.monitoring.importing import ImportResult, WorkerImport
from application.monitoring.providers import MetricsProviders
from application.monitoring.scheduler import WorkerMonitoringScheduler
from application.monitoring.stores import Samples, Workers
from application.monitoring.views import SamplePage, WorkerPage, WorkerView
from application.runs.asking import Note
from application.scheduling.deeds import Deed, WriteDown, unwritten
from domain.monitoring.errors import InvalidQuery, InvalidWorker, WorkerNotFound
from domain.monitoring.found import ImportRequest
from domain.monitoring.worker import Worker, WorkerPatch, WorkerRequest
from domain.runs.job import describe

MAX_WORKERS_A_PAGE = 500
MAX_SAMPLES_A_PAGE = 10_000


class WorkerRegistry:
    """The workers of this store. Raises ``WorkerNotFound`` for one that is not there, ``StoreUnavailable`` anywhere."""

    def __init__(
        self,
        workers: Workers,
        samples: Samples,
        providers: MetricsProviders,
        monitoring: WorkerMonitoringScheduler,
        alerts: AlertEngine,
        write_down: WriteDown = unwritten,
    ) -> None:
        self._workers = workers
        self._samples = samples
        self._providers = providers
        self._monitoring = monitoring
        self._alerts = alerts
        self._write_down = write_down

    async def register(self, request: WorkerRequest) -> WorkerView:
        """Add a worker; it is not monitored yet.

        Raises ``ProviderNotSupported``, ``InvalidWorker`` for what its provider could never measure, ``WorkerExists``.
        """
        provider = self._providers.get(request.provider)
        worker = Worker.register(request, request.id or f"w-{uuid4().hex[:12]}", await self._workers.now())
        provider.check(worker)
        await self._workers.create(worker, self._write_down(Deed("worker.registered", worker.id, after=worker.said)))
        return WorkerView.of(worker, None, None)

    async def import_workers(self, wanted: ImportRequest) -> ImportResult:
        """Register what a provider has; asking the same again changes nothing (see ``WorkerImport.run``)."""
        return await WorkerImport(self._workers, self._providers, self._monitoring, self._write_down).run(wanted)

    async def get(self, worker_id: str) -> WorkerView:
        """Return a worker with its monitoring and its last sample."""
        worker = await self._workers.get(worker_id)
        if worker is None:
            raise WorkerNotFound(worker_id=worker_id)
        (view,) = await self._views([worker])
        return view

    async def list(self, limit: int = 50, cursor: str = "") -> WorkerPage:
        """Return workers in the order of their ids, those after ``cursor``."""
        _check_limit(limit, MAX_WORKERS_A_PAGE)
        page = await self._workers.page(limit, cursor)
        return WorkerPage(items=[*await self._views(page.items)], next_cursor=page.next_cursor)

    async def change(self, worker_id: str, patch: WorkerPatch) -> WorkerView:
        """Change what ``patch`` names; raises ``InvalidWorker`` when the result would not be one."""

        def step(worker: Worker) -> Worker:
            changed = worker.change(patch)
            self._providers.get(changed.provider).check(changed)
            return changed

        def note(before: Worker, after: Worker) -> Note | None:
            return self._write_down(Deed("worker.changed", worker_id, before=before.said, after=after.said))

        try:
            worker = await self._workers.change(worker_id, step, note)
        except ValidationError as error:
            raise InvalidWorker(why=describe(error)) from None
        await self._monitoring.follow(worker)
        (view,) = await self._views([worker])
        return view

    async def remove(self, worker_id: str, reason: str = "removed by a person") -> None:
        """Take a worker away, with its monitoring, its samples and its alerts, which are resolved first if told.

        Should this end half way, the worker's own job and the silence check do the rest.
        """

        def note(before: Worker) -> Note | None:
            return self._write_down(Deed("worker.removed", worker_id, before=before.said))

        worker = await self._workers.remove(worker_id, reason, note)
        if worker is None:
            raise WorkerNotFound(worker_id=worker_id)
        await self._monitoring.stop_schedule(worker_id, cancel_running=True)
        await self._alerts.close(worker_id, "the worker was removed", worker_name=worker.name, is_removed=True)

    async def samples(
        self,
        worker_id: str,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 1000,
        cursor: str = "",
    ) -> SamplePage:
        """Return samples of the last 24 hours, oldest first; with neither ``since`` nor ``cursor`` the last ``limit``.

        ``cursor`` is the ``next_cursor`` of the page before. Raises ``InvalidQuery``.
        """
        _check_limit(limit, MAX_SAMPLES_A_PAGE)
        since, until = _checked("cursor", cursor or None) or _checked("since", since), _checked("until", until)
        if since is not None and until is not None and until < since:
            raise InvalidQuery(why="until is before since")
        if await self._workers.get(worker_id) is None:
            raise WorkerNotFound(worker_id=worker_id)
        one_more = 0 if since is None else 1
        found = await self._samples.between(worker_id, since, until, limit + one_more)
        following = found[limit].observed_at.isoformat() if len(found) > limit else None
        return SamplePage(items=found[:limit], next_cursor=following)

    async def _views(self, workers: Sequence[Worker]) -> Sequence[WorkerView]:
        ids = [worker.id for worker in workers]
        monitored = await self._monitoring.of(ids)
        newest = await self._samples.last(ids) if ids else []
        known = zip(workers, monitored, newest, strict=True)
        return tuple(WorkerView.of(worker, monitoring, sample) for worker, monitoring, sample in known)


def _check_limit(limit: int, most: int) -> None:
    if not 1 <= limit <= most:
        raise InvalidQuery(why=f"limit is {limit}, and must be from 1 to {most}")


def _checked(name: str, moment: datetime | str | None) -> datetime | None:
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError:
            raise InvalidQuery(why=f"{name} '{moment}' is not one that this list gave") from None
    if moment is not None and moment.tzinfo is None:
        raise InvalidQuery(why=f"{name} has no timezone; add one, for example '2026-11-22T08:00:00Z'")
    return moment
