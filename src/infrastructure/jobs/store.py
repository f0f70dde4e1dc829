"""Jobs in Redis, read newest first."""

import json
import re
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
from infrastructure.runs.records import lines_of, record
from infrastructure.runs.store import RedisRunStore

EVERY_JOB = JobFilter()
READ_AT_ONCE = 500
READ_AT_MOST = 5_000
"""How many jobs one page looks at, at most: a rare one is found over several pages."""
INDEXES = ("oneshots", "done", "dead")
"""Jobs that are not over, by when they came; those that are, by when they ended; those that failed, kept for longer."""

PLAIN = re.compile(r"[ !#-.0-\[\]-~]*")
"""Words that are the same in JSON but for its quotes, whoever wrote it."""
LAST_PLACE = float("inf")


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
        together = limit + 1 if wanted == EVERY_JOB else READ_AT_ONCE
        while at < len(indexes) and len(found) <= limit and read < READ_AT_MOST:
            ids = await self._newest(wanted, indexes[at], after, together)
            read += len(ids)
            texts, runs = await self._matching(ids, wanted)
            found += [(run, f"{at}:{run.run_id}") for run in runs]
            behind = _last_ended(texts) or behind
            at, after = (at, ids[-1]) if len(ids) == together else (at + 1, "")
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

    async def _newest(self, wanted: JobFilter, index: str, after: str, most: int) -> list[str]:
        """Return ids of an index from the newest on, or those that come after one of them."""
        key = self._store.key(index)
        with store_errors():
            if wanted.status is RunStatus.RUNNING:
                place = await self._redis.zscore(key, after) if after else LAST_PLACE
            else:
                place = await cast(Awaitable[int | None], self._redis.zrevrank(key, after)) if after else -1
            if place is None:
                why = f"the cursor names the job '{after}', which moved on; ask from the start again"
                raise InvalidJobQuery(why=why)
            if wanted.status is RunStatus.RUNNING:
                return (await self._executing((place, after)))[:most]
            first = int(place) + 1
            return await cast(Awaitable[list[str]], self._redis.zrevrange(key, first, first + most - 1))

    async def _executing(self, before: tuple[float, str]) -> list[str]:
        """Return the jobs that execute, newest first: few, where any number may wait."""
        lanes = await cast(Awaitable[set[str]], self._redis.smembers(self._store.key("lanes")))
        pipe = self._redis.pipeline(transaction=False)
        for lane in lanes:
            pipe.zrange(self._store.key("leases", lane), 0, -1)
        ids = [run_id for leased in await pipe.execute() for run_id in leased]
        came = await self._redis.zmscore(self._store.key(INDEXES[0]), ids) if ids else []
        jobs = [(score, run_id) for score, run_id in zip(came, ids, strict=True) if score is not None]
        return [run_id for score, run_id in sorted(jobs, reverse=True) if (score, run_id) < before]

    async def _matching(self, ids: Sequence[str], wanted: JobFilter) -> tuple[list[str], list[RunRecord]]:
        """Return the runs of some ids as they are stored, and those that are wanted: few are read further."""
        if not ids:
            return [], []
        with store_errors():
            stored = await cast(Awaitable[list[str | None]], self._redis.hmget(self._store.key("runs"), list(ids)))
        texts = [text for text in stored if text]
        near = [run_id for run_id, text in zip(ids, stored, strict=True) if text and _may_be(wanted, text)]
        return texts, [run for run in await self._runs.find(near) if wanted.takes(run)]


def _last_ended(texts: Sequence[str]) -> tuple[int, str] | None:
    """Return when the last of some runs ended (ms), and its id."""
    ended = [record(text) for text in texts[-1:]]
    return next(((milliseconds(run.ended_at), run.run_id) for run in ended if run.ended_at is not None), None)


def _may_be(wanted: JobFilter, text: str) -> bool:
    """Tell whether a stored run may be wanted: what is False here is, at a hundredth of the cost of reading it."""
    if wanted.status is not None and not text.startswith(f"{wanted.status}\n"):
        return False
    if wanted.since is not None and int(lines_of(text)["queued"] or 0) < milliseconds(wanted.since):
        return False
    in_lane = wanted.task is None or f"\n{wanted.task}@" in text, wanted.queue is None or f"#{wanted.queue}\n" in text
    words = (wanted.user_id, wanted.team_id, wanted.correlation_id)
    return all(in_lane) and all(word is None or not PLAIN.fullmatch(word) or f'"{word}"' in text for word in words)


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
