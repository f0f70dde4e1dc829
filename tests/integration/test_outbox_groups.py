"""Groups: what goes out together, when, in which order, and to whom, whatever changes meanwhile."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from application.monitoring.outbox import Ending, Sending
from domain.monitoring.routing import Grouping, Route
from infrastructure.redis.connection import RedisStore
from integration.outbox_kit import Post, told
from support import wait_until
from unit.monitoring.messages import AT, notification

TOGETHER = Grouping(("rule",))
LONG = 3_600.0


async def test_what_shares_a_group_is_one_message_in_order(store: RedisStore) -> None:
    post = Post(store, grouping=TOGETHER)
    await post.put(notification(), notification(worker_id="w2"), notification("resolved"))
    await post.put(notification(worker_id="w3", rule_id="memory"))
    taken = sorted(await post.take(), key=lambda one: one.lane)
    assert [(one.lane, told(one)) for one in taken] == [
        ("cpu", ["firing w1", "firing w2", "resolved w1"]),
        ("memory", ["firing w3"]),
    ]
    assert await post.messages() == 4
    assert [await post.sent(one) for one in taken] == [True, True]
    assert await post.messages() == 0


async def test_a_message_has_a_bounded_part_of_its_group(store: RedisStore) -> None:
    post = Post(store, grouping=TOGETHER, messages=2)
    await post.put(*(notification(worker_id=f"w{number}") for number in range(5)))
    parts = []
    while taken := await post.take():
        parts += [told(one) for one in taken]
        assert await post.sent(taken[0])
    assert parts == [["firing w0", "firing w1"], ["firing w2", "firing w3"], ["firing w4"]]


async def test_a_try_again_has_the_very_same_in_it(store: RedisStore) -> None:
    """Else its key would tell a receiver that has the first part that it has all."""
    post = Post(store, grouping=TOGETHER)
    await post.put(notification())
    (first,) = await post.take(lease_s=0.01)
    await post.put(notification(worker_id="w2"))
    (second,) = await wait_until(post.take, "the lease to end")
    assert (told(second), second.tries, second.message.key) == (["firing w1"], 2, first.message.key)
    assert await post.outbox.settle(second, Ending("again", "down", delay_s=0.0))
    (third,) = await wait_until(post.take, "the next try")
    assert third.message.key == first.message.key
    assert await post.sent(third)
    (rest,) = await post.take()
    assert told(rest) == ["firing w2"]


async def test_the_first_of_a_group_waits_for_others(store: RedisStore) -> None:
    post = Post(store, grouping=Grouping(("rule",), wait_s=LONG))
    await post.put(notification())
    assert await post.take() == []
    hasty = Post(store, grouping=Grouping(("rule",), wait_s=0.05))
    await hasty.put(notification(rule_id="disk"), notification("firing", "w2", rule_id="disk"))
    (taken,) = await wait_until(hasty.take, "the wait to be over")
    assert told(taken) == ["firing w1", "firing w2"]


async def test_a_group_goes_out_so_often_and_no_more(store: RedisStore) -> None:
    post = Post(store, grouping=Grouping(("rule",), interval_s=LONG))
    await post.put(notification())
    (first,) = await post.take()
    await post.put(notification(worker_id="w2"))
    assert await post.sent(first)
    assert await post.take() == [], "what joined while it was sent waits too"
    await post.put(notification(rule_id="memory"))
    assert [told(one) for one in await post.take()] == [["firing w1"]], "another group does not"
    score = await store.command.zscore(post.scripts.key("outbox_due", "log"), "cpu")
    assert LONG - 60 < (score or 0) / 1000 - (await store.now()) / 1000 <= LONG


async def test_an_empty_group_remembers_when_it_went_out_last(store: RedisStore) -> None:
    post = Post(store, grouping=Grouping(("rule",), interval_s=LONG))
    await post.put(notification())
    (first,) = await post.take()
    assert await post.sent(first)
    await post.put(notification("resolved"))
    assert await post.take() == []
    soon = Post(store, grouping=Grouping(("rule",), interval_s=0.02))
    await soon.put(notification(rule_id="disk"))
    (one,) = await soon.take()
    assert await soon.sent(one)
    await soon.put(notification("resolved", rule_id="disk"))
    assert await wait_until(soon.take, "the interval to be over")


async def test_what_is_not_to_go_before_a_time_holds_back_what_follows_it(store: RedisStore) -> None:
    post = Post(store, grouping=TOGETHER)
    later = datetime.now(UTC) + timedelta(hours=1)
    await post.put(notification(not_before=later), notification(worker_id="w2"))
    assert await post.take() == []
    await post.put(notification(rule_id="disk"), notification(worker_id="w2", rule_id="disk", not_before=later))
    (taken,) = await post.take()
    assert told(taken) == ["firing w1"]
    assert await post.sent(taken)
    assert await post.take() == []
    soon = datetime.now(UTC) + timedelta(milliseconds=30)
    await post.put(notification(rule_id="load", not_before=soon), notification("resolved", rule_id="load"))
    (both,) = await wait_until(post.take, "the time to come")
    assert told(both) == ["firing w1", "resolved w1"]


async def test_a_resolve_goes_where_its_firing_went_whatever_changed(store: RedisStore) -> None:
    routes = {"db": Route((), {"label:team": "db"}), "web": Route((), {"label:team": "web"})}
    post = Post(store, routes, Grouping(("label:team",)))
    await post.put(notification(labels={"team": "db"}))
    await post.put(notification("resolved", labels={"team": "web"}))
    assert [told(one) for one in await post.take("db")] == [["firing w1", "resolved w1"]]
    assert await post.take("web") == []
    assert await store.command.exists(post.scripts.key("outbox_routes")) == 0


async def test_an_escalation_joins_channels_and_the_resolve_reaches_all(store: RedisStore) -> None:
    post = Post(store, {"chat": Route(("warning",)), "pager": Route(("critical",))}, Grouping(("severity",)))
    await post.put(notification(), notification("escalated", severity="critical"))
    await post.put(notification("resolved", severity="critical"))
    assert [told(one) for one in await post.take("chat")] == [["firing w1", "escalated w1", "resolved w1"]]
    assert [(one.lane, told(one)) for one in await post.take("pager")] == [
        ("critical", ["escalated w1", "resolved w1"])
    ]


async def test_an_alert_stays_in_the_lane_that_it_began_in(store: RedisStore) -> None:
    """Else what follows could overtake it: lanes have no order between them."""
    post = Post(store, grouping=Grouping(("severity",)))
    await post.put(notification(), notification("escalated", severity="critical"))
    await post.put(notification("repeat", severity="critical"), notification("resolved", severity="critical"))
    (taken,) = await post.take()
    assert (taken.lane, told(taken)) == ("warning", ["firing w1", "escalated w1", "repeat w1", "resolved w1"])


async def test_what_no_channel_takes_waits_nowhere(store: RedisStore) -> None:
    post = Post(store, {"pager": Route(("critical",))})
    await post.put(notification(), notification("resolved"))
    assert await post.messages() == 0
    assert await store.command.exists(post.scripts.key("outbox_routes")) == 0


async def test_a_resolve_from_before_routes_were_kept_goes_where_it_would(store: RedisStore) -> None:
    post = Post(store)
    await post.put(notification("resolved"))
    assert [told(one) for one in await post.take()] == [["resolved w1"]]


async def test_k_instances_take_each_message_once_and_in_order(store: RedisStore) -> None:
    post = Post(store, grouping=Grouping(("worker",)), messages=3)
    for number in range(30):
        at = AT + timedelta(seconds=number)
        await post.put(*(notification(worker_id=f"w{which}", alert_id=f"a{number}", at=at) for which in range(4)))
    got: list[Sending] = []

    async def instance() -> None:
        while await post.messages():
            for sending in await post.take(lanes=2):
                got.append(sending)
                await asyncio.sleep(0)
                assert await post.sent(sending)

    await asyncio.gather(*(instance() for _ in range(5)))
    for which in range(4):
        times = [one.at for sending in got for one in sending.notifications if one.worker_id == f"w{which}"]
        assert times == [AT + timedelta(seconds=number) for number in range(30)]


async def test_done_takes_out_what_was_taken_and_nothing_else(store: RedisStore) -> None:
    post = Post(store, grouping=TOGETHER)
    await post.put(notification(), notification(worker_id="w2"))
    (taken,) = await post.take()
    await post.put(notification("resolved"), notification("resolved", "w2"))
    assert await post.sent(taken)
    assert not await post.sent(taken)
    (rest,) = await post.take()
    assert told(rest) == ["resolved w1", "resolved w2"]


async def test_a_backlog_tells_how_much_waits_and_for_how_long(store: RedisStore) -> None:
    post = Post(store, {"a": Route(), "b": Route((), {"worker": "w2"})}, TOGETHER)
    await post.put(notification(), notification(worker_id="w2"))
    found = await post.outbox.backlogs()
    assert {name: one.messages for name, one in found.items()} == {"a": 2, "b": 1}
    assert all(0 <= one.oldest_s < 60 for one in found.values())
    since = post.scripts.key("outbox_since", "a")
    await store.command.zincrby(since, -90_000, "cpu")
    assert 90 <= (await post.outbox.backlogs())["a"].oldest_s < 150


@pytest.mark.parametrize("lane", ["a:b", "ü@ö", "x y", "%"])
async def test_odd_names_stay_apart(store: RedisStore, lane: str) -> None:
    post = Post(store, grouping=Grouping(("label:l",)))
    await post.put(notification(labels={"l": lane}), notification(worker_id="w2", labels={"l": f"{lane}:"}))
    taken = await post.take()
    assert len(taken) == 2
    assert all([await post.sent(one) for one in taken])
    assert await post.messages() == 0
