"""The alerts in Redis: a hash a worker, changed by compare-and-set together with the events and the outbox."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import cast

from application.monitoring.alert_book import NONE_AT_HAND, AlertBook, AlertStep, Backlog, Committed, WorkerAlerts
from application.runs.asking import Note
from application.scheduling.moments import milliseconds
from domain.monitoring.record import AlertRecord
from domain.monitoring.routing import Routing
from domain.monitoring.sample import MetricSample
from infrastructure.monitoring.backlog import as_backlog, as_moment, as_states
from infrastructure.monitoring.scripts import MonitoringScripts
from infrastructure.monitoring.steps import words_of
from infrastructure.redis.connection import store_errors

SAMPLES_EACH = 200
"""Samples of one worker that are evaluated in one step, when there is a backlog."""
SAMPLES_TOGETHER = 1_000
"""Samples that are read in one call, more or less: so that the store and the event loop are not held for long."""


class RedisAlertBook(AlertBook):
    """The states of one worker are one record: a sample is evaluated by all its rules, or by none."""

    def __init__(
        self, scripts: MonitoringScripts, routing: Routing | None = None, told: Callable[[], None] = lambda: None
    ) -> None:
        """``routing`` says where messages are sent; without it, all go to the log. ``told`` hears of each new one."""
        self._scripts = scripts
        self._redis, self._gathered = scripts.store.command, scripts.store.gathered
        self._routing = routing or Routing()
        self._tell = told

    async def read(self, worker_id: str) -> WorkerAlerts:
        """Return a worker's alerts."""
        with store_errors():
            # First what others change by raising it: what is read after it is never older than the version says.
            policy, down, found, (seconds, microseconds) = await self._gathered(
                ["GET", self._scripts.key("policy")],
                ["HKEYS", self._scripts.key("regions_down")],
                ["HGETALL", self._scripts.key("alerts", worker_id)],
                ["TIME"],
            )
        now = as_moment(seconds * 1000 + microseconds // 1000)
        return as_states(worker_id, found, now, policy or "0", frozenset(down))

    async def backlog(
        self, worker_ids: Sequence[str], at_hand: Mapping[str, MetricSample] = NONE_AT_HAND
    ) -> list[Backlog | Exception]:
        """Return what is to be evaluated of some workers, as it was at one moment."""
        args: list[str | int] = [SAMPLES_EACH, SAMPLES_TOGETHER]
        for worker_id in worker_ids:
            sample = at_hand.get(worker_id)
            args += (worker_id, "" if sample is None else f"{sample.time_ms}-0")
        policy, now, down, *found = await self._scripts.run("backlog", args, hurries=True)
        moment, regions = as_moment(int(now)), frozenset(down)
        return [
            as_backlog(worker_id, one, SAMPLES_EACH, moment, policy, regions, at_hand.get(worker_id))
            for worker_id, one in zip(worker_ids, found, strict=False)
        ]

    async def commit(self, step: AlertStep, note: Note | None = None) -> Committed:
        """Store a step, whole or not at all."""
        return (await self._commit([step], note))[0]

    async def commit_all(self, steps: Sequence[AlertStep]) -> list[Committed]:
        """Store steps, each for itself."""
        return await self._commit(steps, hurries=True) if steps else []

    async def _commit(
        self, steps: Sequence[AlertStep], note: Note | None = None, *, hurries: bool = False
    ) -> list[Committed]:
        words = [word for step in steps for word in words_of(step, self._routing)]
        args = [len(steps), *words]
        verdicts = cast(list[Committed], await self._scripts.run("commit_alerts", args, note, hurries=hurries))
        if any(step.notifications and verdict == "done" for step, verdict in zip(steps, verdicts, strict=True)):
            self._tell()
        return verdicts

    async def due(self, now: datetime, limit: int) -> list[str]:
        """Return who is due."""
        with store_errors():
            found = await self._redis.zrangebyscore(
                self._scripts.key("alerts_due"), "-inf", milliseconds(now), start=0, num=limit
            )
        return cast(list[str], found)

    async def unmonitored(self, offset: int, limit: int) -> tuple[int, list[str]]:
        """Return who has alerts and no schedule: they stand among those to be looked at, soon or never."""
        count, *found = await self._scripts.run("unmonitored", [offset, limit])
        return int(count), found

    async def find_open(self, alert_id: str) -> AlertRecord | None:
        """Return one that is open."""
        with store_errors():
            text = await cast(Awaitable[str | None], self._redis.hget(self._scripts.key("open_alerts"), alert_id))
        return AlertRecord.model_validate_json(text) if text else None

    async def find_resolved(self, alert_id: str) -> AlertRecord | None:
        """Return one that is over: seen by how its text begins, so that not a thousand are read for one."""
        start = f'{{"id":{json.dumps(alert_id)},'
        with store_errors():
            texts = await cast(Awaitable[list[str]], self._redis.lrange(self._scripts.key("alert_history"), 0, -1))
        found = next((text for text in texts if text.startswith(start)), None)
        return AlertRecord.model_validate_json(found) if found else None

    async def open(self) -> list[AlertRecord]:
        """Return what is open, the oldest first."""
        with store_errors():
            texts = await cast(Awaitable[list[str]], self._redis.hvals(self._scripts.key("open_alerts")))
        records = [AlertRecord.model_validate_json(text) for text in texts]
        return sorted(records, key=lambda record: (record.opened_at, record.id))

    async def resolved(self, limit: int) -> list[AlertRecord]:
        """Return what was resolved last."""
        with store_errors():
            texts = await cast(
                Awaitable[list[str]], self._redis.lrange(self._scripts.key("alert_history"), 0, limit - 1)
            )
        return [AlertRecord.model_validate_json(text) for text in texts]
