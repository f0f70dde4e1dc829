"""Runs in Redis: submitting, cancelling and reading them."""

import json
from collections.abc import Awaitable, Sequence
from typing import Any, cast

from redis.commands.core import AsyncScript

from application.runs.asking import Note
from application.runs.store import LaneStats, QueueStats, Submission
from domain.runs.run import TERMINAL, RunRecord, RunSpec, RunStatus
from infrastructure.redis.connection import RedisStore, store_errors
from infrastructure.runs.notes import call_of
from infrastructure.runs.scripts import Retention, source

TAG_FIELDS = ("run_id", "job_id", "name", "reason", "fire_time")
"""The part of a spec that every event of the run carries."""


def split_spec(spec: RunSpec) -> tuple[str, str]:
    """Return a spec as two texts of JSON members, without braces: the tag, which events carry, and the rest."""
    whole = spec.model_dump(mode="json", exclude_none=True)
    tag = {name: whole.pop(name) for name in TAG_FIELDS}
    return json.dumps(tag, separators=(",", ":"))[1:-1], json.dumps(whole, separators=(",", ":"))[1:-1]


def join_spec(tag: str, rest: str) -> RunSpec:
    """Return the spec that was split."""
    return RunSpec.model_validate_json(f"{{{tag},{rest}}}")


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
        lane = f"{spec.name}@{spec.version}"
        due = "" if due_ms is None else str(due_ms)
        correlation, trace = spec.correlation_id or "", spec.traceparent or ""
        args = [
            spec.run_id,
            spec.job_id,
            lane,
            spec.reason.value,
            tag,
            rest,
            data,
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
        return next(iter(await self._all([run_id])), None)

    async def one_shots(self, limit: int) -> list[RunRecord]:
        """Return one-shots that are not settled, oldest first."""
        with store_errors():
            ids = await cast(Awaitable[list[str]], self._redis.zrange(self._key("oneshots"), 0, limit - 1))
        return await self._all(ids)

    async def runs_of(self, job_id: str) -> list[RunRecord]:
        """Return unsettled runs, then settled ones, each newest first."""
        with store_errors():
            active = await cast(Awaitable[set[str]], self._redis.smembers(self._key("active", job_id)))
            history = self._redis.lrange(self._key("history", job_id), 0, self._history_kept - 1)
            settled = await cast(Awaitable[list[str]], history)
        return await self._all(sorted(active, reverse=True)) + [from_history(text) for text in settled]

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

    async def _all(self, run_ids: Sequence[str]) -> list[RunRecord]:
        if not run_ids:
            return []
        with store_errors():
            pipe = self._redis.pipeline(transaction=False)
            for run_id in run_ids:
                pipe.hgetall(self._key("run", run_id))
            pipe.hmget(self._key("parked"), run_ids)
            *found, parked = await pipe.execute()
        return [record(fields, why) for fields, why in zip(found, parked, strict=True) if fields.get("tag")]


def record(fields: dict[str, str], parked: str | None = None) -> RunRecord:
    """Return a run as it is shown, from its hash."""
    ending = json.loads(fields.get("ending", "{}"))
    status = RunStatus(fields["status"])
    return RunRecord(
        **json.loads(f"{{{fields['tag']}}}"),
        status=status,
        attempt=int(fields["attempt"]),
        queued_at=_time(fields.get("queued")),
        started_at=_time(fields.get("started")),
        ended_at=_time(fields.get("ended")),
        instance=fields.get("owner"),
        error=ending.get("error") or ending.get("why") if status in TERMINAL else _text(fields.get("error")),
        result=ending.get("result"),
        progress=float(fields["progress"]) if "progress" in fields else None,
        message=_text(fields.get("message")),
        parked=parked,
        attempts=json.loads(fields.get("story", "[]")),
    )


def _lane_stats(now: int, ready: int, running: int, first: list[tuple[str, float]]) -> LaneStats:
    return LaneStats(ready, running, max(0.0, (now - first[0][1]) / 1000) if first else None)


def from_history(text: str) -> RunRecord:
    """Return a settled run from its schedule's history."""
    entry: dict[str, Any] = json.loads(text)
    entry["error"] = entry.get("error") or entry.pop("why", None)
    return RunRecord.model_validate(entry)


def _time(text: str | None) -> Any:
    return None if text is None else int(text)


def _text(text: str | None) -> str | None:
    return None if text is None else json.loads(text)
