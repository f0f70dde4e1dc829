"""Jobs in Redis, read newest first."""

import json
from collections.abc import Awaitable, Sequence
from typing import Any, cast

from application.jobs.store import JobFilter, RunPage
from application.scheduling.moments import milliseconds
from domain.jobs.errors import InvalidJobQuery
from domain.jobs.job import Job
from domain.jobs.pace import Outlook
from domain.runs.run import TERMINAL, RunRecord, RunStatus
from infrastructure.jobs.clock import StoreClock
from infrastructure.jobs.pace import RedisPace
from infrastructure.redis.connection import RedisStore, store_errors
from infrastructure.runs.store import RedisRunStore

READ_AT_ONCE = 500
READ_AT_MOST = 5_000
"""How many jobs one page looks at, at most: a rare one is found over several pages."""
INDEXES = ("oneshots", "done", "dead")
"""Jobs that are not over, by when they came; those that are, by when they ended; those that failed, kept for longer."""


class RedisJobs:
    """Implements ``application.jobs.store.JobStore``."""

    def __init__(self, store: RedisStore, runs: RedisRunStore) -> None:
        self._store = store
        self._redis = store.command
        self._runs = runs
        self._pace = RedisPace(store)
        self._clock = StoreClock(store)

    async def now(self) -> int:
        """Return the store's time, ms."""
        return await self._clock.now()

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
