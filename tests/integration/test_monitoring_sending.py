"""The outbox: every message arrives, in order, once while nobody crashes, whoever sends."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from application.monitoring.alert_book import AlertStep
from application.monitoring.sender import NotificationSender, retry_delay_s
from domain.errors import StoreUnavailable
from domain.monitoring.notification import Notification
from infrastructure.monitoring.log_channel import LogChannel
from infrastructure.monitoring.outbox import RedisOutbox
from integration.monitoring_kit import ListChannel, Monitor, Site
from support import wait_until
from unit.monitoring.waveforms import START

NOW = datetime.now(UTC)


@pytest.fixture
async def site(redis_url: str, namespace: str) -> AsyncIterator[Site]:
    async with Site(redis_url, namespace) as made:
        yield made


@pytest.fixture
async def monitor(site: Site) -> Monitor:
    made = await site.start(executes=False, handles=False, sends=False)
    for worker_id in ("w1", "w2"):
        await made.add(worker_id)
    return made


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


def outbox(monitor: Monitor) -> RedisOutbox:
    return RedisOutbox(monitor.container.scripts())


@asynccontextmanager
async def running(sender: NotificationSender) -> AsyncIterator[NotificationSender]:
    """Run a sender, and stop it whatever the test finds."""
    await sender.start()
    try:
        yield sender
    finally:
        await sender.stop()


async def test_a_message_goes_out_once_and_leaves_nothing(monitor: Monitor, site: Site) -> None:
    await put(monitor, message())
    assert await outbox(monitor).waiting() == 1
    assert await monitor.sender.send_due() == 1
    assert await monitor.sender.send_due() == 0
    assert site.channel.sent == [message()]
    assert await outbox(monitor).waiting() == 0
    left = {key.rpartition(":")[2] async for key in site.redis.command.scan_iter(match="*:mon:outbox*")}
    assert left <= {"outbox_token"}


async def test_what_is_leased_is_nobody_elses_until_the_lease_ends(monitor: Monitor) -> None:
    await put(monitor, message())
    box = outbox(monitor)
    (leased,) = await box.take(10, 30)
    assert await box.take(10, 30) == []
    await put(monitor, message("resolved"))
    assert await box.take(10, 30) == [], "a message that joins the lane does not end its lease"
    assert await box.done(leased)
    assert not await box.done(leased)
    (following,) = await box.take(10, 30)
    assert following.notification.kind == "resolved"


async def test_a_sender_that_died_is_replaced_when_its_lease_ends(monitor: Monitor) -> None:
    """The one duplicate that there can be: it was sent, and its sender died before it could say so."""
    await put(monitor, message())
    box = outbox(monitor)
    (died,) = await box.take(10, 0.01)
    taken = await wait_until(lambda: box.take(10, 30), "the lease to end")
    assert [(one.notification.key, one.tries) for one in taken] == [(died.notification.key, 2)]
    assert not await box.done(died), "who came too late may not settle for another"
    assert not await box.again(died, 0)
    assert await box.done(taken[0])


async def test_a_resolve_waits_for_its_firing(monitor: Monitor, site: Site) -> None:
    site.channel.failures = 1
    await put(monitor, message("firing"), message("resolved"), message("firing", "w2"))
    box = outbox(monitor)
    leased = await box.take(10, 30)
    assert sorted(one.notification.key for one in leased) == ["cpu@w1@1/firing", "cpu@w2@1/firing"]
    first = next(one for one in leased if one.notification.worker_id == "w1")
    assert await box.again(first, 0)
    (again,) = await box.take(10, 30)
    assert (again.notification.kind, again.tries) == ("firing", 2)
    assert await box.done(again)
    (after,) = await box.take(10, 30)
    assert (after.notification.kind, after.tries) == ("resolved", 1)


async def test_a_failure_is_tried_again_until_it_arrives(
    monitor: Monitor, site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("application.monitoring.sender.retry_delay_s", lambda tries: 0.01 * tries)
    site.channel.failures = 3
    await put(monitor, message(), message("resolved"))
    async with running(NotificationSender(outbox(monitor), [site.channel], poll_s=0.01)) as sender:
        await wait_until(lambda: len(site.channel.sent) == 2, "both messages")
    assert site.channel.kinds == ["firing cpu w1", "resolved cpu w1"]
    assert (sender.counters.sent, sender.counters.failed) == (2, 3)
    assert "cpu@w1@1/firing did not go out on channel log, next try in 0 s: nobody answers" in caplog.text


async def test_many_senders_send_each_message_once(monitor: Monitor, site: Site) -> None:
    others = [await site.start(executes=False, handles=False) for _ in range(3)]
    for n in range(20):
        await put(monitor, message("firing", f"w{n % 2 + 1}", NOW + timedelta(seconds=n)))
    for other in others:
        other.sender.wake()
    await wait_until(lambda: len(site.channel.sent) >= 20, "all messages")

    async def is_empty() -> bool:
        return await outbox(monitor).waiting() == 0

    await wait_until(is_empty, "the outbox to be empty")
    assert len(site.channel.sent) == 20
    for worker_id in ("w1", "w2"):
        times = [one.at for one in site.channel.sent if one.worker_id == worker_id]
        assert times == sorted(times)


async def test_after_a_day_a_message_is_given_up_and_said_so(
    monitor: Monitor, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.channel.failures = 2
    await put(monitor, message(at=NOW - timedelta(hours=25)))
    await monitor.sender.send_due()
    assert monitor.sender.counters.given_up == 1
    assert "cpu@w1@1/firing is given up on channel log after 1 tries: nobody answers" in caplog.text
    assert await outbox(monitor).waiting() == 0


async def test_a_channel_that_is_not_there_keeps_its_messages(
    monitor: Monitor, caplog: pytest.LogCaptureFixture
) -> None:
    sender = NotificationSender(outbox(monitor), [])
    await put(monitor, message())
    assert await sender.send_due() == 1
    assert "there is no channel 'log' in this program's settings" in caplog.text
    assert await outbox(monitor).waiting() == 1


async def test_a_channel_that_hangs_is_cut_off_and_tried_again(
    monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hanging(ListChannel):
        async def send(self, notification: Notification) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr("application.monitoring.sender.SEND_TIMEOUT_S", 0.01)
    sender = NotificationSender(outbox(monitor), [Hanging()])
    await put(monitor, message())
    await sender.send_due()
    assert sender.counters.failed == 1
    assert await outbox(monitor).waiting() == 1


async def test_the_sender_outlives_a_store_that_is_away(monitor: Monitor, site: Site) -> None:
    class Away(RedisOutbox):
        away = True

        async def take(self, limit: int, lease_s: float) -> "list[object]":  # type: ignore[override]
            if self.away:
                raise StoreUnavailable(why="gone")
            return await super().take(limit, lease_s)  # type: ignore[return-value]

    box = Away(monitor.container.scripts())
    async with running(NotificationSender(box, [site.channel])) as sender:
        await wait_until(lambda: sender.trouble, "the trouble to be noticed")
        assert "gone" in (sender.trouble or "")
        box.away = False
        await put(monitor, message())
        sender.wake()
        await wait_until(lambda: site.channel.sent, "the message")
        await wait_until(lambda: sender.trouble is None, "the trouble to be over")


async def test_a_channel_that_fails_is_a_trouble_until_something_goes_out_on_it(monitor: Monitor, site: Site) -> None:
    site.channel.failures = 1
    await put(monitor, message())
    async with running(NotificationSender(outbox(monitor), [site.channel], poll_s=0.01)) as sender:
        await wait_until(lambda: sender.trouble == "channel log: nobody answers", "the trouble to be noticed")
        await wait_until(lambda: site.channel.sent, "the message")
        await wait_until(lambda: sender.trouble is None, "the trouble to be over")


async def test_stopping_lets_a_message_that_is_being_sent_arrive(monitor: Monitor) -> None:
    gate = asyncio.Event()

    class Slow(ListChannel):
        started = False

        async def send(self, notification: Notification) -> None:
            self.started = True
            await gate.wait()
            await super().send(notification)

    channel = Slow()
    await put(monitor, message())
    async with running(NotificationSender(outbox(monitor), [channel])) as sender:
        await sender.start()
        await wait_until(lambda: channel.started, "the sending")
        stopping = asyncio.create_task(sender.stop())
        await asyncio.sleep(0.01)
        gate.set()
        await stopping
    assert len(channel.sent) == 1
    assert await outbox(monitor).waiting() == 0
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "notification sender"]


async def test_stopping_does_not_wait_for_ever(monitor: Monitor) -> None:
    class Hanging(ListChannel):
        async def send(self, notification: Notification) -> None:
            self.failures += 1
            await asyncio.Event().wait()

    channel = Hanging()
    await put(monitor, message())
    async with running(NotificationSender(outbox(monitor), [channel], stop_grace_s=0.01)):
        await wait_until(lambda: channel.failures, "the sending")
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "notification sender"]
    assert await outbox(monitor).waiting() == 1


def test_delays_grow_and_end_growing() -> None:
    assert all(0.5 <= retry_delay_s(1) <= 1 for _ in range(20))
    assert all(4 <= retry_delay_s(4) <= 8 for _ in range(20))
    assert all(150 <= retry_delay_s(10_000) <= 300 for _ in range(20))


@pytest.mark.parametrize(
    ("kind", "severity", "level"),
    [("firing", "critical", "ERROR"), ("firing", "warning", "WARNING"), ("resolved", "critical", "INFO")],
)
async def test_the_log_channel_writes_one_clear_line(
    kind: str, severity: str, level: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    one = message(kind, at=START).model_copy(update={"severity": severity})
    await LogChannel().send(one)
    (line,) = caplog.records
    assert line.levelname == level
    assert line.getMessage() == f"ALERT {kind.upper()} [{severity}] cpu on w1: cpu_utilization 95.0 % (> 0.9)"
    assert line.alert_key == one.key  # type: ignore[attr-defined]
