"""Jobs in Redis: accepting them, many a call, and reading them newest first."""

import asyncio
import json
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from application.jobs.store import Accepted, JobFilter, NewJob, RunPage, Verdict
from application.runs.asking import Note
from application.scheduling.moments import milliseconds
from domain.errors import StoreUnavailable
from domain.jobs.errors import InvalidJobQuery
from domain.jobs.job import Job
from domain.jobs.pace import Outlook
from domain.runs.run import TERMINAL, RunRecord, RunStatus, lane_of
from infrastructure.jobs.pace import RedisPace
from infrastructure.redis.connection import RedisStore, store_errors
from infrastructure.runs.notes import call_of
from infrastructure.runs.records import payload_of, split_spec
from infrastructure.runs.scripts import Retention, source
from infrastructure.runs.store import RedisRunStore

TOGETHER = 250
"""Jobs a call: the store serves nobody else meanwhile."""
PARTS_UNDER_WAY = 2
READ_AT_ONCE = 500
READ_AT_MOST = 5_000
"""How many jobs one page looks at, at most: a rare one is found over several pages."""
INDEXES = ("oneshots", "done", "dead")
"""Jobs that are not over, by when they came; those that are, by when they ended; those that failed, kept for longer."""


class RedisJobs:
    """Implements ``application.jobs.store.JobStore``."""

    def __init__(
        self,
        store: RedisStore,
        runs: RedisRunStore,
        instance_id: str,
        retention: Retention,
        key_kept_s: float = 86_400.0,
    ) -> None:
        """``key_kept_s``: how long an idempotency key is remembered."""
        self._store = store
        self._redis = store.command
        self._runs = runs
        self._pace = RedisPace(store)
        self._instance = instance_id
        self._key_kept_ms = round(key_kept_s * 1000)
        self._enqueue = store.command.register_script(source("enqueue", retention))
        self._rerun = store.command.register_script(source("rerun", retention))

    async def now(self) -> int:
        """Return the store's time, ms."""
        return await self._store.now()

    async def enqueue(
        self, jobs: Sequence[NewJob], most_waiting: dict[str, int], note: Note | None
    ) -> list[Accepted | StoreUnavailable]:
        """Accept jobs, in parts; each part is one step, and the next is made ready while the store takes it."""
        parts = [jobs[start : start + TOGETHER] for start in range(0, len(jobs), TOGETHER)]
        head = [json.dumps(most_waiting), self._key_kept_ms]
        under_way = asyncio.Semaphore(PARTS_UNDER_WAY)

        async def enqueue(part: Sequence[NewJob], note: Note | None) -> list[Accepted | StoreUnavailable]:
            async with under_way:
                args: list[Any] = [*head]
                for job in part:
                    args += _arguments(job)
                call = call_of(self._store, self._instance, args, note)
                try:
                    with store_errors():
                        return [_accepted(*one) for one in await self._store.acknowledged(self._enqueue, *call)]
                except StoreUnavailable as error:
                    return [error] * len(part)

        made = await asyncio.gather(*(enqueue(part, None if i else note) for i, part in enumerate(parts)))
        return [one for part in made for one in part]

    async def knows(self, key: str) -> bool:
        """Tell whether an idempotency key is remembered."""
        with store_errors():
            return bool(await self._redis.exists(self._store.key("idem", key)))

    async def params(self, job_id: str) -> dict[str, Any] | None:
        """Return the data of a job."""
        with store_errors():
            payload = await cast(Awaitable[str | None], self._redis.hget(self._store.key("payloads"), job_id))
        data = None if payload is None else json.loads(payload.partition("\n")[2])
        return data if isinstance(data, dict) else None

    async def rerun(self, job_ids: Sequence[str], why: str, note: Note | None) -> dict[str, str]:
        """Queue jobs again."""
        had: dict[str, str] = {}
        for start in range(0, len(job_ids), TOGETHER):
            args = [why, *job_ids[start : start + TOGETHER]]
            with store_errors():
                reply = await self._store.acknowledged(self._rerun, *call_of(self._store, self._instance, args, note))
            had |= dict(reply)
        return had

    async def page(self, wanted: JobFilter, limit: int, cursor: str) -> RunPage:
        """Return jobs: what is not over, then what is, each newest first."""
        found: list[tuple[RunRecord, str]] = []
        indexes = _indexes(wanted)
        at, after = _read_cursor(cursor)
        read, behind = 0, await self._place(indexes, at, after)
        while at < len(indexes) and len(found) <= limit and read < READ_AT_MOST:
            ids = await self._newest(indexes[at], after)
            read += len(ids)
            runs = await self._runs.find(ids)
            found += [(run, f"{at}:{run.run_id}") for run in runs if wanted.takes(run)]
            behind = _last_ended(runs) or behind
            at, after = (at, ids[-1]) if len(ids) == READ_AT_ONCE else (at + 1, "")
        if len(found) > limit:
            return RunPage([run for run, _ in found[:limit]], found[limit - 1][1])
        return RunPage([run for run, _ in found], f"{at}:{after}" if at < len(indexes) else None, behind)

    async def pace_of(self, queue: str) -> float | None:
        """Return how many jobs of a queue ended a second lately."""
        return await self._pace.of_queue(queue)

    async def outlook(self, job: Job) -> Outlook:
        """Return what is known of how a job will fare."""
        return await self._pace.outlook(job)

    async def _place(self, indexes: Sequence[str], at: int, after: str) -> tuple[int, str] | None:
        """Return when the job of a cursor ended, and its id; None when it is not over, or there is none."""
        if not after or at >= len(indexes) or indexes[at] == INDEXES[0]:
            return None
        with store_errors():
            ended = await self._redis.zscore(self._store.key(indexes[at]), after)
        return None if ended is None else (int(ended), after)

    async def _newest(self, index: str, after: str) -> list[str]:
        """Return ids of an index from the newest on, or those that come after one of them."""
        key = self._store.key(index)
        with store_errors():
            first = 0
            if after:
                rank = await cast(Awaitable[int | None], self._redis.zrevrank(key, after))
                if rank is None:
                    raise InvalidJobQuery(
                        why=f"the cursor names the job '{after}', which moved on; ask from the start again"
                    )
                first = rank + 1
            return await cast(Awaitable[list[str]], self._redis.zrevrange(key, first, first + READ_AT_ONCE - 1))


def _last_ended(runs: Sequence[RunRecord]) -> tuple[int, str] | None:
    ended = [(milliseconds(run.ended_at), run.run_id) for run in runs[-1:] if run.ended_at is not None]
    return ended[-1] if ended else None


def _indexes(wanted: JobFilter) -> tuple[str, ...]:
    if wanted.status is None:
        return INDEXES[:2]
    if wanted.status is RunStatus.FAILED:
        return INDEXES[2:]
    return INDEXES[1:2] if wanted.status in TERMINAL else INDEXES[:1]


def _read_cursor(cursor: str) -> tuple[int, str]:
    """Return in which index, and behind which job, a page begins."""
    if not cursor:
        return 0, ""
    place, found, after = cursor.partition(":")
    if not found or not place.isdecimal():
        raise InvalidJobQuery(why=f"cursor '{cursor}' is not one that this list gave")
    return int(place), after


def _arguments(job: NewJob) -> list[str]:
    """Return what enqueue.lua reads of one job."""
    spec = job.spec
    tag, rest = split_spec(spec)
    notes: dict[str, Any] = {}
    if spec.correlation_id:
        notes["corr"] = spec.correlation_id
    if spec.traceparent:
        notes["trace"] = spec.traceparent
    if job.ahead_ms:
        notes["ahead_ms"] = job.ahead_ms
    if job.limit_key:
        notes |= {"key": job.limit_key, "key_limit": job.at_once}
    return [
        spec.run_id,
        lane_of(spec.name, spec.version, spec.queue),
        tag,
        payload_of(rest, job.data),
        json.dumps(notes) if notes else "",
        "" if job.due_ms is None else str(job.due_ms),
        "" if job.expires_ms is None else str(job.expires_ms),
        job.key,
        job.digest,
    ]


def _accepted(verdict: str, job_id: str, status: str, told: str) -> Accepted:
    if verdict == "full":
        return Accepted("full", job_id, waiting=int(told))
    queued = datetime.fromtimestamp(int(told) / 1000, UTC) if told else None
    return Accepted(cast(Verdict, verdict), job_id, status, queued)
