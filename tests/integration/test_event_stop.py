"""Stopping: what the bus began ends with it, and what it had in hand goes to others at once."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from domain.events.event import Event
from fault_proxy import FaultProxy
from infrastructure.events.bus import RedisEventBus
from infrastructure.redis.connection import RedisStore
from infrastructure.redis.embedded import EmbeddedValkey
from integration.event_kit import Buses, Heard, Stuck, backlog, opened, pending, publish
from support import wait_until


@pytest.fixture
async def buses(store: RedisStore) -> AsyncIterator[Buses]:
    async with Buses(store) as made:
        yield made


async def test_nothing_is_left_running_or_connected(store: RedisStore, valkey: EmbeddedValkey, namespace: str) -> None:
    before = asyncio.all_tasks()
    clients = len(await store.command.client_list())
    async with opened(valkey.url, namespace) as own, Buses(own) as buses:
        bus, heard = await buses.start(), Heard()
        await bus.subscribe(["job.*"], heard, group="one").ready()
        await bus.subscribe(["*"], heard, group="two").ready()
        await bus.subscribe(["*"], heard).ready()

        async def read() -> None:
            async for _ in bus.read(["*"]):
                pass

        readers = [asyncio.create_task(read()) for _ in range(10)]
        await wait_until(lambda: len(bus._tails._feeds) == 11)
        await publish(bus, *range(20))
        await wait_until(lambda: len(heard.events) == 60)
        await bus.stop()
        await asyncio.wait_for(asyncio.gather(*readers), 30)
        assert asyncio.all_tasks() == before
        blocked = [client for client in await store.command.client_list() if client["flags"] == "b"]
        assert blocked == []

    async def as_before() -> bool:
        return len(await store.command.client_list()) <= clients

    await wait_until(as_before)


async def test_members_leave_their_groups(buses: Buses) -> None:
    bus = await buses.start()
    await bus.subscribe(["job.*"], Heard(), group="history").ready()
    await publish(bus, 1)
    await wait_until(lambda: bus.counters.handled == 1)
    await bus.stop()
    assert await buses.store.command.xinfo_consumers(buses.store.key("ev", "job"), "history") == []


async def test_stop_before_start_and_twice_is_fine(buses: Buses) -> None:
    bus = buses.make()
    bus.subscribe(["job.*"], Heard(), group="history")
    bus.subscribe(["job.*"], Heard())
    await bus.stop()
    await bus.start()
    await bus.start()
    await bus.stop()
    await bus.stop()
    assert (await publish(bus, 1))[0].topic == "job.started"


async def test_a_handler_in_mid_call_may_end_and_its_event_is_acknowledged(buses: Buses) -> None:
    bus, entered, go, done = await buses.start(), asyncio.Event(), asyncio.Event(), Heard()

    async def take_time(event: Event) -> None:
        entered.set()
        await go.wait()
        await done(event)

    await bus.subscribe(["job.*"], take_time, group="history").ready()
    await publish(bus, 1)
    await asyncio.wait_for(entered.wait(), 30)
    stopping = asyncio.create_task(bus.stop())
    await asyncio.sleep(0.1)
    assert not stopping.done()
    go.set()
    await stopping
    assert done.numbers == [1]
    assert await pending(buses.store, "history") == 0


async def test_what_was_in_hand_goes_to_others_at_once_and_untried(buses: Buses) -> None:
    """With a visibility time of a minute: nothing is reclaimed here because time went by."""
    leaving, staying = await buses.start("i1", visibility_s=60.0, stop_grace_s=0.05), await buses.start("i2")
    stuck, heard = Stuck(), Heard()
    await backlog(leaving, 5)
    leaving.subscribe(["job.*"], stuck, group="history")
    await asyncio.wait_for(stuck.entered.wait(), 30)
    await leaving.stop()
    rows = await buses.store.command.xpending_range(buses.store.key("ev", "job"), "history", "-", "+", 10)
    assert [row["times_delivered"] for row in rows] == [0] * 5
    await staying.subscribe(["job.*"], heard, group="history").ready()
    await wait_until(lambda: heard.numbers == [0, 1, 2, 3, 4])
    assert stuck.numbers == [0], "the handler that did not end in its grace was cancelled"


async def test_what_failed_before_keeps_its_tries(buses: Buses) -> None:
    bus = await buses.start(retry_delay_s=20.0, visibility_s=60.0)
    heard = Heard(lambda _: True)
    await bus.subscribe(["job.*"], heard, group="history").ready()
    await publish(bus, 1)
    await wait_until(lambda: bus.counters.failed == 1)
    await bus.stop()
    [row] = await buses.store.command.xpending_range(buses.store.key("ev", "job"), "history", "-", "+", 10)
    assert row["times_delivered"] == 1


@pytest.mark.parametrize("group", ["history", None])
async def test_a_handler_may_close_its_own_subscription(buses: Buses, group: str | None) -> None:
    bus, calls = await buses.start(), []

    async def hear_one(event: Event) -> None:
        calls.append(event.data["n"])
        await subscription.close()

    subscription = bus.subscribe(["job.*"], hear_one, group=group)
    await subscription.ready()
    await asyncio.gather(*(publish(bus, number) for number in range(5)))
    await wait_until(lambda: subscription.ended)
    assert len(calls) == 1
    await subscription.close()


async def test_a_closed_subscription_hears_nothing_more_and_its_place_may_be_taken(buses: Buses) -> None:
    bus, first, second = await buses.start(), Heard(), Heard()
    one, listener = bus.subscribe(["job.*"], first, group="history"), bus.subscribe(["job.*"], first)
    await one.ready()
    await listener.ready()
    await asyncio.gather(one.close(), one.close(), listener.close())
    await publish(bus, 1)
    await bus.subscribe(["job.*"], second, group="history").ready()
    await wait_until(lambda: second.numbers == [1])
    assert first.events == []


async def test_a_subscription_that_is_closed_before_it_began_is_ready_and_ended(buses: Buses) -> None:
    bus = buses.make()
    subscription = bus.subscribe(["job.*"], Heard(), group="history")
    await subscription.close()
    await asyncio.wait_for(subscription.ready(), 30)
    await bus.start()
    assert subscription.ended


async def test_a_handler_that_ignores_its_cancellation_does_not_hold_up_the_stop(
    buses: Buses, caplog: pytest.LogCaptureFixture
) -> None:
    bus, entered, release = await buses.start(stop_grace_s=0.05), asyncio.Event(), asyncio.Event()

    async def stubborn(_: Event) -> None:
        entered.set()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    subscription = bus.subscribe(["job.*"], stubborn, group="history")
    await subscription.ready()
    await publish(bus, 1)
    await asyncio.wait_for(entered.wait(), 30)
    await asyncio.wait_for(bus.stop(), 30)
    assert "ignores its cancellation" in caplog.text
    release.set()
    await wait_until(lambda: subscription.ended)


async def test_the_store_being_gone_does_not_hold_up_the_stop(valkey: EmbeddedValkey, namespace: str) -> None:
    async with (
        FaultProxy(valkey) as proxy,
        opened(proxy.url, namespace) as store,
        Buses(store, failures_expected=True) as buses,
    ):
        bus = await buses.start()
        await bus.subscribe(["job.*"], Heard(), group="history").ready()
        await bus.subscribe(["job.*"], Heard()).ready()

        async def read() -> None:
            async for _ in bus.read(["worker.*"]):
                pass

        await proxy.set_fault("down")
        reader = asyncio.create_task(read())
        late = bus.subscribe(["alert.*"], Heard())
        await wait_until(lambda: len(bus.troubles) >= 4)
        await bus.stop()
        await asyncio.wait_for(reader, 30)
        assert late.ended
        assert bus.troubles == {}


async def test_a_stop_right_after_work_is_heard(store: RedisStore, caplog: pytest.LogCaptureFixture) -> None:
    """A cancellation may get lost in redis-py's sends under Python 3.11; the stop must not hang on that."""
    caplog.set_level(logging.WARNING)
    async with Buses(store) as buses:
        for round_ in range(40):
            bus, heard = await buses.start(f"i{round_}"), Heard()
            await bus.subscribe(["job.*"], heard, group=f"g{round_}").ready()
            await bus.subscribe(["job.*"], heard).ready()
            await asyncio.gather(*(publish(bus, number) for number in range(20)))
            await wait_until(lambda: len(heard.events) >= 30)  # noqa: B023 - awaited at once
            for _ in range(round_ % 8):
                await asyncio.sleep(0)
            await bus.stop()
    assert [record.getMessage() for record in caplog.records] == []


async def test_a_listener_that_is_cut_off_while_it_leaves_has_told_all_its_tails_to_end(store: RedisStore) -> None:
    bus = RedisEventBus(store.command, store.blocking, store.key, "cut-off")
    await bus.start()
    looking = asyncio.ensure_future(anext(bus.read(["*"])))

    def tails() -> list["asyncio.Task[Any]"]:
        return [task for task in asyncio.all_tasks() if task.get_name().startswith("events: tail of")]

    await wait_until(lambda: len(tails()) == 5)
    (feed,) = bus._tails._feeds
    left = tails()
    leaving = asyncio.create_task(bus._tails.detach(feed))
    await asyncio.sleep(0)
    leaving.cancel()
    assert all(task.cancelling() or task.done() for task in left)
    await bus.stop()
    looking.cancel()
    await asyncio.gather(looking, leaving, return_exceptions=True)
    assert tails() == []
