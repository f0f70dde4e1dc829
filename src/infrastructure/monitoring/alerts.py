"""The alerts in Redis: a hash a worker, changed by compare-and-set together with the events and the outbox."""

import json
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import cast

from application.monitoring.alert_book import AlertBook, AlertStep, Committed, WorkerAlerts
from application.runs.asking import Note
from application.scheduling.moments import milliseconds
from domain.monitoring.alert import AlertState
from domain.monitoring.notification import Notification
from domain.monitoring.record import AlertRecord
from domain.monitoring.routing import Routing
from infrastructure.monitoring.scripts import MonitoringScripts
from infrastructure.redis.connection import store_errors

FAR_AHEAD_MS = 2**53
"""When an alert is looked at again that only an observation changes; a change of rules or silences comes before."""
VERSION, CURSOR = ".version", ".cursor"
"""Fields beside those of the rules, whose ids begin with no dot."""


class RedisAlertBook(AlertBook):
    """The states of one worker are one record: a sample is evaluated by all its rules, or by none."""

    def __init__(self, scripts: MonitoringScripts, routing: Routing | None = None) -> None:
        """``routing`` says where messages are sent; without it, all go to the log."""
        self._scripts = scripts
        self._redis = scripts.store.command
        self._routing = routing or Routing()

    async def read(self, worker_id: str) -> WorkerAlerts:
        """Return a worker's alerts."""
        with store_errors():
            pipe = self._redis.pipeline(transaction=False)
            # First what others change by raising it: what is read after it is never older than the version says.
            pipe.get(self._scripts.key("policy"))
            pipe.hkeys(self._scripts.key("regions_down"))
            pipe.hgetall(self._scripts.key("alerts", worker_id))
            pipe.time()
            policy, down, found, (seconds, microseconds) = await pipe.execute()
        version, cursor = found.pop(VERSION, "0"), found.pop(CURSOR, "0")
        states = {rule_id: AlertState.model_validate_json(text) for rule_id, text in found.items()}
        now = datetime.fromtimestamp(seconds, UTC) + timedelta(milliseconds=microseconds // 1000)
        return WorkerAlerts(worker_id, version, int(cursor), states, now, policy or "0", frozenset(down))

    async def commit(self, step: AlertStep, note: Note | None = None) -> Committed:
        """Store a step, whole or not at all."""
        before = step.before
        cursor = "" if step.cursor_ms is None else str(step.cursor_ms)
        args = [before.worker_id, before.version, cursor, "1" if step.is_closing else "", self._work(step)]
        verdict: Committed = await self._scripts.run("commit_alerts", [*args, before.policy], note)
        return verdict

    async def due(self, now: datetime, limit: int) -> list[str]:
        """Return who is due."""
        with store_errors():
            found = await self._redis.zrangebyscore(
                self._scripts.key("alerts_due"), "-inf", milliseconds(now), start=0, num=limit
            )
        return cast(list[str], found)

    async def with_alerts(self, offset: int, limit: int) -> list[str]:
        """Return who has alerts: they stand among those to be looked at, soon or never."""
        with store_errors():
            found = await self._redis.zrange(self._scripts.key("alerts_due"), offset, offset + limit - 1)
        return cast(list[str], found)

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

    def _work(self, step: AlertStep) -> str:
        """Return a step as the script takes it: states, records and events are opaque texts in it."""
        records = [(change, change.record) for change in step.changes if change.record is not None]
        return json.dumps(
            {
                **_when_and_where(step),
                "states": [
                    (rule_id, state.model_dump_json(exclude_defaults=True) if state else "")
                    for rule_id, state in step.states.items()
                ],
                "open": [(record.id, "" if change.is_over else record.model_dump_json()) for change, record in records],
                "history": [
                    record.model_dump_json() for change, record in records if change.is_over and record.fired_at
                ],
                "events": [(change.topic, _payload(record)) for change, record in records if change.topic],
                "outbox": [self._letter(notification) for notification in step.notifications],
                "wait_ms": round(self._routing.grouping.wait_s * 1000),
                "interval_ms": round(self._routing.grouping.interval_s * 1000),
            }
        )

    def _letter(self, notification: Notification) -> tuple[str, str, str, int, list[tuple[str, str]]]:
        """Return one message for the outbox: whose it is, whether it is the last, where it goes."""
        before = notification.not_before
        return (
            notification.alert_id,
            "1" if notification.kind == "resolved" else "",
            notification.model_dump_json(),
            round(before.timestamp() * 1000) if before else 0,
            list(self._routing.lanes(notification).items()),
        )


def _when_and_where(step: AlertStep) -> dict[str, object]:
    """Return when a worker is to be looked at again, and of a provider's region, whether it is down."""
    if step.is_down is not None:
        return {"look_at": "", "is_down": "1" if step.is_down else ""}
    if step.is_at_rest or step.is_closing:
        return {"look_at": ""}
    return {"look_at": FAR_AHEAD_MS if step.look_at is None else milliseconds(step.look_at)}


def _payload(record: AlertRecord) -> str:
    facts = record.model_dump(mode="json")
    return json.dumps({"alert_id": facts.pop("id"), **facts})
