"""What waits in the store for the history, and whose turn it is to take it there."""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import cast

from infrastructure.redis.connection import RedisStore, store_errors
from infrastructure.runs.scripts import Retention, source

LARGE_BYTES = 4_000_000
"""So much of runs is read together, about: their results may be large."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job that is over and waits; ``text`` is its run as the store has it, None when that is gone."""

    job_id: str
    ended_ms: int
    text: str | None
    payload: str | None = None


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many jobs wait, since when the first does, and how many were dropped, ever."""

    jobs: int
    oldest_s: float
    dropped: int


class ExportSet:
    """The jobs in the store that the history does not have. Every method raises ``StoreUnavailable``."""

    def __init__(self, store: RedisStore, instance_id: str, retention: Retention, *, with_params: bool = False) -> None:
        self._store = store
        self._redis = store.command
        self._instance = instance_id
        self._with_params = with_params
        self._exported = store.command.register_script(source("exported", retention))
        self._at_once = 1_000_000

    async def hold(self, lease_s: float) -> bool:
        """Take the lease of the only exporter, or renew it; tell whether this instance has it.

        It saves work and guards nothing: two exporters write the same rows.
        """
        key, lease_ms = self._store.key("history_lease"), round(lease_s * 1000)
        with store_errors():
            if await self._redis.set(key, self._instance, nx=True, px=lease_ms):
                return True
            if await cast(Awaitable[str | None], self._redis.get(key)) != self._instance:
                return False
            return bool(await self._redis.pexpire(key, lease_ms))

    async def let_go(self) -> None:
        """Give the lease up, if it is this instance's: somebody else may do better."""
        key = self._store.key("history_lease")
        with store_errors():
            if await cast(Awaitable[str | None], self._redis.get(key)) == self._instance:
                await self._redis.delete(key)

    async def first(self, most: int) -> list[Waiting]:
        """Return those that wait longest, as they are now; fewer of them after large ones."""
        most = min(most, self._at_once)
        with store_errors():
            first = self._redis.zrange(self._store.key("export"), 0, most - 1, withscores=True)
            found = await cast(Awaitable[list[tuple[str, float]]], first)
            if not found:
                return []
            ids = [job_id for job_id, _ in found]
            texts = await cast(Awaitable[list[str | None]], self._redis.hmget(self._store.key("runs"), ids))
            payloads: list[str | None] = [None] * len(ids)
            if self._with_params:
                payloads = await cast(Awaitable[list[str | None]], self._redis.hmget(self._store.key("payloads"), ids))
        size = sum(len(text) for text in (*texts, *payloads) if text)
        self._at_once = max(1, len(ids) * LARGE_BYTES // max(1, size))
        return [
            Waiting(job_id, int(ended), text, payload)
            for (job_id, ended), text, payload in zip(found, texts, payloads, strict=True)
        ]

    async def exported(self, done: Sequence[Waiting]) -> int:
        """Tell the store that the history has them, as they were; return how many it lets go: not those run again."""
        pairs = [word for one in done for word in (one.job_id, one.ended_ms)]
        with store_errors():
            return int(await self._exported(keys=[f"{self._store.prefix}:"], args=[self._instance, *pairs]))

    async def backlog(self) -> Backlog:
        """Return how many wait."""
        with store_errors():
            pipe = self._redis.pipeline(transaction=False)
            pipe.zcard(self._store.key("export"))
            pipe.zrange(self._store.key("export"), 0, 0, withscores=True)
            pipe.hget(self._store.key("meta"), "export_dropped")
            pipe.time()
            jobs, first, dropped, (seconds, _) = await pipe.execute()
        oldest_s = max(0.0, seconds - first[0][1] / 1000) if first else 0.0
        return Backlog(jobs, oldest_s, int(dropped or 0))
