"""The registered workers in Redis: JSON in a hash, changed by compare-and-set."""

import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import cast

from application.monitoring.stores import Page, Workers, no_note
from application.runs.asking import Note
from domain.monitoring.errors import WorkerChangedMeanwhile, WorkerExists, WorkerNotFound
from domain.monitoring.worker import Worker
from infrastructure.monitoring.scripts import MonitoringScripts
from infrastructure.redis.connection import store_errors

TRIES = 20


class RedisWorkers(Workers):
    """Workers by id, in one hash beside a sorted set that gives the order of their ids."""

    def __init__(self, scripts: MonitoringScripts) -> None:
        self._scripts = scripts
        self._redis = scripts.store.command

    async def now(self) -> datetime:
        """Return the store's time."""
        with store_errors():
            ((seconds, microseconds),) = await self._scripts.store.gathered(["TIME"])
        return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=microseconds)

    async def create(self, worker: Worker, note: Note | None = None) -> None:
        """Register a worker that must not exist."""
        facts = json.dumps({**_facts(worker), "labels": worker.labels})
        created = await self._scripts.run("create_worker", [worker.id, worker.model_dump_json(), facts], note)
        if not created:
            raise WorkerExists(worker_id=worker.id)

    async def get(self, worker_id: str) -> Worker | None:
        """Return a worker, or None."""
        text = await self._text(worker_id)
        return Worker.model_validate_json(text) if text else None

    async def page(self, limit: int, cursor: str = "") -> Page:
        """Return workers after ``cursor``."""
        start = f"({cursor}" if cursor else "-"
        with store_errors():
            ids = await cast(
                Awaitable[list[str]],
                self._redis.zrangebylex(self._scripts.key("worker_ids"), start, "+", start=0, num=limit + 1),
            )
            chosen = ids[:limit]
            texts = await self._redis.hmget(self._scripts.key("workers"), chosen) if chosen else []
        # One that was removed between the two reads is simply not there.
        items = [Worker.model_validate_json(text) for text in texts if text]
        return Page(items, chosen[-1] if len(ids) > limit else None)

    async def change(
        self, worker_id: str, step: Callable[[Worker], Worker], note: Callable[[Worker, Worker], Note | None] = no_note
    ) -> Worker:
        """Compare and set until nobody was faster."""
        text = await self._text(worker_id)
        for _ in range(TRIES):
            if not text:
                raise WorkerNotFound(worker_id=worker_id)
            before = Worker.model_validate_json(text)
            after = step(before)
            if after is before:  # nothing was wanted
                return before
            if after == before:
                await self._scripts.store.confirm()
                return before
            args = [worker_id, text, after.model_dump_json(), _status_event(before, after)]
            done, text = await self._scripts.run("change_worker", args, note(before, after))
            if done:
                return after
        raise WorkerChangedMeanwhile(worker_id=worker_id, tries=TRIES)

    async def remove(
        self, worker_id: str, reason: str, note: Callable[[Worker], Note | None] = lambda _: None
    ) -> Worker | None:
        """Take a worker and its samples away, whatever it has become meanwhile."""
        text = await self._text(worker_id)
        for _ in range(TRIES):
            if not text:
                return None
            worker = Worker.model_validate_json(text)
            facts = json.dumps({**_facts(worker), "reason": reason})
            done, text = await self._scripts.run("remove_worker", [worker_id, text, facts], note(worker))
            if done:
                return worker
        raise WorkerChangedMeanwhile(worker_id=worker_id, tries=TRIES)

    async def orphans(self) -> list[str]:
        """Return removed workers whose alerts are not closed."""
        with store_errors():
            found = await cast(Awaitable[set[str]], self._redis.smembers(self._scripts.key("orphans")))
        return sorted(found)

    async def facts(self) -> dict[str, str]:
        """Return what is remembered."""
        with store_errors():
            return await cast(Awaitable[dict[str, str]], self._redis.hgetall(self._scripts.key("meta")))

    async def remember(self, facts: Mapping[str, str]) -> None:
        """Add to what is remembered."""
        with store_errors():
            await self._redis.hset(self._scripts.key("meta"), items=[word for fact in facts.items() for word in fact])

    async def _text(self, worker_id: str) -> str:
        with store_errors():
            (found,) = await self._scripts.store.gathered(["HGET", self._scripts.key("workers"), worker_id])
        return found or ""


def _facts(worker: Worker) -> dict[str, object]:
    return {
        "worker_id": worker.id,
        "worker_name": worker.name,
        "provider": worker.provider,
        "region": worker.region,
        "instance_id": worker.instance_id,
    }


def _status_event(before: Worker, after: Worker) -> str:
    if before.status is after.status:
        return ""
    return json.dumps(
        {
            **_facts(after),
            "previous": before.status,
            "status": after.status,
            "reason": after.status_reason,
            "since": after.status_since.isoformat(),
        }
    )
