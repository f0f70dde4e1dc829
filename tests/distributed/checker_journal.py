"""The stores of a control side that writes down what it asks for: the checker then knows each state a schedule had."""

import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from application.jobs.publishing import Accepted, NewJob
from application.jobs.service import JobService
from application.runs.asking import Note
from application.runs.registry import JobRegistry
from application.runs.store import Submission
from application.scheduling import BackgroundTaskScheduler
from application.scheduling.store import Change, Changed
from domain.errors import StoreUnavailable
from domain.runs.run import RunSpec
from infrastructure.jobs.publisher import InProcessPublisher
from infrastructure.jobs.store import RedisJobs
from infrastructure.redis.connection import RedisStore
from infrastructure.runs.scripts import Retention
from infrastructure.runs.store import RedisRunStore
from infrastructure.scheduling.store import RedisJobStore

ALL_EVENTS = Retention(events_kept=10_000_000)
"""The checker needs every event: give the same to the processes (``ROUNDSMAN_BACKGROUND_JOBS__EVENTS_KEPT``)."""


class Journal:
    """A file in which control sides of several processes write what they ask the store for, and the answers."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, **facts: Any) -> None:
        """Append one line; one short write is atomic."""
        with self._path.open("a") as file:
            file.write(json.dumps({**facts, "at": round(time.time() * 1000)}) + "\n")

    def lines(self) -> list[dict[str, Any]]:
        """Return what was written."""
        return [json.loads(line) for line in self._path.read_text().splitlines()] if self._path.exists() else []


class JournalJobStore(RedisJobStore):
    """Marks each change with a number of its own, which its event then carries, and writes both states down."""

    def __init__(
        self, store: RedisStore, instance_id: str, journal: Journal, retention: Retention = ALL_EVENTS
    ) -> None:
        super().__init__(store, instance_id, retention)
        self._journal = journal

    async def change(self, change: Change) -> Changed:
        """Write down, change, write the answer down. An answer that is not heard stays unknown."""
        op = uuid4().hex
        before, after, definition = change.before, change.after, change.definition
        self._journal.write(
            kind="change",
            op=op,
            id=change.id,
            topic=change.topic,
            before=before.state.model_dump(mode="json") if before else None,
            after=after.model_dump(mode="json") if after else None,
            definition=definition.model_dump(mode="json") if definition else None,
        )
        changed = await super().change(dataclasses.replace(change, event={**change.event, "op": op}))
        self._journal.write(kind="changed", op=op, answer="ok" if changed.done else "stale")
        return changed


class JournalRunStore(RedisRunStore):
    """Writes down what is submitted and cancelled."""

    def __init__(
        self, store: RedisStore, instance_id: str, journal: Journal, retention: Retention = ALL_EVENTS
    ) -> None:
        super().__init__(store, instance_id, retention)
        self._journal = journal

    async def submit(self, spec: RunSpec, data: str, **how: Any) -> Submission:
        """Submit; see the protocol."""
        facts = {"kind": "submit", "op": uuid4().hex, "run_id": spec.run_id, "reason": spec.reason.value}
        self._journal.write(**facts)
        answer = await super().submit(spec, data, **how)
        self._journal.write(**facts, answer=answer.verdict)
        return answer

    async def cancel(self, run_ids: Sequence[str], why: str, *, executing: bool = True, **how: Any) -> dict[str, str]:
        """Cancel; see the protocol."""
        statuses = await super().cancel(run_ids, why, executing=executing, **how)
        for run_id, status in statuses.items():
            if executing or status != "running":
                self._journal.write(kind="cancel", op=uuid4().hex, run_id=run_id, answer=status)
        return statuses


class JournalPublisher(InProcessPublisher):
    """Writes down which jobs are submitted."""

    def __init__(
        self, store: RedisStore, instance_id: str, journal: Journal, retention: Retention = ALL_EVENTS
    ) -> None:
        super().__init__(store, instance_id, retention)
        self._journal = journal

    async def publish(
        self, jobs: Sequence[NewJob], most_waiting: dict[str, int], note: Note | None
    ) -> list[Accepted | StoreUnavailable]:
        """Submit; see the protocol."""
        facts = [{"kind": "submit", "op": uuid4().hex, "run_id": job.id, "reason": "one_shot"} for job in jobs]
        for one in facts:
            self._journal.write(**one)
        answers = await super().publish(jobs, most_waiting, note)
        for one, answer in zip(facts, answers, strict=True):
            if isinstance(answer, Accepted):
                self._journal.write(**one, answer=answer.verdict)
        return answers


def journaling_jobs(store: RedisStore, journal: Journal, jobs: Sequence[type], name: str = "control") -> JobService:
    """Return a job service, as an API process has it, that writes down what it does."""
    runs = JournalRunStore(store, name, journal)
    publisher = JournalPublisher(store, name, journal)
    return JobService(JobRegistry(jobs), publisher, RedisJobs(store, runs), runs)


def journaling_control(
    store: RedisStore, journal: Journal, jobs: Sequence[type], name: str = "control"
) -> BackgroundTaskScheduler:
    """Return a scheduler that only controls, as an API process has it, and writes down what it does."""
    schedules, runs = JournalJobStore(store, name, journal), JournalRunStore(store, name, journal)
    return BackgroundTaskScheduler(JobRegistry(jobs), schedules, runs)
