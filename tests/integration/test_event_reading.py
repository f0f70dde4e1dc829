"""Reading from a cursor on, as the live page does: resumable, with gaps told, for many readers at once."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import pytest

from domain.events.errors import BusNotRunning, InvalidCursor, InvalidTopic
from domain.events.event import Event
from infrastructure.events.bus import RedisEventBus
from infrastructure.redis.connection import RedisStore
from integration.event_kit import Buses, publish, trim
from support import wait_until

Step = tuple[str, Event | None]


@pytest.fixture
async def buses(store: RedisStore) -> AsyncIterator[Buses]:
    async with Buses(store) as made:
        yield made


async def take(events: AsyncGenerator[Step, None], count: int) -> list[Step]:
    """The next steps of a reader."""
    return [await asyncio.wait_for(anext(events), 30) for _ in range(count)]


async def take_from(bus: RedisEventBus, topics: list[str], after: str | None, count: int) -> list[Step]:
    """The first steps of a new reader, and one look whether it stands still afterwards."""
    async with aclosing(bus.read(topics, after=after)) as events:
        return await take(events, count)


def numbers(steps: list[Step]) -> list[object]:
    """The ``n`` of each event; None for a gap."""
    return [event.data["n"] if event else None for _, event in steps]


async def test_a_reader_resumes_behind_any_event_it_saw(buses: Buses) -> None:
    bus = await buses.start()
    begin = await bus.place(["job.*"])
    await publish(bus, *range(5))
    steps = await take_from(bus, ["job.*"], begin, 5)
    assert numbers(steps) == [0, 1, 2, 3, 4]
    for seen in range(4):
        assert numbers(await take_from(bus, ["job.*"], steps[seen][0], 4 - seen)) == list(range(seen + 1, 5))


async def test_without_a_cursor_it_begins_now(buses: Buses) -> None:
    bus = await buses.start()
    await publish(bus, 1)
    async with aclosing(bus.read(["job.*"])) as events:
        first = asyncio.create_task(anext(events))  # type: ignore[arg-type]
        await wait_until(lambda: bus._tails._feeds)
        await publish(bus, 2)
        assert (await first)[1].data == {"n": 2}


async def test_one_cursor_holds_the_place_in_all_families(buses: Buses) -> None:
    bus = await buses.start()
    topics = ["job.*", "worker.removed"]
    begin = await bus.place(topics)
    await publish(bus, 1, topic="job.started")
    await publish(bus, 2, topic="worker.registered")
    await publish(bus, 3, topic="worker.removed")
    steps = await take_from(bus, topics, begin, 2)
    assert sorted(numbers(steps)) == [1, 3]
    await publish(bus, 4, topic="worker.removed")
    await publish(bus, 5, topic="job.started")
    assert sorted(numbers(await take_from(bus, topics, steps[-1][0], 2))) == [4, 5]


async def test_a_family_that_the_cursor_lacks_begins_now(buses: Buses) -> None:
    bus = await buses.start()
    begin = await bus.place(["job.*"])
    await publish(bus, 1, topic="job.started")
    await publish(bus, 2, topic="worker.removed")
    assert numbers(await take_from(bus, ["*"], begin, 1)) == [1]


async def test_a_gap_is_told_once_and_then_what_is_kept(buses: Buses) -> None:
    bus = await buses.start()
    begin = await bus.place(["job.*"])
    await publish(bus, *range(10))
    await trim(buses.store, 3)
    steps = await take_from(bus, ["job.*"], begin, 4)
    assert numbers(steps) == [None, 7, 8, 9]
    assert (bus.counters.gaps, bus.counters.lost) == (1, 7)
    assert numbers(await take_from(bus, ["job.*"], steps[0][0], 3)) == [7, 8, 9], "who heard of it is not told again"


async def test_a_gap_in_one_family_says_nothing_of_the_others(buses: Buses) -> None:
    bus = await buses.start()
    begin = await bus.place(["*"])
    await publish(bus, 1, 2, topic="job.started")
    await publish(bus, 3, topic="worker.removed")
    await trim(buses.store, 1, "job")
    steps = await take_from(bus, ["*"], begin, 3)
    assert sorted(str(number) for number in numbers(steps)) == ["2", "3", "None"]
    gap = next(cursor for cursor, event in steps if event is None)
    assert gap.count(":") == 2 * 5


@pytest.mark.parametrize("kept", [0, 1, 4])
async def test_nothing_is_told_when_all_that_was_trimmed_was_seen(buses: Buses, kept: int) -> None:
    """Even if the cursor's own entry was the last one trimmed, and the whole stream is gone with it."""
    bus = await buses.start()
    begin = await bus.place(["job.*"])
    await publish(bus, *range(5))
    steps = await take_from(bus, ["job.*"], begin, 5)
    await trim(buses.store, kept)
    await publish(bus, 5)
    assert numbers(await take_from(bus, ["job.*"], steps[4 - kept][0], kept + 1)) == [*range(5 - kept, 5), 5]
    assert bus.counters.gaps == 0


async def test_approximate_trimming_is_noticed_too(buses: Buses) -> None:
    bus = await buses.start(events_kept=50)
    begin = await bus.place(["job.*"])
    for _ in range(20):
        await asyncio.gather(*(publish(bus, number) for number in range(50)))
    kept = await buses.store.command.xlen(buses.store.key("ev", "job"))
    steps = await take_from(bus, ["job.*"], begin, 1 + kept)
    assert steps[0][1] is None
    assert bus.counters.lost == 1000 - kept
    assert all(event for _, event in steps[1:])


async def test_what_did_not_match_is_behind_the_cursor_too(buses: Buses) -> None:
    """Else a rare topic's reader would be told of gaps in which nothing of it was."""
    bus = await buses.start()
    async with aclosing(bus.read(["job.failed", "alert.*"])) as events:
        waiting = asyncio.create_task(anext(events))  # type: ignore[arg-type]
        await wait_until(lambda: bus._tails._feeds)
        await publish(bus, *range(20), topic="job.started")
        place = await bus.place(["job.*"])
        await wait_until(lambda: (at := bus._tails.place("job")) and at.ordinal == 20)
        await publish(bus, 20, topic="alert.firing")
        cursor, event = await waiting
    assert event.data == {"n": 20}
    assert place in cursor
    await trim(buses.store, 0)
    await publish(bus, 21, topic="job.failed")
    assert numbers(await take_from(bus, ["job.failed", "alert.*"], cursor, 1)) == [21]


@pytest.mark.parametrize(
    "cursor",
    ["job:18446744073709551615-18446744073709551615:0", "job:9999999999999-0:5", "job:1-1:9223372036854775807"],
)
async def test_a_cursor_of_another_store_is_a_gap_and_then_it_goes_on_now(buses: Buses, cursor: str) -> None:
    bus = await buses.start()
    await publish(bus, 1)
    async with aclosing(bus.read(["job.*"], after=cursor)) as events:
        assert numbers(await take(events, 1)) == [None]
        await publish(bus, 2)
        assert numbers(await take(events, 1)) == [2]


async def test_a_stream_that_was_deleted_is_a_gap_and_what_comes_next_is_read(buses: Buses) -> None:
    bus = await buses.start()
    await publish(bus, *range(5))
    cursor = await bus.place(["job.*"])
    await buses.store.command.delete(buses.store.key("ev", "job"))
    await publish(bus, 5)
    steps = await take_from(bus, ["job.*"], cursor, 1)
    assert numbers(steps) == [None]
    await publish(bus, 6)
    assert numbers(await take_from(bus, ["job.*"], steps[0][0], 1)) == [6]


async def test_what_cannot_be_read_is_refused_at_once(buses: Buses) -> None:
    bus = buses.make()
    with pytest.raises(BusNotRunning):
        bus.read(["job.*"])
    await bus.start()
    with pytest.raises(InvalidTopic):
        bus.read(["nosuch.*"])
    with pytest.raises(InvalidTopic):
        bus.read([])
    with pytest.raises(InvalidCursor):
        bus.read(["job.*"], after="17")
    with pytest.raises(InvalidCursor):
        bus.read(["job.*"], after="")
    with pytest.raises(InvalidTopic):
        await bus.place(["job"])


async def test_entries_that_are_no_events_are_passed_over(buses: Buses) -> None:
    bus, store = await buses.start(), buses.store
    begin = await bus.place(["job.*"])
    for fields in ({b"\xff": b"\xff"}, {"t": "job.started", "d": "{", "s": "x"}):
        await store.command.xadd(store.key("ev", "job"), fields)  # type: ignore[arg-type]
    await publish(bus, 1)
    steps = await take_from(bus, ["job.*"], begin, 1)
    assert numbers(steps) == [1]
    assert steps[0][0].endswith(":3"), "they count as entries all the same"


async def connections(store: RedisStore) -> int:
    return len(await store.command.client_list())


async def test_two_hundred_readers_need_few_connections_and_each_sees_everything(buses: Buses) -> None:
    bus, store = await buses.start(), buses.store
    before = await connections(store)
    topics = [["*"], ["job.*"], ["worker.*", "job.*"], ["job.started"]]
    begin = await bus.place(["*"])
    seen: list[list[object]] = [[] for _ in range(200)]

    async def read(which: int) -> None:
        async for _, event in bus.read(topics[which % 4], after=begin):
            assert event is not None
            if event.topic == "job.started":
                seen[which].append(event.data["n"])

    tasks = [asyncio.create_task(read(which)) for which in range(200)]
    await publish(bus, *range(10))
    await publish(bus, 0, topic="worker.removed")
    await wait_until(lambda: all(len(found) == 10 for found in seen))
    await publish(bus, *range(10, 30))
    await wait_until(lambda: all(len(found) == 30 for found in seen))
    assert all(found == list(range(30)) for found in seen)
    blocked = [client for client in await store.command.client_list() if client["cmd"].startswith("xread")]
    assert len(blocked) <= 5, "one a family"
    assert await connections(store) - before <= 70, "the pool of commands, which is shared and bounded"
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await wait_until(lambda: not any(task.get_name().startswith("events: tail") for task in asyncio.all_tasks()))
