"""The outbox: every message arrives, in order, once while nobody crashes, whoever sends."""

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from application.monitoring.channel import Answer
from application.monitoring.channels import Channels
from application.monitoring.outbox import Ending
from application.monitoring.retrying import retry_delay_s
from application.monitoring.sender import NotificationSender
from domain.monitoring.message import Message, make_message
from infrastructure.monitoring.channels.log import LogChannel
from integration.monitoring_kit import ListChannel, Monitor, Site
from integration.sending_kit import NOW, at_once, done, keys, message, outbox, put, running, waiting
from support import wait_until
from unit.monitoring.waveforms import START


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
