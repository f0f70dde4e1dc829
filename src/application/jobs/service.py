"""The job service: submit a job, follow it, cancel it, run it again."""

import base64
import json
import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from application.jobs.store import Accepted, JobFilter, JobStore, NewJob
from application.runs.registry import JobRegistry
from application.runs.store import RunStore
from application.scheduling.compiled import effective_retry
from application.scheduling.deeds import Deed, WriteDown, unwritten
from application.scheduling.moments import at, milliseconds
from application.scheduling.tracing import UNTRACED, SchedulingTrace
from domain.errors import RoundsmanError, StoreUnavailable
from domain.jobs.errors import (
    IdempotencyConflict,
    InvalidJob,
    JobIsOver,
    JobNotFound,
    JobNotRetryable,
    NoResultYet,
    QueueFull,
)
from domain.jobs.job import Job
from domain.jobs.queue import Queues
from domain.jobs.request import JobRequest
from domain.runs.job import JobDefinition
from domain.runs.limits import JobLimits
from domain.runs.run import TERMINAL, RunReason, RunRecord, RunSpec, RunStatus
from domain.scheduling.errors import TimeInThePast

PAST_TOLERANCE_S = 60.0
MOST_AT_ONCE = 10_000
RETRY_AFTER_S = (1, 300)
"""Shortest and longest wait that is asked of somebody who found a queue full."""


@dataclass(frozen=True)
class Submitted:
    """A job that was accepted; not ``is_new`` when its idempotency key had been used for it before."""

    job: Job
    is_new: bool


@dataclass(frozen=True)
class JobPage:
    """Some jobs; ``next_cursor`` asks for what follows, None at the end."""

    items: list[Job]
    next_cursor: str | None


class JobService:
    """Submit and follow one-shot jobs, from any process. All methods raise ``StoreUnavailable``."""

    def __init__(
        self,
        registry: JobRegistry,
        store: JobStore,
        runs: RunStore,
        queues: Queues | None = None,
        *,
        default_timeout_s: float = 300.0,
        write_down: WriteDown = unwritten,
        trace: SchedulingTrace = UNTRACED,
    ) -> None:
        self._registry = registry
        self._store = store
        self._runs = runs
        self.queues = queues or Queues()
        self._default_timeout_s = default_timeout_s
        self._write_down = write_down
        self._trace = trace

    async def submit(self, request: JobRequest) -> Submitted:
        """Accept a job, in one atomic step, or raise what is wrong with it.

        The same idempotency key with the same request again is the same job. Raises ``UnknownJob``, ``InvalidData``,
        ``UnknownQueue``, ``TimeInThePast``, ``IdempotencyConflict``, ``QueueFull``.
        """
        with self._trace.scheduling("submit", request.task, request.correlation_id or ""):
            (answer,) = await self.submit_many([request])
        if isinstance(answer, RoundsmanError):
            raise answer
        return answer

    async def submit_many(self, requests: Sequence[JobRequest]) -> list[Submitted | RoundsmanError]:
        """Accept many jobs, each by itself; answer for each in the order asked, with what is wrong with it."""
        if len(requests) > MOST_AT_ONCE:
            raise InvalidJob(why=f"{len(requests)} jobs in one call; send at most {MOST_AT_ONCE}")
        now = await self._store.now()
        made: list[NewJob | RoundsmanError] = []
        for request in requests:
            try:
                made.append(self._job(request, now))
            except RoundsmanError as error:
                made.append(error)
        new = [job for job in made if isinstance(job, NewJob)]
        answers = iter(await self._enqueue(new, requests))
        return [
            job if isinstance(job, RoundsmanError) else self._answer(request, job, next(answers))
            for request, job in zip(requests, made, strict=True)
        ]

    async def get(self, job_id: str) -> Job:
        """Return a job; raises ``JobNotFound``."""
        return _job(await self._found(job_id))

    async def result(self, job_id: str) -> Any:
        """Return what a job returned; raises ``NoResultYet`` unless it succeeded, ``JobNotFound``."""
        run = await self._found(job_id)
        if run.status is not RunStatus.SUCCEEDED:
            raise NoResultYet(id=job_id, status=run.status.value)
        return run.result

    async def list(self, wanted: JobFilter, limit: int = 50, cursor: str = "") -> JobPage:
        """Return jobs, newest first: those that are not over before those that are."""
        page = await self._store.page(wanted, limit, cursor)
        return JobPage([_job(run) for run in page.items], page.next_cursor)

    async def cancel(self, job_id: str, why: str = "cancelled by a person") -> Job:
        """End a job that is not over, one that executes too; raises ``JobIsOver`` and ``JobNotFound``.

        What was cancelled never ends as succeeded: its body may run on for a moment, and its outcome counts no more.
        """
        await self._found(job_id)
        note = self._write_down(Deed("job.cancelled", job_id, of_job=True))
        had = (await self._runs.cancel([job_id], why, note=note))[job_id]
        if had == "":
            raise JobNotFound(id=job_id)
        if had in TERMINAL:
            raise JobIsOver(id=job_id, status=had)
        return await self.get(job_id)

    async def retry(self, job_id: str) -> Job:
        """Queue a job again that failed, was cancelled or expired; raises ``JobNotRetryable`` and ``JobNotFound``."""
        had = (await self.retry_many([job_id]))[job_id]
        if had == "":
            raise JobNotFound(id=job_id)
        if had not in TERMINAL or had == RunStatus.SUCCEEDED:
            raise JobNotRetryable(id=job_id, status=had)
        return await self.get(job_id)

    async def retry_many(self, job_ids: Sequence[str]) -> dict[str, str]:
        """Queue those again that can be; return the status that each had, '' for one that is not there."""
        target = job_ids[0] if len(job_ids) == 1 else f"{len(job_ids)} jobs"
        note = self._write_down(Deed("job.retried", target, of_job=True))
        return await self._store.rerun(job_ids, "queued again by a person", note)

    async def _enqueue(
        self, new: Sequence[NewJob], requests: Sequence[JobRequest]
    ) -> Sequence[Accepted | StoreUnavailable]:
        if not new:
            return []
        names = {job.spec.queue for job in new if job.spec.queue is not None}
        return await self._store.enqueue(new, self.queues.most_waiting(names), self._note(new, requests))

    def _note(self, new: Sequence[NewJob], requests: Sequence[JobRequest]) -> Any:
        if len(new) == 1:
            spec = new[0].spec
            after = next(one for one in requests if one.task == spec.name).model_dump(
                mode="json", exclude_defaults=True
            )
            return self._write_down(Deed("job.submitted", spec.job_id, after=after, of_job=True))
        tasks = sorted({job.spec.name for job in new})
        return self._write_down(Deed("job.submitted", f"{len(new)} jobs", facts={"tasks": tasks[:20]}, of_job=True))

    def _answer(
        self, request: JobRequest, job: NewJob, accepted: Accepted | StoreUnavailable
    ) -> Submitted | RoundsmanError:
        if isinstance(accepted, StoreUnavailable):
            return accepted
        match accepted.verdict:
            case "created" | "same":
                return Submitted(_accepted(job.spec, accepted), accepted.verdict == "created")
            case "conflict":
                return IdempotencyConflict(key=request.idempotency_key, id=accepted.id)
            case "full":
                return QueueFull(queue=job.spec.queue, waiting=accepted.waiting, retry_after_s=RETRY_AFTER_S[0])
            case _:
                return InvalidJob(why=f"its id '{accepted.id}' is in use")

    def _job(self, request: JobRequest, now_ms: int) -> NewJob:
        definition = self._registry.expect(request.task, "scheduled")
        data = definition.dump(request.params)
        queue = self.queues.named(request.queue)
        job_id, now = _new_id(now_ms), at(now_ms)
        due = request.scheduled_at
        if due is not None and (late_s := (now - due).total_seconds()) > PAST_TOLERANCE_S:
            raise TimeInThePast(id=job_id, when=due.isoformat(), late_s=round(late_s))
        due_ms = None if due is None else milliseconds(due)
        expires_ms = None
        if request.expires_in_s is not None:
            expires_ms = max(due_ms or now_ms, now_ms) + math.ceil(request.expires_in_s * 1000)
        limits = definition.limits
        return NewJob(
            spec=self._spec(request, definition, job_id, queue, due or now),
            data=data,
            due_ms=due_ms,
            expires_ms=expires_ms,
            ahead_ms=self.queues.ahead_ms(request.priority),
            limit_key=_limit_key(definition, limits, data),
            at_once=limits.at_once if limits else 1,
            key=request.scoped_key,
            digest=request.digest if request.idempotency_key else "",
        )

    def _spec(self, request: JobRequest, definition: JobDefinition, job_id: str, queue: str, due: Any) -> RunSpec:
        return RunSpec(
            run_id=job_id,
            job_id=job_id,
            name=request.task,
            reason=RunReason.ONE_SHOT,
            fire_time=due,
            scheduled_at=request.scheduled_at,
            version=definition.version,
            timeout_s=request.timeout_s or definition.timeout_s or self._default_timeout_s,
            retry=effective_retry(definition.retry, request.max_retries),
            correlation_id=request.correlation_id,
            traceparent=self._trace.traceparent(),
            queue=queue,
            priority=request.priority or None,
            user_id=request.user_id,
            team_id=request.team_id,
        )

    async def _found(self, job_id: str) -> RunRecord:
        run = await self._runs.get(job_id)
        if run is None or run.reason is not RunReason.ONE_SHOT:
            raise JobNotFound(id=job_id)
        return run


def _new_id(now_ms: int) -> str:
    """Return an id that sorts by time: 48 bits of milliseconds and 80 of chance, in base 32 (RFC 4648, section 7)."""
    return base64.b32hexencode(now_ms.to_bytes(6, "big") + secrets.token_bytes(10)).decode()[:26].lower()


def _limit_key(definition: JobDefinition, limits: JobLimits | None, data: str) -> str:
    """Return what tells apart the runs of a job of which only some may execute at once; '' when all may."""
    if limits is None or not limits.key_fields:
        return ""
    values = json.loads(data)
    return f"{definition.name}:{json.dumps([values.get(field) for field in limits.key_fields], separators=(',', ':'))}"


def _accepted(spec: RunSpec, accepted: Accepted) -> Job:
    """Return a job as it stands right after it was accepted."""
    return Job(
        id=accepted.id,
        task=spec.name,
        status=RunStatus(accepted.status or RunStatus.QUEUED),
        queue=spec.queue,
        priority=spec.priority or 0,
        created_at=accepted.queued_at or spec.fire_time,
        scheduled_at=spec.scheduled_at,
        user_id=spec.user_id,
        team_id=spec.team_id,
        correlation_id=spec.correlation_id,
    )


def _job(run: RunRecord) -> Job:
    return Job(
        id=run.job_id,
        task=run.name,
        priority=run.priority or 0,
        created_at=run.queued_at or run.fire_time,
        instance_id=run.instance,
        **run.model_dump(
            include={
                *(
                    "status",
                    "queue",
                    "scheduled_at",
                    "started_at",
                    "ended_at",
                    "attempt",
                    "progress",
                    "message",
                    "error",
                ),
                *("result", "parked", "user_id", "team_id", "correlation_id"),
            }
        ),
        attempts=tuple(run.attempts),
    )
