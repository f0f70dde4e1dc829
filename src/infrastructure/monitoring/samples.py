"""The samples in Redis: a stream a worker, whose entry ids are the samples' times."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from application.monitoring.looks import group_of
from application.monitoring.stores import Appended, Arrival, Samples, Silence
from application.scheduling.moments import milliseconds
from domain.errors import RoundsmanError, StrangeKey
from domain.monitoring.sample import MetricSample
from infrastructure.monitoring.packing import SHAPE, pack, shape_of, unpack
from infrastructure.monitoring.scripts import MonitoringScripts
from infrastructure.redis.connection import store_errors


def _words(one: Arrival) -> list[str | int]:
    """Return what the script wants to know of a sample."""
    sample, fields = one.sample, pack(one.sample)
    return [
        sample.worker_id,
        sample.time_ms,
        shape_of(sample),
        sample.model_dump_json(),
        one.correlation_id or "",
        sample.heard_until_ms,
        group_of(sample.provider, sample.region),
        len(fields),
        *fields,
    ]


Entry = tuple[str, dict[str, str]]


class RedisSamples(Samples):
    """Series of samples, and when each worker was last heard of."""

    def __init__(self, scripts: MonitoringScripts) -> None:
        self._scripts = scripts
        self._redis, self._gathered = scripts.store.command, scripts.store.gathered

    async def append_all(self, arrivals: Sequence[Arrival]) -> list[Appended | Exception]:
        """Store and tell samples in one call; each alone, where the store has something in it that stops them all."""
        try:
            args = [word for one in arrivals for word in _words(one)]
            return cast(list[Appended | Exception], await self._scripts.run("append_samples", args, hurries=True))
        except RoundsmanError as error:
            if not isinstance(error, StrangeKey) or len(arrivals) == 1:
                return [error for _ in arrivals]
        return [verdict for one in arrivals for verdict in await self.append_all([one])]

    async def between(
        self, worker_id: str, since: datetime | None, until: datetime | None, limit: int
    ) -> list[MetricSample]:
        """Return samples of a time, oldest first."""
        oldest = (await self._now_ms()) - round(self._scripts.retention.samples_kept_s * 1000)
        low = oldest if since is None else max(milliseconds(since), oldest)
        high = "+" if until is None else str(milliseconds(until))
        stream = self._scripts.key("samples", worker_id)
        with store_errors():
            if since is not None:
                return await self._unpack(worker_id, await self._redis.xrange(stream, low, high, count=limit))
            newest_first = await self._redis.xrevrange(stream, high, low, count=limit)
        return (await self._unpack(worker_id, newest_first))[::-1]

    async def after(self, worker_id: str, time_ms: int, limit: int) -> list[MetricSample]:
        """Return the samples that follow."""
        with store_errors():
            stream = self._scripts.key("samples", worker_id)
            (found,) = await self._gathered(["XRANGE", stream, f"({time_ms}-0", "+", "COUNT", limit])
        return await self._unpack(worker_id, found)

    async def last(self, worker_ids: Sequence[str]) -> list[MetricSample | None]:
        """Return the newest sample of each."""
        with store_errors():
            pipe = self._redis.pipeline(transaction=False)
            for worker_id in worker_ids:
                pipe.xrevrange(self._scripts.key("samples", worker_id), count=1)
            newest = await pipe.execute()
        samples = [await self._unpack(worker_id, found) for worker_id, found in zip(worker_ids, newest, strict=True)]
        return [found[0] if found else None for found in samples]

    async def silence(self, longest_pause_s: float, quiet_s: float, limit: int) -> Silence:
        """Look for silent workers."""
        args = [round(longest_pause_s * 1000), round(quiet_s * 1000), limit]
        now, since, silent = await self._scripts.run("watch", args)
        heard = dict(zip(silent[::2], silent[1::2], strict=True))
        return Silence(
            now=_datetime(int(now)),
            watching_since=_datetime(int(since)),
            quiet_since={worker_id: _datetime(int(float(ms))) for worker_id, ms in heard.items()},
        )

    async def expect(self, worker_id: str, since: datetime) -> None:
        """Count silence from ``since``, unless heard of later."""
        with store_errors():
            await self._redis.zadd(self._scripts.key("heard"), {worker_id: milliseconds(since)}, gt=True)

    async def ignore(self, worker_ids: Sequence[str]) -> None:
        """Count no silence."""
        if worker_ids:
            with store_errors():
                await self._redis.zrem(self._scripts.key("heard"), *worker_ids)

    async def _unpack(self, worker_id: str, found: Any) -> list[MetricSample]:
        entries = cast(list[Entry], found)
        numbers = sorted({fields[SHAPE] for _, fields in entries})
        if not numbers:
            return []
        with store_errors():
            (texts,) = await self._gathered(["HMGET", self._scripts.key("shapes", worker_id), *numbers])
        shapes = dict(zip(numbers, texts, strict=True))
        # An entry whose shape is gone was trimmed between the two reads.
        return [
            unpack(worker_id, entry_id, fields, shape)
            for entry_id, fields in entries
            if (shape := shapes[fields[SHAPE]]) is not None
        ]

    async def _now_ms(self) -> int:
        with store_errors():
            seconds, microseconds = await self._redis.time()
        return int(seconds) * 1000 + int(microseconds) // 1000


def _datetime(ms: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=ms)
