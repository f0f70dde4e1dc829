"""The store goes away, comes back, forgets, fills up: readers live on, and nothing acknowledged is lost."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from redis.exceptions import OutOfMemoryError

from domain.errors import StoreUnavailable
from fault_proxy import FaultProxy
from infrastructure.events import recovery
from infrastructure.events.bus import RedisEventBus
from infrastructure.events.membership import Membership
from infrastructure.events.options import Condition, EventBusOptions
from infrastructure.events.recovery import LONGEST_WAIT_S, Recovery
from infrastructure.events.streams import Streams
from infrastructure.redis.embedded import EmbeddedValkey
from integration.event_kit import Buses, Heard, backlog, opened, publish
from support import wait_until

StartValkey = Callable[[], EmbeddedValkey]


@pytest.fixture
async def proxy(valkey: EmbeddedValkey) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(valkey) as made:
        yield made


@pytest.fixture
async def buses(proxy: FaultProxy, namespace: str) -> AsyncIterator[Buses]:
    async with opened(proxy.url, namespace) as store, Buses(store, failures_expected=True) as made:
        yield made


async def publish_surely(bus: RedisEventBus, number: int) -> None:
    """Publish as callers do who want it to arrive: again, until it is acknowledged."""
    while True:
        try:
            await publish(bus, number)
        except StoreUnavailable:
            await asyncio.sleep(0.02)
        else:
            return


async def reading(bus: RedisEventBus, into: Heard) -> None:
    async for _, event in bus.read(["job.*"]):
        assert event is not None, "no gap: nothing was trimmed"
        await into(event)


@pytest.fixture
def lasting_valkey(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    """A server that writes to disk before it answers.

    With ``everysec`` a write may wait in memory while the second before it is still being synced, so that killing the
    server loses what was acknowledged meanwhile.
    """
    server = EmbeddedValkey(tmp_path / "data", durability="always")
    server.open()
    yield server
    server.close()


async def test_a_server_that_is_killed_and_restarts_loses_nothing_acknowledged(
    lasting_valkey: EmbeddedValkey, namespace: str
) -> None:
    server = lasting_valkey
    async with opened(server.url, namespace) as store, Buses(store, failures_expected=True) as buses:
        bus, group, listener, reader = await buses.start(), Heard(), Heard(), Heard()
        await bus.subscribe(["job.*"], group, group="history", on_gap=group.gap).ready()
        await bus.subscribe(["job.*"], listener, on_gap=listener.gap).ready()
        page = asyncio.create_task(reading(bus, reader))
        await wait_until(lambda: len(bus._tails._feeds) == 2)
        for round_ in range(3):
            for number in range(round_ * 100, round_ * 100 + 100):
                await publish_surely(bus, number)
                if number % 100 == 50:
                    os.kill(server.pid, signal.SIGKILL)
        for heard in (group, listener, reader):
            await wait_until(lambda: set(heard.numbers) == set(range(300)))  # noqa: B023 - awaited at once
        firsts = [list(dict.fromkeys(heard.numbers)) for heard in (listener, reader)]
        assert firsts == [list(range(300))] * 2, "in order"
        assert group.gaps == listener.gaps == []
        assert bus.counters.store_failures > 0
        await wait_until(lambda: not bus.troubles)
        await bus.stop()
        await page


async def test_a_store_that_is_gone_for_a_while_is_told_in_health_and_then_all_go_on(
    buses: Buses, proxy: FaultProxy
) -> None:
    bus, group, listener = await buses.start(), Heard(), Heard()
    await bus.subscribe(["job.*"], group, group="history").ready()
    await bus.subscribe(["job.*"], listener).ready()
    assert bus.troubles == {}
    await proxy.set_fault("down")
    await wait_until(lambda: {"the group 'history'", "the tail of 'job' events"} <= bus.troubles.keys())
    await proxy.set_fault("none")
    await publish_surely(bus, 1)
    await wait_until(lambda: group.numbers == [1] and listener.numbers == [1])
    await wait_until(lambda: not bus.troubles)


async def test_what_was_handled_during_an_outage_is_acknowledged_after_it(buses: Buses, proxy: FaultProxy) -> None:
    bus, entered, go, calls = await buses.start(visibility_s=60.0), asyncio.Event(), asyncio.Event(), []

    async def handle(event: object) -> None:
        calls.append(event)
        entered.set()
        await go.wait()

    await bus.subscribe(["job.*"], handle, group="history").ready()
    await publish(bus, 1)
    await asyncio.wait_for(entered.wait(), 30)
    await proxy.set_fault("down")
    go.set()
    await wait_until(lambda: "the group 'history' (keeping)" in bus.troubles)
    await proxy.set_fault("none")
    key = buses.store.key("ev", "job")

    async def none_pending() -> bool:
        try:
            return int((await buses.store.command.xpending(key, "history"))["pending"]) == 0
        except OSError:
            return False

    await wait_until(none_pending)
    assert len(calls) == 1


async def test_a_reader_begins_when_the_store_is_back(buses: Buses, proxy: FaultProxy) -> None:
    bus, heard, listener = await buses.start(), Heard(), Heard()
    await proxy.set_fault("reset")
    subscription = bus.subscribe(["job.*"], listener)
    page = asyncio.create_task(reading(bus, heard))
    await wait_until(lambda: len(bus.troubles) == 2)
    await proxy.set_fault("none")
    await subscription.ready()
    await wait_until(lambda: len(bus._tails._feeds) == 2)
    await publish_surely(bus, 1)
    await wait_until(lambda: heard.numbers == [1] and listener.numbers == [1])
    page.cancel()
    await asyncio.wait({page})


async def test_a_black_hole_is_noticed_and_survived(
    proxy: FaultProxy, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infrastructure.redis.connection.COMMAND_TIMEOUT_S", 0.3)
    monkeypatch.setattr("infrastructure.redis.connection.LONGEST_BLOCK_S", 0.3)
    for module in ("group", "tail"):
        monkeypatch.setattr(f"infrastructure.events.{module}.LONGEST_BLOCK_S", 0.2)
    async with opened(proxy.url, namespace) as store, Buses(store, failures_expected=True) as buses:
        bus, group, listener = await buses.start(), Heard(), Heard()
        await bus.subscribe(["job.*"], group, group="history").ready()
        await bus.subscribe(["job.*"], listener).ready()
        await proxy.set_fault("black hole")
        with pytest.raises(StoreUnavailable):
            await publish(bus, 1)
        await wait_until(lambda: len(bus.troubles) >= 2)
        await proxy.set_fault("none")
        await publish_surely(bus, 2)
        await wait_until(lambda: 2 in group.numbers and 2 in listener.numbers)
        await wait_until(lambda: not bus.troubles)


async def test_a_store_that_lost_all_its_data_gets_its_groups_again(fresh_valkey: StartValkey, namespace: str) -> None:
    server = fresh_valkey()
    async with opened(server.url, namespace) as store, Buses(store, failures_expected=True) as buses:
        bus, group, listener = await buses.start(), Heard(), Heard()
        await bus.subscribe(["*"], group, group="history").ready()
        await bus.subscribe(["job.*"], listener, on_gap=listener.gap).ready()
        await publish(bus, *range(10))
        await wait_until(lambda: len(group.events) == len(listener.events) == 10)
        await store.command.flushall()
        await publish(bus, 10, 11)
        await publish(bus, 12, topic="worker.removed")
        await wait_until(lambda: sorted(group.numbers) == list(range(13)))
        await wait_until(lambda: listener.numbers == list(range(12)))
        assert [gap.lost for gap in listener.gaps] == [None], "nobody can say what else was lost"


async def test_a_store_that_is_full_refuses_new_events_and_lets_old_ones_be_handled(
    fresh_valkey: StartValkey, namespace: str
) -> None:
    server = fresh_valkey()
    async with opened(server.url, namespace) as store, Buses(store, failures_expected=True) as buses:
        bus, heard = await buses.start(max_tries=2), Heard(fails=lambda event: event.data["n"] == 1)
        opening = bus.subscribe(["job.*"], heard, group="history")
        await opening.ready()
        await opening.close()
        await publish(bus, *range(20))
        await store.command.config_set("maxmemory", "1mb")
        with pytest.raises(StoreUnavailable, match="memory"):
            await publish(bus, 99)
        await bus.subscribe(["job.*"], heard, group="history").ready()
        await wait_until(lambda: set(heard.numbers) == set(range(20)) and heard.numbers.count(1) >= 2)
        key = store.key("ev", "job")

        async def pending() -> int:
            return int((await store.command.xpending(key, "history"))["pending"])

        async def only_the_bad_one() -> bool:
            return await pending() == 1

        await wait_until(only_the_bad_one)
        assert bus.counters.parked == 0, "it cannot be set aside now, so it is not acknowledged"
        await store.command.config_set("maxmemory", "0")
        await wait_until(lambda: bus.counters.parked == 1)
        [aside] = await bus.parked()
        assert aside.reason == "ValueError: cannot handle 1"
        assert await pending() == 0


async def test_when_the_store_is_full_all_that_ends_work_passes_and_nothing_is_half_done(
    fresh_valkey: StartValkey, namespace: str
) -> None:
    async with opened(fresh_valkey().url, namespace) as store, Buses(store) as buses:
        await backlog(await buses.start(), 4)
        streams = Streams(store.command, store.blocking, store.key)
        member = Membership(streams, "history", "i1", ["job"], EventBusOptions(visibility_s=0.001))
        deliveries = await member.read(1.0)
        marks = [delivery.mark for delivery in deliveries]
        await store.command.config_set("maxmemory", "1mb")
        await member.attend({"job": "$"})
        assert await member.keep(marks) == []
        assert len((await member.retake(marks))[0]) == 4
        assert len((await member.reclaim())[0]) <= 4
        with pytest.raises(OutOfMemoryError):
            await member.park(deliveries[0], "reason")
        await member.sweep()
        await member.leave([])
        await streams.extents(["job"])
        key = store.key("ev", "job")
        assert (await store.command.xpending(key, "history"))["pending"] == 4
        await member.acknowledge(marks)
        assert (await store.command.xpending(key, "history"))["pending"] == 0


async def test_waits_grow_to_a_cap_and_are_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def note(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(recovery.asyncio, "sleep", note)
    condition = Condition()
    patience = Recovery("a reader", condition)
    for _ in range(60):
        await patience.failed(OSError("gone"))
    assert waits[0] <= 0.05
    assert all(0.02 <= wait <= LONGEST_WAIT_S for wait in waits)
    assert all(wait >= LONGEST_WAIT_S / 2 for wait in waits[10:])
    assert len(set(waits[10:])) > 10
    assert condition.counters.store_failures == 1, "one outage"
    assert "gone" in condition.troubles["a reader"]
    patience.succeeded()
    assert condition.troubles == {}
    await patience.failed(OSError("gone"))
    assert waits[-1] <= 0.05
