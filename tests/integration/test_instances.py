"""Instances of any role announce themselves; who is silent and who is gone can be seen from any other."""

import asyncio
import json
import logging
from collections.abc import Callable

import pytest

from application.scheduling import RecurrentTaskDescriptor, ScheduledTaskDescriptor
from cluster import Cluster, Instance
from domain.runs.instance import Departure, InstanceStatus
from domain.runs.instance import Instance as Shown
from hands import LANES, Hands
from infrastructure.redis.embedded import EmbeddedValkey
from infrastructure.runs.instances import RedisInstances
from infrastructure.runs.layout import LAYOUT
from sample_jobs import Ledger
from support import wait_until


async def shown(cluster: Cluster) -> dict[str, Shown]:
    """Return all instances by id."""
    page = await RedisInstances(cluster.redis).page(limit=500)
    return {instance.id: instance for instance in page.items}


async def shown_as(cluster: Cluster, instance_id: str, status: InstanceStatus) -> Shown:
    """Wait until an instance is shown like this; return it."""

    async def found() -> Shown | None:
        instance = (await shown(cluster)).get(instance_id)
        return instance if instance is not None and instance.status is status else None

    instance = await wait_until(found, f"{instance_id} to be {status.value}")
    assert instance is not None
    return instance


async def ago(hands: Hands, instance_id: str, silent_ms: int) -> None:
    """Let an instance have been silent beside a store that was there all the time."""
    seconds, _ = hands.client.time()
    hands.client.zadd(f"{hands.prefix}beats", {instance_id: seconds * 1000 - silent_ms})
    hands.client.hset(f"{hands.prefix}meta", "nobody_gone_until", 0)


async def test_an_executing_instance_says_what_it_is_and_does(cluster: Cluster) -> None:
    one = await cluster.start()
    data = {"label": "held", "hold": True}
    await one.bus.schedule_task(ScheduledTaskDescriptor(id="o", name="Once", data=data))

    async def claimed() -> Shown | None:
        found = (await shown(cluster)).get("i1")
        return found if found is not None and found.claimed == 1 else None

    found = await wait_until(claimed)
    assert found is not None
    assert (found.role, found.status, found.lanes) == ("all", InstanceStatus.ALIVE, LANES)
    assert found.clock_offset_s is not None
    assert abs(found.clock_offset_s) < 5, "it is the same machine's clock"
    assert found.loop_blocked is False
    assert found.started_at <= found.last_seen_at
    assert (found.gone_at, found.why) == (None, None)


async def test_an_api_only_instance_announces_itself_and_says_goodbye(cluster: Cluster) -> None:
    api = await cluster.start(executes=False, announces=True)
    found = await shown_as(cluster, "i1", InstanceStatus.ALIVE)
    assert (found.role, found.lanes, found.claimed) == ("api", [], 0)
    assert api.announcer is not None
    await api.announcer.start()
    await api.stop()
    gone = await shown_as(cluster, "i1", InstanceStatus.GONE)
    assert gone.why is Departure.STOPPED
    assert gone.gone_at is not None
    assert "announcer" not in {task.get_name() for task in asyncio.all_tasks()}
    (left,) = await cluster.events("instance", "instance.left")
    assert (left["id"], left["why"], left["role"]) == ("i1", "stopped", "api")
    await api.announcer.stop()
    assert len(await cluster.events("instance", "instance.left")) == 1


async def test_an_announcement_is_no_beat_of_who_executes(cluster: Cluster) -> None:
    await cluster.start(executes=False, announces=True)
    await shown_as(cluster, "i1", InstanceStatus.ALIVE)
    meta = await cluster.redis.command.hgetall(cluster.redis.key("meta"))
    assert "last_announced" in meta
    assert not meta.keys() & {"last_beat", "no_takeover_until"}


async def test_an_executing_instance_that_stops_has_stopped(cluster: Cluster) -> None:
    one = await cluster.start()
    await shown_as(cluster, "i1", InstanceStatus.ALIVE)
    await one.stop()
    assert (await shown(cluster))["i1"].why is Departure.STOPPED
    (left,) = await cluster.events("instance", "instance.left")
    assert left["why"] == "stopped"


async def test_who_is_silent_is_shown_so_and_vanishes_after_ten_leases(
    cluster: Cluster, hands: tuple[Hands, Hands]
) -> None:
    a, b = hands
    assert (a.announce(1_000), b.announce(1_000)) == ("new", "new")
    await ago(a, a.id, 8_000)
    assert b.announce(1_000) == "known"
    assert (await shown(cluster))[a.id].status is InstanceStatus.SILENT
    await ago(a, a.id, 12_000)
    b.announce(1_000)
    gone = (await shown(cluster))[a.id]
    assert (gone.status, gone.why) == (InstanceStatus.GONE, Departure.VANISHED)
    assert gone.gone_at is not None
    assert 11 < (gone.gone_at - gone.last_seen_at).total_seconds() < 60
    (left,) = await cluster.events("instance", "instance.left")
    assert (left["id"], left["why"]) == (a.id, "vanished")


async def test_who_was_declared_gone_joins_again_and_is_told_so(cluster: Cluster, hands: tuple[Hands, Hands]) -> None:
    a, b = hands
    a.announce(1_000)
    b.announce(1_000)
    await ago(a, a.id, 12_000)
    b.announce(1_000)
    assert a.announce(1_000) == "back"
    assert (await shown(cluster))[a.id].status is InstanceStatus.ALIVE
    joined = await cluster.events("instance", "instance.joined")
    assert [(event["id"], event.get("back")) for event in joined] == [(a.id, None), (b.id, None), (a.id, True)]


async def test_nobody_is_declared_gone_right_after_a_time_in_which_nobody_was_heard(
    cluster: Cluster, hands: tuple[Hands, Hands]
) -> None:
    a, b = hands
    a.announce(1_000)
    b.announce(1_000)
    await ago(a, a.id, 60_000)
    a.client.hset(f"{a.prefix}meta", "last_announced", 1)
    b.announce(1_000)
    assert (await shown(cluster))[a.id].status is InstanceStatus.SILENT
    await wait_until(lambda: b.announce(1_000) and _is_gone(b, a.id))


def _is_gone(hand: Hands, instance_id: str) -> bool:
    return hand.client.zscore(f"{hand.prefix}gone", instance_id) is not None


async def test_an_instance_with_a_longer_lease_may_be_silent_for_longer(
    cluster: Cluster, hands: tuple[Hands, Hands]
) -> None:
    a, b = hands
    a.announce(60_000)
    b.announce(1_000)
    await ago(a, a.id, 30_000)
    b.announce(1_000)
    assert (await shown(cluster))[a.id].status is InstanceStatus.ALIVE


async def test_only_the_last_hundred_that_are_gone_are_kept_and_none_for_longer_than_a_day(
    cluster: Cluster, hands: tuple[Hands, Hands]
) -> None:
    a, _ = hands
    for n in range(105):
        a.id = f"g{n:03}"
        a.announce()
        a.call("leave")
    found = await shown(cluster)
    assert sorted(found) == [f"g{n:03}" for n in range(5, 105)]
    gone, now = f"{a.prefix}gone", a.client.time()[0] * 1000
    a.client.zadd(gone, {"g010": now - 25 * 3_600_000})
    assert "g010" not in await shown(cluster)
    a.announce()
    a.call("leave")
    assert a.client.zscore(gone, "g010") is None
    assert a.client.hlen(f"{a.prefix}departed") == 99


async def test_pages_follow_the_ids_and_can_leave_the_gone_out(cluster: Cluster, hands: tuple[Hands, Hands]) -> None:
    a, _ = hands
    for n in range(4):
        a.id = f"x{n}"
        a.announce()
    a.call("leave")
    instances = RedisInstances(cluster.redis)
    first = await instances.page(limit=3)
    assert ([one.id for one in first.items], first.next_cursor) == (["x0", "x1", "x2"], "x2")
    second = await instances.page(limit=3, cursor="x2")
    assert ([one.id for one in second.items], second.next_cursor) == (["x3"], None)
    assert [one.id for one in (await instances.page(gone=False)).items] == ["x0", "x1", "x2"]
    assert [one.id for one in (await instances.page(status=InstanceStatus.GONE)).items] == ["x3"]
    assert (await instances.page(limit=4)).next_cursor is None


async def test_an_instance_of_another_version_that_says_less_is_shown_all_the_same(
    cluster: Cluster, hands: tuple[Hands, Hands]
) -> None:
    a, b = hands
    for name in ("terse", "left"):
        a.id = name
        a.call("announce", 1_000, json.dumps({"id": name, "mood": "good"}), 1)
    a.call("leave")
    b.call("sweep", 1_000, "1")
    left, terse = (await shown(cluster)).values()
    assert (left.status, left.why, left.role) == (InstanceStatus.GONE, Departure.STOPPED, "?")
    assert (terse.status, terse.version, terse.lanes) == (InstanceStatus.ALIVE, "?", [])


async def test_a_store_that_lost_its_data_hears_of_all_again(
    fresh_valkey: Callable[[], EmbeddedValkey], namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = await asyncio.to_thread(fresh_valkey)
    async with Cluster(server.url, namespace) as cluster:
        await cluster.start(lease_ms=1_000)
        await cluster.start(lease_ms=1_000, executes=False, announces=True)
        for name in ("i1", "i2"):
            await shown_as(cluster, name, InstanceStatus.ALIVE)
        with caplog.at_level(logging.ERROR):
            await cluster.redis.command.flushall()
            for name in ("i1", "i2"):
                await shown_as(cluster, name, InstanceStatus.ALIVE)
        assert await cluster.redis.command.hget(cluster.redis.key("meta"), "layout") == str(LAYOUT)
        assert caplog.messages == []


async def test_the_announcer_outlives_a_store_that_is_away(
    fresh_valkey: Callable[[], EmbeddedValkey], namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = await asyncio.to_thread(fresh_valkey)
    api = Instance(server.url, namespace, "i1", Ledger(), lease_ms=1_000, executes=False, announces=True)
    await api.start()
    key = api.store.key("instances")
    await wait_until(lambda: api.store.command.hlen(key))
    pid = (await api.store.command.info("server"))["process_id"]
    assert pid
    await asyncio.to_thread(server.close)
    await wait_until(lambda: "cannot be announced" in caplog.text)
    await asyncio.wait_for(api.stop(), 10)
    assert "leaves without saying so" in caplog.text


async def test_a_blocked_loop_is_announced(cluster: Cluster) -> None:
    one = await cluster.start()
    await shown_as(cluster, "i1", InstanceStatus.ALIVE)
    one.engine._renewal.loop_blocked = True
    words = one.engine._renewal.presence.words()
    assert json.loads(words[2])["loop_blocked"] is True
    one.engine._renewal.loop_blocked = False


async def test_an_instance_goes_on_beside_an_announcement_that_fails(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    one = await cluster.start(lease_ms=1_000)
    await shown_as(cluster, "i1", InstanceStatus.ALIVE)
    await cluster.redis.command.set(cluster.redis.key("beats"), "what is no zset")
    await wait_until(lambda: "cannot be announced" in caplog.text)
    await one.bus.schedule_task(RecurrentTaskDescriptor(id="s", name="Note", interval=0.05))
    await wait_until(lambda: len(cluster.ledger.of("s")) > 2)
    assert caplog.text.count("cannot be announced") == 1
    assert one.engine.condition().running
    await cluster.redis.command.delete(cluster.redis.key("beats"))
    await shown_as(cluster, "i1", InstanceStatus.ALIVE)
