"""A channel that is down is left alone, by all instances; what became of messages is kept, and found again."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from application.monitoring.channel import Answer, Channel, NotDelivered
from application.monitoring.channel_desk import DeliveryQuery
from application.monitoring.channels import Channels
from application.monitoring.outbox import Circuit, Ending, Sending
from application.monitoring.retrying import decide
from application.monitoring.sender import AT_ONCE
from domain.monitoring.channel_errors import ChannelNotFound, InvalidDeliveryCursor
from domain.monitoring.message import Message
from domain.monitoring.routing import Grouping, Route
from infrastructure.monitoring.channels.settings import WebhookSettings
from infrastructure.monitoring.channels.webhook import WebhookChannel
from infrastructure.redis.connection import RedisStore
from integration.outbox_kit import Post
from receiver import Receiver, Reply
from support import wait_until
from unit.monitoring.messages import AT, notification

DOWN = Ending("again", "down", answer=Answer(502, "Bad Gateway"))
LONG_REST = {"rest_s": 3_600.0, "longest_rest_s": 7_200.0, "failures": 2}
SHORT_REST = {"rest_s": 0.02, "longest_rest_s": 0.02, "failures": 2}


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as running:
        yield running


def hook(receiver: Receiver, name: str = "hook", **facts: Any) -> WebhookChannel:
    made = {"name": name, "type": "webhook", "url": receiver.url, "secret": "s" * 32, **facts}
    return WebhookChannel(WebhookSettings.model_validate(made))


async def circuit(post: Post, channel: str = "log") -> Circuit:
    return (await post.outbox.circuits([channel]))[channel]


async def fail(post: Post, ending: Ending = DOWN) -> list[Sending]:
    """Let one try fail."""
    taken = await wait_until(lambda: post.take(lanes=1), "something to be due")
    assert await post.outbox.settle(taken[0], ending)
    return taken


async def test_failures_in_a_row_open_the_circuit_for_all_instances(store: RedisStore) -> None:
    post = Post(store, **LONG_REST)
    await post.put(*(notification(worker_id=f"w{number}") for number in range(4)))
    assert await circuit(post) == Circuit()
    await fail(post)
    found = await circuit(post)
    assert (found.state, found.failures, found.why) == ("closed", 1, "down")
    await fail(post)
    found = await circuit(post)
    assert (found.state, found.failures) == ("open", 2)
    assert found.until is not None
    assert found.failing_since is not None
    assert 3_500 < (found.until - found.failing_since).total_seconds() < 3_700
    assert await Post(store).take() == [], "nobody takes anything"
    assert await post.messages() == 4


async def test_a_success_between_failures_closes_it(store: RedisStore) -> None:
    post = Post(store, **LONG_REST)
    await post.put(notification(), notification(worker_id="w2"))
    await fail(post)
    (other,) = await post.take(lanes=1)
    assert await post.sent(other)
    assert (await circuit(post)).failures == 0
    await fail(post)
    found = await circuit(post)
    assert (found.state, found.failures) == ("closed", 1)
    assert found.sent_at is not None


async def test_then_one_message_tries_it_and_closes_it(store: RedisStore) -> None:
    post = Post(store, **SHORT_REST)
    await post.put(*(notification(worker_id=f"w{number}") for number in range(4)))
    await fail(post)
    await fail(post)
    (probe,) = await wait_until(post.take, "the rest to be over")
    assert (await circuit(post)).state == "half_open"
    assert await post.take() == [], "one alone"
    assert await post.sent(probe)
    assert (await circuit(post)).state == "closed"
    assert len(await wait_until(post.take, "the others")) == 3


async def test_a_try_that_fails_doubles_the_rest_up_to_a_limit(store: RedisStore) -> None:
    post = Post(store, failures=1, rest_s=1_000.0, longest_rest_s=5_000.0)
    await post.put(notification())
    rests = []
    for _ in range(4):
        await post.rested()
        await fail(post)
        found = await circuit(post)
        assert found.until is not None
        rests.append(found.until.timestamp() - await store.now() / 1000)
    expected = [1_000, 2_000, 4_000, 5_000]
    assert [wanted - 300 < rest <= wanted for rest, wanted in zip(rests, expected, strict=True)] == [True] * 4


async def test_what_fails_together_counts_once_for_the_rest(store: RedisStore) -> None:
    post = Post(store, failures=2, rest_s=1_000.0, longest_rest_s=100_000.0)
    await post.put(*(notification(worker_id=f"w{number}") for number in range(8)))
    for wanted, how_many in ((1_000, 8), (2_000, 1)):
        taken = await post.take()
        assert len(taken) == how_many
        assert [await post.outbox.settle(one, DOWN) for one in taken] == [True] * how_many
        found = await circuit(post)
        assert found.until is not None
        assert wanted - 300 < found.until.timestamp() - await store.now() / 1000 <= wanted
        await post.rested()
    assert found.failures == 3, "two that opened it, and the one that tried it"


async def test_what_was_under_way_ends_nobody_elses_try(store: RedisStore) -> None:
    post = Post(store, **{**LONG_REST, "failures": 1})
    await post.put(*(notification(worker_id=f"w{number}") for number in range(3)))
    first, late = await post.take(lanes=2)
    assert await post.outbox.settle(first, DOWN)
    await store.command.hdel(post.scripts.key("circuit", "log"), "until")
    (probe,) = await post.take()
    assert await post.outbox.settle(late, DOWN)
    assert (await circuit(post)).state == "half_open"
    assert await post.take() == [], "one alone"
    assert await post.sent(probe)
    assert (await circuit(post)).state == "closed"


async def test_who_died_while_trying_is_followed_by_another(store: RedisStore) -> None:
    post = Post(store, **SHORT_REST)
    await post.put(notification())
    await fail(post)
    await fail(post)
    (died,) = await wait_until(lambda: post.take(lease_s=0.02), "the rest to be over")
    (after,) = await wait_until(post.take, "its lease to end")
    assert not await post.sent(died)
    assert await post.sent(after)


async def test_a_receiver_that_asks_for_time_gets_it(store: RedisStore) -> None:
    post = Post(store)
    await post.put(notification(), notification(worker_id="w2"))
    await fail(post, Ending("again", "slow down", hold_s=3_600.0, delay_s=3_600.0))
    assert (await circuit(post)).state == "open"
    assert await post.take() == []
    short = Post(store, {"other": Route()})
    await short.put(notification(worker_id="w3", alert_id="o"))
    taken = await short.take("other")
    assert await short.outbox.settle(taken[0], Ending("again", "slow down", hold_s=0.02))
    assert await wait_until(lambda: short.take("other"), "the time to be over")
    assert (await circuit(short, "other")).state == "closed", "it asked for time, it did not break"


async def test_a_wrong_address_opens_it_at_once(store: RedisStore) -> None:
    post = Post(store)
    await post.put(notification())
    (taken,) = await post.take()
    failure = NotDelivered("it answered 404", "misconfigured")
    assert await post.outbox.settle(taken, decide(failure, taken, timedelta(seconds=1)))
    found = await circuit(post)
    assert (found.state, found.why) == ("open", "it answered 404")


async def test_a_message_that_is_refused_says_that_the_receiver_is_there(store: RedisStore) -> None:
    post = Post(store, **LONG_REST)
    await post.put(notification(), notification(worker_id="w2"), notification(worker_id="w3"))
    await fail(post)
    await fail(post, Ending("refused", "it answered 400"))
    found = await circuit(post)
    assert (found.state, found.failures, found.given_up) == ("closed", 0, "it answered 400")
    assert await post.messages() == 2
    (last,) = await wait_until(lambda: post.take(lanes=1), "another")
    assert await post.sent(last)
    assert (await circuit(post)).given_up == ""


async def test_what_is_refused_as_a_whole_goes_in_parts_until_the_odd_one_stands_alone(store: RedisStore) -> None:
    post = Post(store, {"hook": Route()}, Grouping(()))
    channels = Channels([Picky("hook", odd="w3")])
    await post.put(*(notification(worker_id=f"w{number}") for number in range(8)))
    sender = post.sender(channels)
    while await post.messages():
        await sender.send_due()
    picky = channels.get("hook")
    assert isinstance(picky, Picky)
    assert picky.got == [f"w{number}" for number in range(8) if number != 3]
    outcomes = [one.outcome for one in await post.deliveries()]
    assert outcomes.count("given_up") == 1
    assert outcomes.count("split") >= 3
    (lost,) = await post.deliveries(outcome="given_up")
    assert [alert.worker_id for alert in lost.alerts] == ["w3"]
    assert sender.counters.given_up == {"hook": 1}


class Picky(Channel):
    """A channel that refuses what is about one worker."""

    type = "test"

    def __init__(self, name: str, odd: str) -> None:
        self.name = name
        self._odd = odd
        self.got: list[str] = []

    async def send(self, message: Message) -> Answer:
        workers = [one.worker_id for one in message.notifications]
        if self._odd in workers:
            raise NotDelivered("it answered 422", "refused", status=422)
        self.got += workers
        return Answer(200)


class Down(Channel):
    """A channel that answers nobody."""

    type = "test"

    def __init__(self, name: str) -> None:
        self.name = name
        self.tried = 0

    async def send(self, message: Message) -> Answer:
        self.tried += 1
        raise ConnectionError("nobody answers")


async def test_a_channel_that_is_down_delays_no_other(store: RedisStore, receiver: Receiver) -> None:
    post = Post(store, {"down": Route(), "hang": Route(), "hook": Route()})
    async with Receiver() as silent:
        silent.always = Reply(instead="hang")
        channels = Channels([Down("down"), hook(silent, "hang", timeout_s=9), hook(receiver)])
        await post.put(*(notification(worker_id=f"w{number}") for number in range(30)))
        sender = post.sender(channels, stop_grace_s=0.01)
        await sender.start()
        try:
            await wait_until(lambda: len(receiver.received) == 30, "all messages on the one that works")
        finally:
            await sender.stop()
            await channels.stop()
        assert len(silent.received) <= AT_ONCE
    assert {name: one.messages for name, one in (await post.outbox.backlogs()).items()} == {"down": 30, "hang": 30}
    assert len(await post.desk(channels).troubles()) >= 1


async def test_a_receiver_that_is_away_for_a_while_gets_all_in_order_and_once(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its minute, in small: refused, cut, busy and slow, then back."""
    monkeypatch.setattr("application.monitoring.retrying.retry_delay_s", lambda tries: 0.01)
    async with Receiver() as receiver:
        await receiver.stop()
        post = Post(store, {"hook": Route()}, Grouping(("worker",)), rest_s=0.02, longest_rest_s=0.05)
        channels = Channels([hook(receiver, timeout_s=0.2)])
        sender = post.sender(channels)
        await sender.start()
        try:
            for number in range(5):
                for kind in ("firing", "resolved"):
                    await post.put(notification(kind, alert_id=f"a{number}", at=AT + timedelta(seconds=number)))
            await wait_until(lambda: sender.counters.failed["hook"] >= 3, "some failures")
            receiver.replies += [Reply(503), Reply(instead="cut"), Reply(instead="hang")]
            await receiver.start()
            await wait_until(post_is_empty(post), "all to arrive")
        finally:
            await sender.stop()
            await channels.stop()
        assert receiver.alerts == [f"{kind} a{number}" for number in range(5) for kind in ("firing", "resolved")]
    (first, *_) = reversed(await post.deliveries())
    assert first.outcome == "sent"
    assert first.tries > 4


def post_is_empty(post: Post) -> Any:
    async def is_empty() -> bool:
        return await post.messages() == 0

    return is_empty


async def test_deliveries_tell_what_became_of_each_message(store: RedisStore) -> None:
    post = Post(store, failures=100)
    await post.put(notification(), notification(worker_id="w2", rule_id="memory"))
    sendings = {one.lane: one for one in await post.take()}
    lost, fine = sendings["cpu@w1"], sendings["memory@w2"]
    assert await post.outbox.settle(lost, DOWN)
    assert await post.outbox.settle(fine, Ending("sent", answer=Answer(202, "thanks")))
    by_channel = {one.alerts[0].worker_id: one for one in await post.deliveries()}
    waiting, arrived = by_channel["w1"], by_channel["w2"]
    assert (waiting.outcome, waiting.tries, waiting.why, waiting.status) == ("retrying", 1, "down", 502)
    assert (arrived.outcome, arrived.status, arrived.answer, arrived.instance) == ("sent", 202, "thanks", "i1")
    assert arrived.title == "[FIRING] warning: memory on w2"
    assert arrived.id == fine.message.key
    (again,) = await wait_until(post.take, "the next try")
    assert await post.outbox.settle(again, Ending("expired", "down"))
    (given_up,) = await post.deliveries(outcome="given_up")
    assert (given_up.id, given_up.tries) == (waiting.id, 2)
    assert given_up.first_tried_at == waiting.first_tried_at <= given_up.tried_at
    assert len(await post.deliveries()) == 2


async def test_deliveries_are_found_by_channel_alert_and_outcome_page_by_page(store: RedisStore) -> None:
    post = Post(store, {"a": Route(), "b": Route()})
    for number in range(12):
        await post.put(notification(alert_id=f"alert{number}", at=AT + timedelta(seconds=number)))
        for channel in ("a", "b"):
            (taken,) = await post.take(channel)
            assert await post.sent(taken)
    found, cursor, pages = [], "", 0
    while True:
        page = await post.history.page(DeliveryQuery(channel="a", limit=5, cursor=cursor))
        found += [one.alerts[0].alert_id for one in page.items]
        pages += 1
        if page.next_cursor is None:
            break
        cursor = page.next_cursor
    assert (sorted(found), pages) == (sorted(f"alert{number}" for number in range(12)), 3)
    assert {one.channel for one in await post.deliveries(alert_id="alert3")} == {"a", "b"}
    assert await post.deliveries(outcome="given_up") == []
    times = [one.first_tried_at for one in await post.deliveries()]
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize("cursor", ["17", "x-y", "1-msg_1\n", "-1-a"])
async def test_a_cursor_of_nothing_is_refused(store: RedisStore, cursor: str) -> None:
    with pytest.raises(InvalidDeliveryCursor):
        await Post(store).history.page(DeliveryQuery(cursor=cursor))


async def test_deliveries_are_kept_by_count_and_age(store: RedisStore) -> None:
    post = Post(store, deliveries_kept=3)
    for number in range(8):
        await post.put(notification(alert_id=f"alert{number}", at=AT + timedelta(seconds=number)))
        (taken,) = await post.take()
        assert await post.sent(taken)
    assert len(await post.deliveries()) == 3
    assert await store.command.hlen(post.scripts.key("deliveries")) == 3
    aged = Post(store, deliveries_kept_s=3_600)
    for id_ in await store.command.zrange(post.scripts.key("delivery_times"), 0, -1):
        await store.command.zincrby(post.scripts.key("delivery_times"), -4_000_000, id_)
    await aged.put(notification(alert_id="new"))
    (taken,) = await aged.take()
    assert await aged.sent(taken)
    assert [one.alerts[0].alert_id for one in await aged.deliveries()] == ["new"]


async def test_what_arrived_too_late_for_its_lease_is_told_all_the_same(store: RedisStore) -> None:
    post = Post(store)
    await post.put(notification())
    (late,) = await post.take(lease_s=0.01)
    (other,) = await wait_until(post.take, "the lease to end")
    assert not await post.sent(late)
    assert [one.outcome for one in await post.deliveries()] == ["sent"]
    assert not await post.outbox.settle(late, DOWN)
    assert [one.outcome for one in await post.deliveries()] == ["sent"], "what is known to have arrived stays so"
    assert await post.sent(other)


async def test_a_test_is_sent_past_the_circuit_and_changes_nothing(store: RedisStore, receiver: Receiver) -> None:
    post = Post(store, {"hook": Route()}, **LONG_REST)
    channels = Channels([hook(receiver)])
    desk = post.desk(channels)
    await post.put(notification())
    for _ in range(2):
        (taken,) = await wait_until(lambda: post.take("hook"), "a try")
        assert await post.outbox.settle(taken, DOWN)
    before = await circuit(post, "hook")
    assert before.state == "open"
    assert (await desk.test("hook", "ann")).outcome == "sent"
    receiver.replies.append(Reply(404, {}, b"no such hook"))
    failed = await desk.test("hook", "ann")
    assert (failed.outcome, failed.status, failed.answer) == ("given_up", 404, "no such hook")
    assert [one.json["type"] for one in receiver.received] == ["test", "test"]
    assert await circuit(post, "hook") == before
    assert [one.is_test for one in await post.deliveries()].count(True) == 2
    with pytest.raises(ChannelNotFound):
        await desk.test("hoook", "ann")
    await channels.stop()


async def test_the_desk_tells_all_that_there_is_to_know(store: RedisStore, receiver: Receiver) -> None:
    post = Post(store, {"hook": Route()}, **LONG_REST)
    desk = post.desk(Channels([hook(receiver)]))
    (view,) = await desk.channels()
    assert (view.name, view.type, view.state, view.waiting) == ("hook", "webhook", "closed", 0)
    await post.put(notification())
    (view,) = await desk.channels()
    assert view.waiting == 1
    (taken,) = await post.take("hook")
    assert await post.outbox.settle(taken, Ending("expired", "it answered 404"))
    assert await desk.troubles() == ["channel hook: it answered 404"]
    (view,) = await desk.channels()
    assert (view.last_given_up, view.waiting) == ("it answered 404", 0)
