"""Subscriptions without a group: every instance sees every event from its start on."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from domain.events.event import Event, Gap
from infrastructure.redis.connection import RedisStore
from integration.event_kit import Buses, Heard, publish, trim
from support import wait_until


@pytest.fixture
async def buses(store: RedisStore) -> AsyncIterator[Buses]:
    async with Buses(store) as made:
        yield made


async def test_every_instance_sees_every_event_in_order(buses: Buses) -> None:
    one, two, first, second = await buses.start("i1"), await buses.start("i2"), Heard(), Heard()
    await one.subscribe(["job.*"], first).ready()
    await two.subscribe(["job.*"], second).ready()
    await publish(one, *range(50))
    await publish(two, *range(50, 100))
    await wait_until(lambda: len(first.events) == len(second.events) == 100)
    assert first.numbers == second.numbers == list(range(100))


async def test_one_that_was_made_before_the_start_begins_with_it(buses: Buses) -> None:
    bus, heard = buses.make(), Heard()
    await publish(bus, 1)
    bus.subscribe(["job.*"], heard)
    await bus.start()
    await publish(bus, 2)
    await wait_until(lambda: heard.numbers == [2])


async def test_one_that_comes_later_sees_what_comes_later(buses: Buses) -> None:
    bus, early, late = await buses.start(), Heard(), Heard()
    await bus.subscribe(["job.*"], early).ready()
    await publish(bus, 1)
    await bus.subscribe(["job.*"], late).ready()
    await publish(bus, 2)
    await wait_until(lambda: early.numbers == [1, 2] and late.numbers == [2])


async def test_only_what_matches_arrives(buses: Buses) -> None:
    bus, heard = await buses.start(), Heard()
    await bus.subscribe(["worker.metrics.*", "job.failed"], heard).ready()
    await publish(bus, 1, topic="worker.metrics.collected")
    await publish(bus, 2, topic="worker.removed")
    await publish(bus, 3, topic="job.started")
    await publish(bus, 4, topic="job.failed")
    await publish(bus, 5, topic="alert.firing")
    await wait_until(lambda: sorted(heard.numbers) == [1, 4])


async def test_a_failing_handler_is_told_in_the_counters_and_goes_on(buses: Buses) -> None:
    bus, heard = await buses.start(), Heard(fails=lambda event: event.data["n"] == 1)
    await bus.subscribe(["job.*"], heard).ready()
    await publish(bus, 1, 2)
    await wait_until(lambda: heard.numbers == [1, 2])
    await wait_until(lambda: (bus.counters.failed, bus.counters.handled) == (1, 1))


async def test_entries_that_are_no_events_are_passed_over(buses: Buses) -> None:
    bus, heard, store = await buses.start(), Heard(), buses.store
    await bus.subscribe(["*"], heard).ready()
    for fields in ({"anything": "at all"}, {b"\xff": b"\xff"}, {"t": "job.started", "d": "{", "s": "x"}):
        await store.command.xadd(store.key("ev", "job"), fields)  # type: ignore[arg-type]
    await publish(bus, 1)
    await wait_until(lambda: heard.numbers == [1])
    assert bus.counters.malformed >= 3
    assert await bus.parked() == []


async def test_a_slow_one_gets_everything_and_delays_no_other(buses: Buses) -> None:
    """More events than its buffer holds: it reads on from the stream, at its own pace."""
    bus, quick, slow, go = await buses.start(buffer=10), Heard(), Heard(), asyncio.Event()

    async def take_time(event: Event) -> None:
        await go.wait()
        await slow(event)

    await bus.subscribe(["job.*"], quick).ready()
    await bus.subscribe(["job.*"], take_time, on_gap=slow.gap).ready()
    await asyncio.gather(*(publish(bus, number) for number in range(700)))
    await wait_until(lambda: len(quick.events) == 700)
    assert slow.numbers == []
    go.set()
    await wait_until(lambda: len(slow.events) == 700)
    assert [event.id for event in slow.events] == [event.id for event in quick.events]
    assert slow.gaps == []
    await publish(bus, 700)
    await wait_until(lambda: slow.numbers[-1] == 700)


async def test_a_slow_one_is_told_what_was_trimmed_before_it_came_to_it(buses: Buses) -> None:
    bus, slow, entered, go = await buses.start(buffer=5), Heard(), asyncio.Event(), asyncio.Event()

    async def take_time(event: Event) -> None:
        entered.set()
        await go.wait()
        await slow(event)

    await bus.subscribe(["job.*"], take_time, on_gap=slow.gap).ready()
    tail = Heard()
    await bus.subscribe(["job.*"], tail).ready()
    await publish(bus, 0)
    await asyncio.wait_for(entered.wait(), 30)
    await publish(bus, *range(1, 30))
    await wait_until(lambda: len(tail.events) == 30)
    await trim(buses.store, 4)
    go.set()
    await wait_until(lambda: slow.numbers[-4:] == [26, 27, 28, 29])
    assert slow.numbers == [*range(6), *range(26, 30)], "its buffer, then what was kept"
    assert slow.gaps == [Gap("job", 20)]
    assert (bus.counters.gaps, bus.counters.lost) == (1, 20)


async def test_a_failing_gap_handler_is_no_reason_to_end(buses: Buses) -> None:
    bus, heard, store = await buses.start(), Heard(), buses.store

    async def fail(gap: Gap) -> None:
        await heard.gap(gap)
        raise ValueError("cannot handle it")

    await bus.subscribe(["job.*"], heard, on_gap=fail).ready()
    await publish(bus, *range(5))
    await wait_until(lambda: len(heard.events) == 5)
    await store.command.delete(store.key("ev", "job"))
    await publish(bus, 5)
    await wait_until(lambda: heard.numbers[-1] == 5)
    assert heard.gaps == [Gap("job", None)], "a stream that was deleted may have had more"
    await publish(bus, 6)
    await wait_until(lambda: heard.numbers[-1] == 6)
    assert len(heard.gaps) == 1
