"""Import workers: register what a provider has, and bring what is registered in line with it."""

import asyncio
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel

from application.monitoring.providers import MetricsProvider, MetricsProviders
from application.monitoring.scheduler import WorkerMonitoringScheduler
from application.monitoring.stores import Workers
from application.runs.asking import Note
from application.scheduling.deeds import Deed, WriteDown
from domain.monitoring.errors import WorkerExists, WorkerNotFound
from domain.monitoring.found import FoundWorker, ImportRequest
from domain.monitoring.worker import MAX_LABELS, Worker, WorkerRequest, WorkerStatus

TOGETHER = 50
"""Workers that are written at the same time: fewer than there are connections."""
A_PAGE = 500

Outcome = Literal["created", "updated", "unchanged"]
TERMINATED = "it is terminated here, and that is for ever: remove the worker, and import again"


class ImportedWorker(BaseModel):
    """One worker of an import, and what became of it.

    ``monitoring`` is what became of its monitoring, null where none was asked for. ``problem`` tells what is left.
    """

    id: str
    name: str
    region: str | None
    instance_id: str | None
    outcome: Outcome
    monitoring: Literal["created", "changed", "unchanged", "failed"] | None = None
    problem: str | None = None


class ImportResult(BaseModel):
    """How many workers were registered, changed and left as they were, and each of them."""

    created: int
    updated: int
    unchanged: int
    items: list[ImportedWorker]


class WorkerImport:
    """One import. Made anew for each: it remembers which workers there were when it began."""

    def __init__(
        self,
        workers: Workers,
        providers: MetricsProviders,
        monitoring: WorkerMonitoringScheduler,
        write_down: WriteDown,
    ) -> None:
        self._workers = workers
        self._providers = providers
        self._monitoring = monitoring
        self._write_down = write_down
        self._known: dict[tuple[str | None, str | None], str] = {}

    async def run(self, wanted: ImportRequest) -> ImportResult:
        """Import page by page; asking the same again changes nothing, and goes on where an import was cut off.

        Raises ``ProviderNotSupported``, ``ImportNotSupported``, ``InvalidImport``, and ``ProviderFailed``: what was
        imported until then stays.
        """
        provider = self._providers.get(wanted.provider)
        pages = provider.discover(wanted)
        await self._remember(provider)
        items: list[ImportedWorker] = []
        async for page in pages:
            for first in range(0, len(page), TOGETHER):
                part = page[first : first + TOGETHER]
                items += await asyncio.gather(*(self._import(provider, found) for found in part))
        if wanted.monitor:
            items = await self._monitored(items)
        count = {outcome: sum(item.outcome == outcome for item in items) for outcome in ("created", "updated")}
        return ImportResult(**count, unchanged=len(items) - sum(count.values()), items=items)

    async def _remember(self, provider: MetricsProvider) -> None:
        """Read which machines are registered, under whatever id."""
        cursor = ""
        while True:
            page = await self._workers.page(A_PAGE, cursor)
            for worker in page.items:
                if worker.provider == provider.name:
                    self._known[provider.batch_of(worker), worker.instance_id] = worker.id
            if page.next_cursor is None:
                return
            cursor = page.next_cursor

    async def _import(self, provider: MetricsProvider, found: FoundWorker) -> ImportedWorker:
        new = await self._new(provider, found)
        known = self._known.get((provider.batch_of(new), found.instance_id))
        if known is None:
            try:
                note = self._write_down(Deed("worker.registered", new.id, after=new.said, reason="imported"))
                await self._workers.create(new, note)
                return _item(new, "created")
            except WorkerExists:  # somebody else imports the same
                known = new.id
        try:
            return await self._update(known, found)
        except WorkerNotFound:  # it was removed meanwhile: somebody wants it gone
            return _item(new, "unchanged").model_copy(update={"problem": "it was removed while it was imported"})

    async def _new(self, provider: MetricsProvider, found: FoundWorker) -> Worker:
        now = await self._workers.now()
        facts = found.model_dump(exclude={"id", "status"})
        worker = Worker.register(WorkerRequest(provider=provider.name, **facts), found.id, now)
        return worker.observe(found.status, f"seen by the provider '{provider.name}' when it was imported", now)

    async def _update(self, worker_id: str, found: FoundWorker) -> ImportedWorker:
        changes: list[bool] = []

        def step(worker: Worker) -> Worker:
            after = _in_line(worker, found)
            changes.append(after != worker)
            return after if after != worker else worker

        def note(before: Worker, after: Worker) -> Note | None:
            deed = Deed("worker.changed", worker_id, before=before.said, after=after.said, reason="imported")
            return self._write_down(deed)

        worker = await self._workers.change(worker_id, step, note)
        item = _item(worker, "updated" if changes[-1] else "unchanged")
        is_over = worker.status is WorkerStatus.TERMINATED
        return item.model_copy(update={"problem": TERMINATED}) if is_over else item

    async def _monitored(self, items: Sequence[ImportedWorker]) -> list[ImportedWorker]:
        """Start the monitoring of all that can be monitored; who has a rhythm keeps it."""
        chosen = [item.id for item in items if item.problem is None]
        started = {answer.worker_id: answer for answer in await self._monitoring.start_many(chosen)}
        told = []
        for item in items:
            answer = started.get(item.id)
            if answer is not None:
                problem = answer.problem.detail if answer.problem else None
                told.append(item.model_copy(update={"monitoring": answer.result, "problem": problem}))
            else:
                told.append(item)
        return told


def _in_line(worker: Worker, found: FoundWorker) -> Worker:
    """Return the worker with the labels of the provider; what people added stays.

    The name follows the provider's too, unless the worker was registered by a person, under an id of its own.
    """
    labels = dict(worker.labels)
    for name, value in found.labels.items():
        if name in labels or len(labels) < MAX_LABELS:
            labels[name] = value
    name = found.name if worker.id == found.id else worker.name
    return worker.model_copy(update={"labels": labels, "name": name})


def _item(worker: Worker, outcome: Outcome) -> ImportedWorker:
    return ImportedWorker(
        id=worker.id, name=worker.name, region=worker.region, instance_id=worker.instance_id, outcome=outcome
    )
