"""Queues in Redis, from where the engines within the program's own processes take jobs."""

import json
from collections.abc import Sequence
from typing import Any

from application.jobs.publishing import MOST_IN_ONE_STEP, UNNAMED, Accepted, JobPattern, NewJob
from application.runs.asking import Note
from domain.errors import StoreUnavailable
from domain.runs.run import RunStatus, lane_of
from infrastructure.redis.connection import RedisStore, store_errors
from infrastructure.runs.notes import call_of
from infrastructure.runs.records import split_spec
from infrastructure.runs.scripts import Retention, source

MARK = "\x01"
"""Stands for the id of a job in the texts of its pattern. JSON has no such character."""
UNNAMED_TAG = f'"run_id":"{UNNAMED}","job_id":"{UNNAMED}"'
MARKED_TAG = f'"run_id":"{MARK}","job_id":"{MARK}"'


class InProcessPublisher:
    """Implements ``QueuePublisher``: instances that execute are woken, and claim what is ready in the store."""

    def __init__(self, store: RedisStore, instance_id: str, retention: Retention, key_kept_s: float = 86_400.0) -> None:
        """``key_kept_s``: how long an idempotency key is remembered."""
        self._store = store
        self._instance = instance_id
        self._key_kept_ms = round(key_kept_s * 1000)
        self._enqueue = store.command.register_script(source("enqueue", retention))
        self._rerun = store.command.register_script(source("rerun", retention))

    async def publish(
        self, jobs: Sequence[NewJob], most_waiting: dict[str, int], note: Note | None
    ) -> list[Accepted | StoreUnavailable]:
        """Accept jobs, in one step."""
        args = [json.dumps(most_waiting), self._key_kept_ms, *_arguments(jobs)]
        call = call_of(self._store, self._instance, args, note)
        try:
            with store_errors():
                now, *told = await self._store.acknowledged(self._enqueue, *call)
        except StoreUnavailable as error:
            return [error] * len(jobs)
        now_ms = int(now)
        return [
            Accepted("created", job.id, RunStatus.QUEUED, now_ms) if one == 1 else _accepted(*one)
            for job, one in zip(jobs, told, strict=True)
        ]

    async def republish(self, job_ids: Sequence[str], why: str, note: Note | None) -> dict[str, str]:
        """Queue jobs again, some in a step."""
        had: dict[str, str] = {}
        for start in range(0, len(job_ids), MOST_IN_ONE_STEP):
            args = [why, *job_ids[start : start + MOST_IN_ONE_STEP]]
            with store_errors():
                reply = await self._store.acknowledged(self._rerun, *call_of(self._store, self._instance, args, note))
            had |= dict(reply)
        return had


def _arguments(jobs: Sequence[NewJob]) -> list[str]:
    """Return what enqueue.lua reads of jobs: how many patterns they have, these, and then each job."""
    numbers: dict[JobPattern, str] = {}
    rows: list[str] = []
    for job in jobs:
        number = numbers.get(job.pattern)
        if number is None:
            number = numbers[job.pattern] = str(len(numbers) + 1)
        rows += (number, job.id, job.data, f"{job.digest} {job.key}" if job.key else "")
    return [str(len(numbers)), *(text for pattern in numbers for text in _texts(pattern)), *rows]


def _texts(pattern: JobPattern) -> tuple[str, ...]:
    """Return what enqueue.lua reads of a pattern."""
    spec = pattern.spec
    tag, rest = split_spec(spec)
    notes: dict[str, Any] = {"corr": spec.correlation_id, "trace": spec.traceparent, "ahead_ms": pattern.ahead_ms}
    if pattern.limit_key:
        notes |= {"key": pattern.limit_key, "key_limit": pattern.at_once}
    noted = {name: value for name, value in notes.items() if value}
    return (
        lane_of(spec.name, spec.version, spec.queue),
        MARKED_TAG + tag.removeprefix(UNNAMED_TAG),
        rest,
        json.dumps(noted) if noted else "",
        "" if pattern.due_ms is None else str(pattern.due_ms),
        "" if pattern.expires_ms is None else str(pattern.expires_ms),
    )


def _accepted(verdict: Any, job_id: str, status: str, told: str) -> Accepted:
    if verdict == "full":
        return Accepted("full", job_id, waiting=int(told))
    return Accepted(verdict, job_id, RunStatus(status) if status else None, int(told) if told else None)
