"""How fast jobs go, as settle.lua counts it, and what is before a job in its queue."""

from collections.abc import Awaitable
from typing import Any, cast

from domain.jobs.job import Job
from domain.jobs.pace import Flow, Outlook
from domain.runs.run import RunStatus
from infrastructure.redis.connection import RedisStore, store_errors


class RedisPace:
    """Read the pace of queues and job classes. Nothing is kept in memory: any instance says the same."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store
        self._redis = store.command
        self._key = store.key

    async def of_queue(self, queue: str) -> float | None:
        """Return how many jobs of a queue ended a second lately; None when none ever did."""
        with store_errors():
            pipe = self._redis.pipeline(transaction=False)
            pipe.hget(self._key("pace"), f"queue:{queue}")
            pipe.time()
            text, time = await pipe.execute()
        return None if text is None else Flow.parse(text).at(_ms(time))

    async def outlook(self, job: Job) -> Outlook:
        """Return what is known of how a job will fare; in three round trips at most."""
        with store_errors():
            pipe = self._redis.pipeline(transaction=False)
            pipe.hmget(self._key("pace"), [f"job:{job.task}", f"queue:{job.queue or ''}"])
            pipe.zscore(self._key("later"), job.id)
            pipe.smembers(self._key("lanes"))
            pipe.time()
            (taken, ended), due, lanes, time = await pipe.execute()
        now = _ms(time)
        facts: dict[str, Any] = {
            "due_ms": None if due is None else int(due),
            "average_ms": None if taken is None else float(taken.split()[0]),
            "per_s": None if ended is None else Flow.parse(ended).at(now),
        }
        if due is None and job.status is RunStatus.QUEUED:
            facts |= await self._place(job, [lane for lane in sorted(lanes) if _queue_of(lane) == (job.queue or "")])
        return Outlook(now, **facts)

    async def _place(self, job: Job, lanes: list[str]) -> dict[str, Any]:
        """Return what is ready before a job in its queue, and what of that executes."""
        with store_errors():
            pipe = self._redis.pipeline(transaction=False)
            for lane in lanes:
                pipe.zscore(self._key("ready", lane), job.id)
                pipe.zcard(self._key("leases", lane))
            found = await pipe.execute()
            order = next((score for score in found[::2] if score is not None), None)
            running = sum(found[1::2])
            if order is None:
                return {"running": running}
            pipe = self._redis.pipeline(transaction=False)
            for lane in lanes:
                pipe.zcount(self._key("ready", lane), "-inf", f"({order!r}")
            before = await cast(Awaitable[list[int]], pipe.execute())
        return {"running": running, "ahead": sum(before)}


def _queue_of(lane: str) -> str:
    return lane.partition("#")[2]


def _ms(time: tuple[int, int]) -> int:
    return time[0] * 1000 + time[1] // 1000
