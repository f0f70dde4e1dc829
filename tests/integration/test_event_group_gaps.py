"""Groups that missed something, or whose streams are gone: told once, made again, and nothing more missed."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from domain.events.event import Gap
from infrastructure.redis.connection import RedisStore
from integration.event_kit import Buses, Heard, Stuck, backlog, kill, publish, trim
from support import wait_until


@pytest.fixture
async def buses(store: RedisStore) -> AsyncIterator[Buses]:
    async with Buses(store) as made:
        yield made


async def test_events_trimmed_before_the_group_read_them_are_told(buses: Buses) -> None:
    heard, bus = Heard(), await buses.start()
    first = bus.subscribe(["job.*"], heard, group="history", on_gap=heard.gap)
    await first.ready()
    await publish(bus, 1)
    await wait_until(lambda: heard.numbers == [1])
    await first.close()
    await publish(bus, *range(2, 12))
    await trim(buses.store, 3)
    await bus.subscribe(["job.*"], heard, group="history", on_gap=heard.gap).ready()
    await wait_until(lambda: heard.numbers == [1, 9, 10, 11])
    assert heard.gaps == [Gap("job", 7)]
    assert (bus.counters.gaps, bus.counters.lost) == (1, 7)


async def test_a_group_that_has_read_all_that_was_trimmed_is_told_nothing(buses: Buses) -> None:
    heard, bus = Heard(), await buses.start()
    await bus.subscribe(["job.*"], heard, group="history", on_gap=heard.gap).ready()
    for number in range(5):
        await publish(bus, number)
        await wait_until(lambda: len(heard.events) == number + 1)  # noqa: B023 - awaited at once
        await trim(buses.store, number % 2)
    assert heard.numbers == [0, 1, 2, 3, 4]
    assert heard.gaps == []


async def test_events_trimmed_while_a_member_was_dead_are_told(buses: Buses) -> None:
    dying, living = await buses.start("i1"), await buses.start("i2")
    stuck, heard = Stuck(), Heard()
    await backlog(dying, 3)
    doomed = dying.subscribe(["job.*"], stuck, group="history")
    await asyncio.wait_for(stuck.entered.wait(), 30)
    await kill(doomed)
    await trim(buses.store, 1)
    await living.subscribe(["job.*"], heard, group="history", on_gap=heard.gap).ready()
    await wait_until(lambda: heard.numbers == [2] and heard.gaps == [Gap("job", 2)])


async def test_a_group_that_is_gone_is_made_again_and_misses_nothing(buses: Buses) -> None:
    buses.failures_expected = True
    bus, heard = await buses.start(), Heard()
    await bus.subscribe(["job.*"], heard, group="history").ready()
    await publish(bus, 1)
    await wait_until(lambda: heard.numbers == [1])
    await buses.store.command.xgroup_destroy(buses.store.key("ev", "job"), "history")
    await publish(bus, 2)
    await wait_until(lambda: 2 in heard.numbers)
    assert set(heard.numbers) == {1, 2}, "the first one perhaps twice: its acknowledgement went with the group"


async def test_a_stream_that_is_gone_is_made_again_with_its_group(buses: Buses) -> None:
    buses.failures_expected = True
    bus, heard = await buses.start(), Heard()
    await bus.subscribe(["job.*"], heard, group="history").ready()
    await buses.store.command.delete(buses.store.key("ev", "job"))
    await publish(bus, 1)
    await wait_until(lambda: heard.numbers == [1])


async def test_a_stream_that_is_made_again_by_a_clock_that_went_back_is_read_from_its_beginning(buses: Buses) -> None:
    buses.failures_expected = True
    bus, heard, key = await buses.start(), Heard(), buses.store.key("ev", "job")
    await bus.subscribe(["job.*"], heard, group="history").ready()
    await publish(bus, 1)
    await wait_until(lambda: heard.numbers == [1])
    await buses.store.command.delete(key)
    await buses.store.command.xadd(key, {"t": "job.started", "d": '{"n":2}', "s": "i1"}, id="5-0")
    await wait_until(lambda: 2 in heard.numbers)
