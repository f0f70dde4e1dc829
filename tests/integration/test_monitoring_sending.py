"""The outbox: every message arrives, in order, once while nobody crashes, whoever sends."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from application.monitoring.alert_book import AlertStep
from application.monitoring.channel import Answer
from application.monitoring.channel_desk import ChannelDesk
from application.monitoring.channels import Channels
from application.monitoring.outbox import Ending, Sending
from application.monitoring.retrying import retry_delay_s
from application.monitoring.sender import NotificationSender
from application.scheduling.deeds import unwritten
from domain.errors import StoreUnavailable
from domain.monitoring.message import Message, make_message
from domain.monitoring.notification import Notification
from infrastructure.monitoring.channels.log import LogChannel
from infrastructure.monitoring.outbox import OutboxOptions, RedisOutbox
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


async def test_one_that_takes_long_holds_up_no_other(monitor: Monitor) -> None:
    """Thirty messages, of which the first arrives only when all others have."""
    names = [f"n{number:02}" for number in range(30)]
    others = asyncio.Event()

    class Slow(ListChannel):
        async def send(self, message: Message) -> Answer:
            if message.notifications[0].worker_id == names[0]:
                await others.wait()
            answer = await super().send(message)
            if len(self.messages) == len(names) - 1:
                others.set()
            return answer

    for name in names:
        await monitor.add(name)
        await put(monitor, message(worker_id=name))
    channel = Slow()
    assert await NotificationSender(outbox(monitor), Channels([channel])).send_due() == 30
    assert [one.worker_id for one in channel.sent][-1] == names[0]
    assert await waiting(outbox(monitor)) == 0


async def test_a_message_goes_out_once_and_leaves_nothing(monitor: Monitor, site: Site) -> None:
    await put(monitor, message())
    assert await waiting(outbox(monitor)) == 1
    assert await monitor.sender.send_due() == 1
    assert await monitor.sender.send_due() == 0
    assert site.channel.sent == [message()]
    assert await waiting(outbox(monitor)) == 0
    await put(monitor, message("resolved"))
    assert await monitor.sender.send_due() == 1
    left = {
        key.rpartition(":")[2] async for key in site.redis.command.scan_iter(match=f"{site.redis.prefix}:mon:outbox*")
    }
    assert left <= {"outbox_token"}


async def test_what_is_leased_is_nobody_elses_until_the_lease_ends(monitor: Monitor) -> None:
    await put(monitor, message())
    box = outbox(monitor)
    (leased,) = await box.take("log", 10, 30)
    assert await box.take("log", 10, 30) == []
    await put(monitor, message("resolved"))
    assert await box.take("log", 10, 30) == [], "a message that joins the lane does not end its lease"
    assert await done(box, leased)
    assert not await done(box, leased)
    (following,) = await box.take("log", 10, 30)
    assert [one.kind for one in following.notifications] == ["resolved"]


async def test_a_sender_that_died_is_replaced_when_its_lease_ends(monitor: Monitor) -> None:
    """The one duplicate that there can be: it was sent, and its sender died before it could say so."""
    await put(monitor, message())
    box = outbox(monitor)
    (died,) = await box.take("log", 10, 0.01)
    taken = await wait_until(lambda: box.take("log", 10, 30), "the lease to end")
    assert [(one.message.key, one.tries) for one in taken] == [(died.message.key, 2)]
    assert not await done(box, died), "who came too late may not settle for another"
    assert not await box.settle(died, Ending("again"))
    assert await done(box, taken[0])


async def test_a_resolve_waits_for_its_firing(monitor: Monitor, site: Site) -> None:
    await put(monitor, message("firing"), message("resolved"), message("firing", "w2"))
    box = outbox(monitor, messages=1)
    leased = await box.take("log", 10, 30)
    assert sorted(keys(one) for one in leased) == [["cpu@w1@1/firing"], ["cpu@w2@1/firing"]]
    first = next(one for one in leased if one.lane == "cpu@w1")
    assert await box.settle(first, Ending("again"))
    (again,) = await box.take("log", 10, 30)
    assert (keys(again), again.tries) == (["cpu@w1@1/firing"], 2)
    assert await done(box, again)
    (after,) = await box.take("log", 10, 30)
    assert (keys(after), after.tries) == (["cpu@w1@1/resolved"], 1)


async def test_a_failure_is_tried_again_until_it_arrives(
    monitor: Monitor, site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    at_once(monkeypatch)
    site.channel.failures = 3
    await put(monitor, message(), message("resolved"))
    async with running(NotificationSender(outbox(monitor), Channels([site.channel]), poll_s=0.01)) as sender:
        await wait_until(lambda: len(site.channel.sent) == 2, "both messages")
        await wait_until(lambda: sender.counters.totals["sent"], "the count")
    assert site.channel.kinds == ["firing cpu w1", "resolved cpu w1"]
    assert sender.counters.totals == {"sent": 1, "failed": 3, "given_up": 0}
    assert "did not go out on channel log, again in 0 s: nobody answers" in caplog.text


async def test_many_senders_send_each_message_once(monitor: Monitor, site: Site) -> None:
    others = [await site.start(executes=False, handles=False) for _ in range(3)]
    for n in range(20):
        await put(monitor, message("firing", f"w{n % 2 + 1}", NOW + timedelta(seconds=n)))
    for other in others:
        other.sender.wake()
    await wait_until(lambda: len(site.channel.sent) >= 20, "all messages")

    async def is_empty() -> bool:
        return await waiting(outbox(monitor)) == 0

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
    assert monitor.sender.counters.given_up == {"log": 1}
    assert "is given up on channel log after 1 tries: nobody answers" in caplog.text
    assert await waiting(outbox(monitor)) == 0
    (circuit,) = (await outbox(monitor).circuits(["log"])).values()
    assert circuit.given_up == "nobody answers"


async def test_what_waits_for_a_channel_of_others_is_left_alone_for_a_day(monitor: Monitor) -> None:
    """In a rolling deploy the others may know a channel that this one does not."""
    await put(monitor, message())
    box = outbox(monitor)
    without = NotificationSender(box, Channels([]))
    assert await without.send_due() == 0
    assert await without.give_up_abandoned() == 0
    desk = ChannelDesk(Channels([]), box, monitor.container.deliveries(), unwritten, "m1")
    assert await desk.troubles() == ["channel log: 1 wait, and it is not in the settings of this process"]
    impatient = NotificationSender(box, Channels([]), give_up_after=timedelta())
    assert await impatient.give_up_abandoned() == 1
    assert await waiting(box) == 0


async def test_a_channel_that_hangs_is_cut_off_and_tried_again(
    monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hanging(ListChannel):
        async def send(self, message: Message) -> Answer:
            return await for_ever()

    monkeypatch.setattr("application.monitoring.sender.SEND_TIMEOUT_S", 0.01)
    sender = NotificationSender(outbox(monitor), Channels([Hanging()]))
    await put(monitor, message())
    await sender.send_due()
    assert sender.counters.failed == {"log": 1}
    assert await waiting(outbox(monitor)) == 1


async def test_the_sender_outlives_a_store_that_is_away(monitor: Monitor, site: Site) -> None:
    class Away(RedisOutbox):
        away = True

        async def take(self, channel: str, lanes: int, lease_s: float) -> list[Sending]:
            if self.away:
                raise StoreUnavailable(why="gone")
            return await super().take(channel, lanes, lease_s)

    box = Away(monitor.container.scripts())
    async with running(NotificationSender(box, Channels([site.channel]))) as sender:
        await wait_until(lambda: sender.trouble, "the trouble to be noticed")
        assert "gone" in (sender.trouble or "")
        box.away = False
        await put(monitor, message())
        sender.wake()
        await wait_until(lambda: site.channel.sent, "the message")
        await wait_until(lambda: sender.trouble is None, "the trouble to be over")


async def test_what_is_under_way_when_the_store_goes_gets_to_its_end(monitor: Monitor) -> None:
    failed = asyncio.Event()

    class Away(RedisOutbox):
        async def settle_all(self, endings: Sequence[tuple[Sending, Ending]]) -> list[bool]:
            if not failed.is_set():
                failed.set()
                raise StoreUnavailable(why="gone")
            return await super().settle_all(endings)

    class Slow(ListChannel):
        async def send(self, message: Message) -> Answer:
            if message.notifications[0].worker_id == "w2":
                await failed.wait()
            return await super().send(message)

    await put(monitor, message(), message(worker_id="w2"))
    channel = Slow()
    with pytest.raises(StoreUnavailable, match="gone"):
        await NotificationSender(Away(monitor.container.scripts()), Channels([channel])).send_due()
    assert [one.worker_id for one in channel.sent] == ["w1", "w2"]
    assert await waiting(outbox(monitor)) == 1, "the first comes again when its lease is over"


async def test_what_ends_together_is_settled_together_each_by_itself(monitor: Monitor) -> None:
    await put(monitor, message(), message(worker_id="w2"))
    box = outbox(monitor)
    first, second = await box.take("log", 10, 30)
    stranger = replace(first, token="0")
    ending = Ending("sent")
    assert await box.settle_all([(stranger, ending), (second, Ending("again", "down", 0.0)), (first, ending)]) == [
        False,
        True,
        True,
    ]
    assert await waiting(box) == 1
    (again,) = await box.take("log", 10, 30)
    assert (again.lane, again.tries) == (second.lane, 2)


async def test_a_channel_that_fails_is_a_trouble_until_something_goes_out_on_it(
    monitor: Monitor, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once(monkeypatch)
    site.channel.failures = 1
    await put(monitor, message())
    desk = monitor.container.channel_desk()
    await monitor.sender.send_due()
    assert await desk.troubles() == ["channel log: nobody answers"]
    await wait_until(monitor.sender.send_due, "the message to be due")
    assert await desk.troubles() == []


async def test_stopping_lets_a_message_that_is_being_sent_arrive(monitor: Monitor) -> None:
    gate = asyncio.Event()

    class Slow(ListChannel):
        started = False

        async def send(self, message: Message) -> Answer:
            self.started = True
            await gate.wait()
            return await super().send(message)

    channel = Slow()
    await put(monitor, message())
    async with running(NotificationSender(outbox(monitor), Channels([channel]))) as sender:
        await sender.start()
        await wait_until(lambda: channel.started, "the sending")
        stopping = asyncio.create_task(sender.stop())
        await asyncio.sleep(0.01)
        gate.set()
        await stopping
    assert len(channel.sent) == 1
    assert await waiting(outbox(monitor)) == 0
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("notification sender")]


async def test_stopping_does_not_wait_for_ever(monitor: Monitor) -> None:
    class Hanging(ListChannel):
        async def send(self, message: Message) -> Answer:
            self.failures += 1
            return await for_ever()

    channel = Hanging()
    await put(monitor, message())
    async with running(NotificationSender(outbox(monitor), Channels([channel]), stop_grace_s=0.01)):
        await wait_until(lambda: channel.failures, "the sending")
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("notification sender")]
    assert await waiting(outbox(monitor)) == 1


def test_delays_grow_and_end_growing() -> None:
    """Anywhere below a ceiling: what failed together does not come together again."""
    for tries, ceiling in ((1, 1), (4, 8), (10_000, 300)):
        delays = [retry_delay_s(tries) for _ in range(200)]
        assert 0.05 <= min(delays) < ceiling / 4
        assert ceiling * 3 / 4 < max(delays) <= ceiling


@pytest.mark.parametrize(
    ("kind", "severity", "level"),
    [("firing", "critical", "ERROR"), ("firing", "warning", "WARNING"), ("resolved", "critical", "INFO")],
)
async def test_the_log_channel_writes_one_clear_line(
    kind: str, severity: str, level: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    one = message(kind, at=START).model_copy(update={"severity": severity})
    await LogChannel().send(make_message("log", "cpu@w1", [one]))
    (line,) = caplog.records
    assert line.levelname == level
    assert line.getMessage() == f"ALERT {kind.upper()} [{severity}] cpu on w1: cpu_utilization 95.0 % (> 0.9)"
    assert line.alert_key == one.key  # type: ignore[attr-defined]
