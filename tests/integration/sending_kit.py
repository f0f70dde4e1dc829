"""What tests of the notification sender share: messages in the outbox, and a sender that is stopped."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from application.monitoring.alert_book import AlertStep
from application.monitoring.channel import Answer
from application.monitoring.outbox import Ending, Sending
from application.monitoring.sender import NotificationSender
from domain.monitoring.notification import Notification
from infrastructure.monitoring.outbox import OutboxOptions, RedisOutbox
from integration.monitoring_kit import Monitor

NOW = datetime.now(UTC)


def message(kind: str = "firing", worker_id: str = "w1", at: datetime = NOW) -> Notification:
    return Notification.model_validate(
        {
            "kind": kind,
            "alert_id": f"cpu@{worker_id}@1",
            "rule_id": "cpu",
            "worker_id": worker_id,
            "severity": "warning",
            "metric": "cpu_utilization",
            "value": 0.95,
            "at": at,
            "fired_at": at,
            "reason": "> 0.9",
        }
    )


async def put(monitor: Monitor, *messages: Notification) -> None:
    for one in messages:
        before = await monitor.book.read(one.worker_id)
        assert await monitor.book.commit(AlertStep(before, notifications=[one])) == "done"


def outbox(monitor: Monitor, **options: Any) -> RedisOutbox:
    return RedisOutbox(monitor.container.scripts(), "m1", OutboxOptions(**options))


def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let failed messages be tried again at once."""
    monkeypatch.setattr("application.monitoring.retrying.retry_delay_s", lambda tries: 0.01)


async def for_ever() -> Answer:
    await asyncio.Event().wait()
    return Answer()


def keys(sending: Sending) -> list[str]:
    return [one.key for one in sending.notifications]


async def waiting(box: RedisOutbox) -> int:
    return sum(one.messages for one in (await box.backlogs()).values())


async def done(box: RedisOutbox, sending: Sending) -> bool:
    return await box.settle(sending, Ending("sent"))


@asynccontextmanager
async def running(sender: NotificationSender) -> AsyncIterator[NotificationSender]:
    """Run a sender, and stop it whatever the test finds."""
    await sender.start()
    try:
        yield sender
    finally:
        await sender.stop()
