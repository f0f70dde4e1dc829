"""The job service: submit a job, follow it, cancel it, run it again."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from application.jobs.acceptance import Acceptance, Intake
from application.jobs.history import FROM_THE_START, JobHistory, NoHistory, before, is_past
from application.jobs.publishing import MOST_IN_ONE_STEP, Accepted, NewJob, QueuePublisher
from application.jobs.showing import accepted_job, job_of
from application.jobs.store import JobFilter, JobStore
from application.runs.registry import JobRegistry
from application.runs.store import RunStore
from application.scheduling.deeds import Deed, WriteDown, unwritten
from application.scheduling.moments import LAST_MOMENT, at, milliseconds
from application.scheduling.tracing import UNTRACED, SchedulingTrace
from domain.errors import RoundsmanError
from domain.jobs.errors import (
    HistoryUnavailable,
    IdempotencyConflict,
    InvalidJob,
    JobIsOver,
    JobIsPast,
    JobNoLongerKept,
    JobNotFound,
    JobNotRetryable,
    NoResultYet,
    QueueFull,
)
from domain.jobs.job import Job
from domain.jobs.pace import expected_end_ms
from domain.jobs.queue import Queues
from domain.jobs.request import JobRequest
from domain.jobs.statistics import JobStats
from domain.runs.run import TERMINAL, RunReason, RunStatus
from domain.scheduling.errors import TimeInThePast

MOST_AT_ONCE = 10_000
RETRY_AFTER_S = (1, 300)
"""Shortest and longest wait that is asked of somebody who found a queue full."""
UNKNOWN_PACE_RETRY_AFTER_S = 10
"""The same where nothing of the queue has ended lately, so that nobody knows."""
DRAINED = 100
"""Somebody who found a queue full comes again when one in so many that wait will have gone."""


@dataclass(frozen=True)
class Submitted:
    """A job that was accepted; not ``is_new`` when its idempotency key had been used for it before."""

    job: Job
    is_new: bool


Answer = Accepted | RoundsmanError
"""What becomes of one request of many: ``created``, ``same`` as its idempotency key made before, or what is wrong."""


@dataclass(frozen=True)
class JobPage:
    """Some jobs; ``next_cursor`` asks for what follows, None at the end."""

    items: list[Job]
    next_cursor: str | None


@dataclass(frozen=True)
class Requeued:
    """What a retry of many did: how many were queued again, and whether more are meant than were looked at."""

    retried: int
    more: bool


class JobService:
    """Submit and follow one-shot jobs, from any process. All methods raise ``StoreUnavailable``."""

    def __init__(
        self,
        registry: JobRegistry,
        publisher: QueuePublisher,
        store: JobStore,
        runs: RunStore,
        queues: Queues | None = None,
        *,
        default_timeout_s: float = 300.0,
        write_down: WriteDown = unwritten,
        trace: SchedulingTrace = UNTRACED,
        history: JobHistory | None = None,
    ) -> None:
        self._history = history or NoHistory()
        self._publisher = publisher
        self._store = store
        self._runs = runs
        self.queues = queues or Queues()
        self._acceptance = Acceptance(registry, self.queues, default_timeout_s, trace)
        self._write_down = write_down
        self._trace = trace

    async def submit(self, request: JobRequest) -> Submitted:
        """Accept a job, in one atomic step, or raise what is wrong with it.

        The same idempotency key with the same request again is the same job, as it stands now. Raises ``UnknownJob``,
        ``InvalidData``, ``UnknownQueue``, ``TimeInThePast``, ``IdempotencyConflict``, ``JobNoLongerKept``,
        ``QueueFull``.
        """
        with self._trace.scheduling("submit", request.task, ""):
            intake = self._acceptance.begin(await self._store.now())
            (made,) = await self._made([request], intake)
            if isinstance(made, RoundsmanError):
                raise made
            (answer,) = await self._send([request], [made])
        if isinstance(answer, RoundsmanError):
            raise answer
        if answer.is_new:
            return Submitted(accepted_job(made.pattern.spec, answer), is_new=True)
        return Submitted(await self.get(answer.id), is_new=False)

    async def submit_many(self, requests: Sequence[JobRequest]) -> Sequence[Answer]:
        """Accept many jobs, each by itself; answer for each in the order asked, with what is wrong with it.

        What the store gave no answer about is answered with ``StoreUnavailable``: it may have been accepted, and asking
        again with its idempotency key is safe.
        """
        if len(requests) > MOST_AT_ONCE:
            raise InvalidJob(why=f"{len(requests)} jobs in one call; send at most {MOST_AT_ONCE}")
        with self._trace.scheduling("submit", "", ""):
            intake, sent = self._acceptance.begin(await self._store.now()), []
            async with asyncio.TaskGroup() as group:
                for start in range(0, len(requests), MOST_IN_ONE_STEP):
                    part = requests[start : start + MOST_IN_ONE_STEP]
                    sent.append(group.create_task(self._send(part, await self._made(part, intake))))
                    await asyncio.sleep(0)  # it goes out while the next is made
        return [answer for part in sent for answer in part.result()]

    async def get(self, job_id: str) -> Job:
        """Return a job, from the history where the store no longer has it.

        Raises ``JobNotFound``, and ``HistoryUnavailable`` when nobody can tell.
        """
        run = await self._runs.get(job_id)
        job = job_of(run) if run is not None else await self._history.get(job_id)
        if job is None or (run is not None and run.reason is not RunReason.ONE_SHOT):
            raise JobNotFound(id=job_id)
        return job

    async def estimated_completion(self, job: Job) -> datetime | None:
        """Return when a job may be done; None when it is over or parked, or nothing is known of jobs of its class."""
        if job.status in TERMINAL or job.parked is not None:
            return None
        started_ms = None if job.started_at is None else milliseconds(job.started_at)
        end_ms = expected_end_ms(job, await self._store.outlook(job), started_ms)
        return None if end_ms is None else at(min(round(end_ms), LAST_MOMENT))

    async def params(self, job_id: str) -> dict[str, Any] | None:
        """Return the data that a job was given; None for one that is no longer kept."""
        known = await self._store.params(job_id)
        return known if known is not None else await self._history.params(job_id)

    async def result(self, job_id: str) -> Any:
        """Return what a job returned; raises ``NoResultYet`` unless it succeeded, ``JobNotFound``."""
        job = await self.get(job_id)
        if job.status is not RunStatus.SUCCEEDED:
            raise NoResultYet(id=job_id, status=job.status.value)
        return job.result

    async def list(self, wanted: JobFilter, limit: int = 50, cursor: str = "") -> JobPage:
        """Return jobs, newest first: those that are not over before those that are, and then those of the history.

        While the history cannot be asked, what the store has is listed; who asks for more gets ``HistoryUnavailable``.
        """
        if is_past(cursor):
            return await self._past(wanted, limit, cursor)
        page = await self._store.page(wanted, limit, cursor)
        jobs = [job_of(run) for run in page.items]
        if page.next_cursor is not None or (wanted.status is not None and wanted.status not in TERMINAL):
            return JobPage(jobs, page.next_cursor)
        past = before(*page.behind) if page.behind is not None else FROM_THE_START
        if len(jobs) == limit:
            return JobPage(jobs, past)
        try:
            rest = await self._past(wanted, limit - len(jobs), past)
        except HistoryUnavailable:
            return JobPage(jobs, past)
        return JobPage(jobs + rest.items, rest.next_cursor)

    async def stats(self, days: int, team_id: str | None = None) -> JobStats:
        """Return how jobs fared that ended today and in the days before, ``days`` in all (UTC).

        Raises ``HistoryIsOff`` and ``HistoryUnavailable``.
        """
        return await self._history.stats(days, team_id)

    async def cancel(self, job_id: str, why: str = "cancelled by a person") -> Job:
        """End a job that is not over, one that executes too; raises ``JobIsOver`` and ``JobNotFound``.

        What was cancelled never ends as succeeded: its body may run on for a moment, and its outcome counts no more.
        """
        job = await self.get(job_id)
        note = self._write_down(Deed("job.cancelled", job_id, of_job=True))
        had = (await self._runs.cancel([job_id], why, note=note))[job_id] or job.status.value
        if had in TERMINAL:
            raise JobIsOver(id=job_id, status=had)
        return await self.get(job_id)

    async def retry(self, job_id: str) -> Job:
        """Queue a job again that failed, was cancelled or expired.

        Raises ``JobNotRetryable``, ``JobIsPast`` and ``JobNotFound``.
        """
        had = (await self.retry_many([job_id]))[job_id]
        if had == "":
            raise JobIsPast(id=(await self.get(job_id)).id)
        if had not in TERMINAL or had == RunStatus.SUCCEEDED:
            raise JobNotRetryable(id=job_id, status=had)
        return await self.get(job_id)

    async def retry_many(self, job_ids: Sequence[str]) -> dict[str, str]:
        """Queue those again that can be; return the status that each had, '' for one that is not there."""
        target = job_ids[0] if len(job_ids) == 1 else f"{len(job_ids)} jobs"
        note = self._write_down(Deed("job.retried", target, of_job=True))
        return await self._publisher.republish(job_ids, "queued again by a person", note)

    async def retry_matching(self, wanted: JobFilter, limit: int = 1_000) -> Requeued:
        """Queue again what matches and is over without success, the newest first, ``limit`` at most."""
        if wanted.status not in TERMINAL or wanted.status is RunStatus.SUCCEEDED:
            raise InvalidJob(why="what can be queued again has the status failed, cancelled or expired")
        ids: list[str] = []
        cursor: str | None = ""
        while cursor is not None and len(ids) < limit:
            page = await self._store.page(wanted, min(limit - len(ids), MOST_IN_ONE_STEP), cursor)
            ids += [run.run_id for run in page.items]
            cursor = page.next_cursor
        had = await self.retry_many(ids) if ids else {}
        return Requeued(sum(status == wanted.status for status in had.values()), cursor is not None)

    async def _made(self, requests: Sequence[JobRequest], intake: Intake) -> Sequence[NewJob | RoundsmanError]:
        """Make jobs of requests, or find what is wrong with them."""
        made: list[NewJob | RoundsmanError] = []
        for request in requests:
            try:
                made.append(intake.job(request))
            except TimeInThePast as error:
                is_known = request.idempotency_key and await self._store.knows(request.scoped_key)
                made.append(intake.job(request, is_known=True) if is_known else error)
            except RoundsmanError as error:
                made.append(error)
        return made

    async def _send(self, requests: Sequence[JobRequest], made: Sequence[NewJob | RoundsmanError]) -> Sequence[Answer]:
        """Publish what was made of some requests; the audit tells of each such part, so that none goes untold."""
        jobs = [job for job in made if isinstance(job, NewJob)]
        accepted = iter(await self._publish(requests, made, jobs) if jobs else ())
        answers: list[Answer] = []
        for job in made:
            answer = next(accepted) if isinstance(job, NewJob) else job
            if isinstance(answer, Accepted) and isinstance(job, NewJob) and not answer.is_new:
                answer = await self._told(job, answer)
            answers.append(answer)
        return answers

    async def _publish(
        self, requests: Sequence[JobRequest], made: Sequence[NewJob | RoundsmanError], jobs: Sequence[NewJob]
    ) -> Sequence[Accepted | RoundsmanError]:
        patterns = {job.pattern for job in jobs}
        if len(jobs) == 1:
            after = requests[made.index(jobs[0])].model_dump(mode="json", exclude_defaults=True)
            deed = Deed("job.submitted", jobs[0].id, after=after, of_job=True)
        else:
            tasks = sorted({pattern.spec.name for pattern in patterns})
            deed = Deed("job.submitted", f"{len(jobs)} jobs", facts={"tasks": tasks[:20]}, of_job=True)
        most_waiting = self.queues.most_waiting({str(pattern.spec.queue) for pattern in patterns})
        return await self._publisher.publish(jobs, most_waiting, self._write_down(deed))

    async def _told(self, job: NewJob, accepted: Accepted) -> Answer:
        """Return what is told of a job that was not made."""
        key, queue = job.key.partition(":")[2], job.pattern.spec.queue
        match accepted.verdict:
            case "same":
                return accepted if accepted.status else JobNoLongerKept(key=key, id=accepted.id)
            case "conflict":
                return IdempotencyConflict(key=key, id=accepted.id)
            case "full":
                after = await self._retry_after(str(queue), accepted.waiting)
                return QueueFull(queue=queue, waiting=accepted.waiting, retry_after_s=after)
            case _:
                return InvalidJob(why=f"its id '{accepted.id}' is in use")

    async def _retry_after(self, queue: str, waiting: int) -> int:
        """Return when somebody who found a queue full may come again (s): by how fast it drained lately."""
        pace = await self._store.pace_of(queue)
        if not pace:
            return UNKNOWN_PACE_RETRY_AFTER_S
        shortest, longest = RETRY_AFTER_S
        return round(min(max(waiting / DRAINED / pace, shortest), longest))

    async def _past(self, wanted: JobFilter, limit: int, cursor: str) -> JobPage:
        """Return a page of the history, without those that were run again since: the store's list has these."""
        page = await self._history.search(wanted, limit, cursor)
        known = {run.run_id: run for run in await self._runs.find([job.id for job in page.items])}
        again = {job.id for job in page.items if job.id in known and known[job.id].ended_at != job.ended_at}
        return JobPage([job for job in page.items if job.id not in again], page.next_cursor)
