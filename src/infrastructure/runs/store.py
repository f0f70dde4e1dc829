"""Runs in Redis: submitting, cancelling and reading them."""

from collections.abc import Awaitable, Sequence
from typing import Any, cast

from redis.commands.core import AsyncScript

from application.runs.asking import Note
from application.runs.store import LaneStats, QueueStats, Submission
from domain.runs.run import RunRecord, RunSpec, lane_of
from infrastructure.redis.connection import RedisStore, store_errors
from infrastructure.runs.notes import call_of
from infrastructure.runs.records import from_history, payload_of, record, split_spec
from infrastructure.runs.scripts import Retention, source


class RedisRunStore:
    """The asyncio side of runs. Implements ``application.runs.store.RunStore``."""

    def __init__(self, store: RedisStore, instance_id: str, retention: Retention) -> None:
        self._store = store
        self._redis = store.command
        self._key = store.key
        self._instance = instance_id
        self._history_kept = retention.runs_kept_per_schedule
        self._submit = store.command.register_script(source("submit", retention))
        self._unpark = store.command.register_script(source("unpark", retention))
        self._cancel = store.command.register_script(source("cancel", retention))

    async def submit(
        self,
        spec: RunSpec,
        data: str,
        *,
        due_ms: int | None = None,
        limit: int = 1,
        state: str = "",
        confirm: bool = True,
        note: Note | None = None,
    ) -> Submission:
        """Make one run; see the protocol."""
        tag, rest = split_spec(spec)
        lane = lane_of(spec.name, spec.version, spec.queue)
        due = "" if due_ms is None else str(due_ms)
        correlation, trace = spec.correlation_id or "", spec.traceparent or ""
        args = [
            spec.run_id,
            spec.job_id,
            lane,
            spec.reason.value,
            tag,
            payload_of(rest, data),
            correlation,
            trace,
            due,
            limit,
            state,
        ]
        keys, words = call_of(self._store, self._instance, args, note)
        with store_errors():
            if confirm:
                verdict, status, running = await self._store.acknowledged(self._submit, keys, words)
            else:
                verdict, status, running = await self._submit(keys=keys, args=words)
        return Submission(verdict, status, tuple(running))

    async def cancel(
        self, run_ids: Sequence[str], why: str, *, executing: bool = True, note: Note | None = None
    ) -> dict[str, str]:
        """Cancel runs in one step; see the protocol."""
        if not run_ids:
            return {}
        with store_errors():
            reply = await self._acknowledged(self._cancel, note, why, "1" if executing else "", *run_ids)
        return dict(reply)

    async def unpark(self, job_id: str, note: Note | None = None) -> list[str]:
        """Let the parked runs of a job go on; return them."""
        with store_errors():
            return list(await self._acknowledged(self._unpark, note, job_id))

    async def get(self, run_id: str) -> RunRecord | None:
        """Return one run, or None."""
        return next(iter(await self.find([run_id])), None)

    async def one_shots(self, limit: int) -> list[RunRecord]:
        """Return one-shots that are not settled, oldest first."""
        with store_errors():
            ids = await cast(Awaitable[list[str]], self._redis.zrange(self._key("oneshots"), 0, limit - 1))
        return await self.find(ids)

    async def runs_of(self, job_id: str) -> list[RunRecord]:
        """Return unsettled runs, then settled ones, each newest first."""
        with store_errors():
            first = await cast(Awaitable[str | None], self._redis.hget(self._key("open"), job_id))
            active = await cast(Awaitable[set[str]], self._redis.smembers(self._key("active", job_id)))
            history = self._redis.lrange(self._key("history", job_id), 0, self._history_kept - 1)
            settled = await cast(Awaitable[list[str]], history)
        return await self.find(sorted(active | {first} if first else active, reverse=True)) + [
            from_history(text) for text in settled
        ]

    async def queue_stats(self, lanes: Sequence[str]) -> QueueStats:
        """Count runs in two round trips; see the protocol."""
        with store_errors():
            known = sorted((await cast(Awaitable[set[str]], self._redis.smembers(self._key("lanes")))).union(lanes))
            pipe = self._redis.pipeline(transaction=False)
            for lane in known:
                pipe.zcard(self._key("ready", lane))
                pipe.zcard(self._key("leases", lane))
                pipe.zrange(self._key("ready", lane), 0, 0, withscores=True)
            pipe.zcard(self._key("later"))
            pipe.hlen(self._key("parked"))
            pipe.time()
            *counts, later, parked, (seconds, microseconds) = await pipe.execute()
        now = seconds * 1000 + microseconds // 1000
        stats = {lane: _lane_stats(now, *counts[3 * i : 3 * i + 3]) for i, lane in enumerate(known)}
        return QueueStats(stats, later, parked)

    async def _acknowledged(self, script: AsyncScript, note: Note | None, *args: Any) -> Any:
        return await self._store.acknowledged(script, *call_of(self._store, self._instance, args, note))

    async def find(self, run_ids: Sequence[str]) -> list[RunRecord]:
        """Return those runs that are there, in the order asked."""
        if not run_ids:
            return []
        with store_errors():
            pipe = self._redis.pipeline(transaction=False)
            pipe.hmget(self._key("runs"), run_ids)
            pipe.hmget(self._key("parked"), run_ids)
            texts, parked = await pipe.execute()
        return [record(text, why) for text, why in zip(texts, parked, strict=True) if text]


def _lane_stats(now: int, ready: int, running: int, first: list[tuple[str, float]]) -> LaneStats:
    return LaneStats(ready, running, max(0.0, (now - first[0][1]) / 1000) if first else None)
