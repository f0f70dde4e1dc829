"""A group whose members handle several events at the same moment: the same promises, in any order."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from domain.events.event import Event
from infrastructure.redis.connection import RedisStore
from integration.event_kit import Buses, Heard, Stuck, backlog, pending
from support import wait_until


@pytest.fixture
async def buses(store: RedisStore) -> AsyncIterator[Buses]:
    async with Buses(store) as made:
        yield made


async def test_so_many_are_handled_at_once_and_each_is_handled_once(buses: Buses) -> None:
    bus, under_way, most, done = await buses.start(), 0, 0, Heard()

    async def together(event: Event) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await wait_until(lambda: most == 4, "four at work")
        under_way -= 1
        await done(event)

    await backlog(bus, 40)
    await bus.subscribe(["job.*"], together, group="history", at_once=4).ready()
    await wait_until(lambda: len(done.events) == 40)
    assert sorted(done.numbers) == list(range(40))
    assert most == 4, "and never more"

    async def none_pending() -> bool:
        return await pending(buses.store, "history") == 0

    await wait_until(none_pending)
    assert bus.counters.handled == 40


async def test_one_that_fails_one_that_hangs_and_one_that_is_cancelled_are_tried_again_alone(buses: Buses) -> None:
    bus, calls = await buses.start(handler_timeout_s=0.05), Heard()

    async def handle(event: Event) -> None:
        number = event.data["n"]
        await calls(event)
        if calls.numbers.count(number) > 1:
            return
        if number == 1:
            raise ValueError("the first time it fails")
        if number == 2:
            await asyncio.Event().wait()
        if number == 3:
            future = asyncio.get_running_loop().create_future()
            future.cancel()
            await future

    await backlog(bus, 6)
    await bus.subscribe(["job.*"], handle, group="history", at_once=6).ready()
    await wait_until(lambda: len(calls.events) == 9)
    assert sorted(calls.numbers) == [0, 1, 1, 2, 2, 3, 3, 4, 5]
    await wait_until(lambda: bus.counters.handled == 6)
    assert (bus.counters.failed, bus.counters.parked) == (3, 0)


async def test_a_stop_waits_for_all_calls_under_way_and_begins_none(buses: Buses) -> None:
    bus, entered, go, done = await buses.start(), Heard(), asyncio.Event(), Heard()

    async def take_time(event: Event) -> None:
        await entered(event)
        await go.wait()
        await done(event)

    await backlog(bus, 9)
    bus.subscribe(["job.*"], take_time, group="history", at_once=3)
    await wait_until(lambda: len(entered.events) == 3)
    stopping = asyncio.create_task(bus.stop())
    await asyncio.sleep(0.1)
    assert not stopping.done()
    go.set()
    await stopping
    assert sorted(done.numbers) == sorted(entered.numbers) == [0, 1, 2]
    rows = await buses.store.command.xpending_range(buses.store.key("ev", "job"), "history", "-", "+", 10)
    assert [row["times_delivered"] for row in rows] == [0] * 6, "the rest was given back"


async def test_calls_that_do_not_end_are_cancelled_and_go_to_others_untried(buses: Buses) -> None:
    leaving, staying = await buses.start("i1", visibility_s=60.0, stop_grace_s=0.05), await buses.start("i2")
    stuck, heard = Stuck(), Heard()
    await backlog(leaving, 5)
    leaving.subscribe(["job.*"], stuck, group="history", at_once=2)
    await wait_until(lambda: len(stuck.numbers) == 2)
    await leaving.stop()
    await staying.subscribe(["job.*"], heard, group="history").ready()
    await wait_until(lambda: heard.numbers == [0, 1, 2, 3, 4])
    assert stuck.numbers == [0, 1]


async def test_one_of_several_calls_may_close_its_own_subscription(buses: Buses) -> None:
    bus, calls = await buses.start(), Heard()

    async def close(event: Event) -> None:
        await calls(event)
        await subscription.close()

    await backlog(bus, 5)
    subscription = bus.subscribe(["job.*"], close, group="history", at_once=2)
    await wait_until(lambda: subscription.ended)
    assert len(calls.events) <= 2
