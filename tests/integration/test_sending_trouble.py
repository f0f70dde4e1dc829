"""The sender in trouble: channels that hang or fail, a store that is away, a process that ends."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from application.monitoring.channel import Answer
from application.monitoring.channel_desk import ChannelDesk
from application.monitoring.channels import Channels
from application.monitoring.outbox import Ending, Sending
from application.monitoring.sender import NotificationSender
from application.scheduling.deeds import unwritten
from domain.errors import StoreUnavailable
from domain.monitoring.message import Message
from infrastructure.monitoring.outbox import RedisOutbox
from integration.monitoring_kit import ListChannel, Monitor, Site
from integration.sending_kit import NOW, at_once, for_ever, message, outbox, put, running, waiting
from support import wait_until


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
