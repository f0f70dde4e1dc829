"""Many workers at once in Redis, and the failures of looks: a hash that holds only those that fail."""

from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import cast

from application.monitoring.fleet import Fleet, Watched
from application.scheduling.moments import milliseconds
from domain.monitoring.backoff import Failures
from domain.monitoring.worker import Worker
from infrastructure.monitoring.scripts import MonitoringScripts
from infrastructure.redis.connection import store_errors

READ_BEFORE = 2_000
"""Workers that need not be read again as long as nothing of them changes; each is read twice a look."""


@lru_cache(READ_BEFORE)
def read_worker(text: str) -> Worker:
    """Return a worker as the store has it; raises ``ValueError``."""
    return Worker.model_validate_json(text)


class RedisFleet(Fleet):
    """Reads and writes of several keys, each in one round trip."""

    def __init__(self, scripts: MonitoringScripts) -> None:
        self._redis, self._gathered = scripts.store.command, scripts.store.gathered
        self._workers = scripts.key("workers")
        self._heard = scripts.key("heard")
        self._failing = scripts.key("failing")

    async def watched(self, worker_id: str) -> Watched | None:
        """Return a worker with its failures."""
        with store_errors():
            worker, failures, (seconds, microseconds) = await self._gathered(
                ["HGET", self._workers, worker_id], ["HGET", self._failing, worker_id], ["TIME"]
            )
        now = datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=microseconds)
        return Watched(read_worker(worker), now, _read(failures)) if worker else None

    async def workers(self, worker_ids: Sequence[str]) -> dict[str, Worker]:
        """Return the workers there are."""
        texts = await self._all(self._workers, worker_ids)
        known = zip(worker_ids, texts, strict=True)
        return {worker_id: read_worker(text) for worker_id, text in known if text}

    async def expect(self, worker_ids: Sequence[str], since: datetime) -> None:
        """Count silence from ``since``, and failures from none."""
        if worker_ids:
            with store_errors():
                pipe = self._redis.pipeline(transaction=False)
                pipe.zadd(self._heard, dict.fromkeys(worker_ids, milliseconds(since)), gt=True)
                pipe.hdel(self._failing, *worker_ids)
                await pipe.execute()

    async def failures(self, worker_ids: Sequence[str]) -> list[Failures | None]:
        """Return the failures of each."""
        return [_read(text) for text in await self._all(self._failing, worker_ids)]

    async def note(self, worker_id: str, failures: Failures) -> None:
        """Remember failures."""
        with store_errors():
            await self._redis.hset(self._failing, worker_id, failures.model_dump_json())

    async def forget(self, worker_id: str) -> None:
        """Forget failures."""
        with store_errors():
            await self._redis.hdel(self._failing, worker_id)

    async def _all(self, key: str, fields: Sequence[str]) -> list[str | None]:
        if not fields:
            return []
        with store_errors():
            return await cast(Awaitable[list[str | None]], self._redis.hmget(key, list(fields)))


def _read(text: str | None) -> Failures | None:
    return Failures.model_validate_json(text) if text else None
