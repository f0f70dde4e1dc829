"""Events that a group cannot handle: set aside with the reason, listed, delivered again when somebody says so."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from domain.events.errors import NotParked
from domain.events.parked import ParkedEvent
from infrastructure.events.bus import RedisEventBus
from infrastructure.redis.connection import RedisStore
from integration.event_kit import Buses, Heard, Stuck, backlog, kill, pending, publish
from support import wait_until


@pytest.fixture
async def buses(store: RedisStore) -> AsyncIterator[Buses]:
    async with Buses(store) as made:
        yield made


async def parked(bus: RedisEventBus, count: int, **only: Any) -> list[ParkedEvent]:
    async def enough() -> list[ParkedEvent]:
        found = await bus.parked(**only)
        return found if len(found) >= count else []

    found = await wait_until(enough, f"{count} parked events")
    assert len(found) == count
    return found


async def test_what_fails_too_often_is_parked_with_its_last_error(buses: Buses) -> None:
    bus, heard = await buses.start(max_tries=3), Heard(fails=lambda event: event.data["n"] == 2)
    await bus.subscribe(["job.*"], heard, group="history").ready()
    [_, bad, _] = await publish(bus, 1, 2, 3)
    [aside] = await parked(bus, 1)
    assert (aside.group, aside.reason, aside.tries) == ("history", "ValueError: cannot handle 2", 3)
    assert (aside.family, aside.event) == ("job", bad)
    assert aside.parked_at >= bad.time
    assert sorted(heard.numbers) == [1, 2, 2, 2, 3]
    assert bus.counters.parked == 1

    async def none_pending() -> bool:
        return await pending(buses.store, "history") == 0

    await wait_until(none_pending)


async def test_a_requeued_event_goes_to_its_group_again_and_to_no_other(buses: Buses) -> None:
    bus, failing, other, listening = await buses.start(max_tries=2), Heard(lambda _: True), Heard(), Heard()
    await bus.subscribe(["job.*"], failing, group="failing").ready()
    await bus.subscribe(["job.*"], other, group="other").ready()
    await bus.subscribe(["job.*"], listening).ready()
    [event] = await publish(bus, 1)
    [aside] = await parked(bus, 1)
    failing.fails = lambda _: False
    await bus.requeue(aside.id)
    await wait_until(lambda: len(failing.events) == 3)
    assert failing.events[-1] == event, "the same event, with the id and the time it had"
    assert await bus.parked() == []
    await publish(bus, 2)
    await wait_until(lambda: other.numbers[-1:] == [2] and listening.numbers[-1:] == [2])
    assert other.numbers == listening.numbers == [1, 2]


async def test_a_requeued_event_has_all_its_tries_again_and_can_be_parked_again(buses: Buses) -> None:
    bus, heard = await buses.start(max_tries=2), Heard(lambda _: True)
    await bus.subscribe(["job.*"], heard, group="history").ready()
    [event] = await publish(bus, 1)
    for round_ in (1, 2, 3):
        [aside] = await parked(bus, 1)
        assert aside.event == event
        assert len(heard.events) == 2 * round_
        await bus.requeue(aside.id)
        await wait_until(lambda: len(heard.events) >= 2 * round_ + 2)  # noqa: B023 - awaited at once


async def test_two_people_who_requeue_one_event_cause_one_delivery(buses: Buses) -> None:
    bus, heard = await buses.start(max_tries=1), Heard(lambda event: True)
    await bus.subscribe(["job.*"], heard, group="history").ready()
    await publish(bus, 1)
    [aside] = await parked(bus, 1)
    heard.fails = lambda _: False
    answers = await asyncio.gather(bus.requeue(aside.id), bus.requeue(aside.id), return_exceptions=True)
    assert sorted(type(answer) for answer in answers if answer) == [NotParked]
    await publish(bus, 2)
    await wait_until(lambda: heard.numbers[-1] == 2)
    assert heard.numbers == [1, 1, 2]


@pytest.mark.parametrize(
    "parked_id", ["", "x", "0-0", "1-1", "+", "-", "$", "9" * 19 + "-0", "9" * 30 + "-0", "1-1\n", "(1-1", "¹-0"]
)
async def test_what_is_not_parked_cannot_be_requeued(buses: Buses, parked_id: str) -> None:
    with pytest.raises(NotParked):
        await buses.make().requeue(parked_id)


async def test_parked_events_are_listed_newest_first_in_pages_and_by_group(buses: Buses) -> None:
    bus = await buses.start(max_tries=1)
    await bus.subscribe(["job.*"], Heard(lambda _: True), group="one").ready()
    await bus.subscribe(["worker.*"], Heard(lambda _: True), group="two").ready()
    for number in range(5):
        await publish(bus, number)
        await publish(bus, number, topic="worker.removed")
        await parked(bus, 2 * number + 2)
    everything = await bus.parked()
    assert [aside.id for aside in everything] == sorted((aside.id for aside in everything), reverse=True)
    of_two = [aside.event.data["n"] for aside in await bus.parked(group="two") if aside.event]
    assert of_two == [4, 3, 2, 1, 0]
    first = await bus.parked(limit=4)
    rest = await bus.parked(before=first[-1].id)
    assert first + rest == everything
    assert await bus.parked(group="nobody") == []
    with pytest.raises(NotParked):
        await bus.parked(before="x")


async def test_entries_that_are_no_events_are_parked_and_do_not_stop_the_group(buses: Buses) -> None:
    bus, heard, store = await buses.start(), Heard(), buses.store
    await bus.subscribe(["*"], heard, group="history").ready()
    stream = store.key("ev", "job")
    hostile: list[dict[bytes | str, bytes | str]] = [
        {"anything": "at all"},
        {b"\xff\xfe": b"\xff\x00"},
        {"t": "job.started", "d": "{not json", "s": "x"},
        {"t": "job.started", "d": '{"a":NaN}', "s": "x"},
        {"t": "job.started", "d": "[" * 100_000, "s": "x"},
        {"t": "worker.removed", "d": "{}", "s": "x"},
        {"_group": "forged", "_reason": "forged", "_tries": "1000"},
    ]
    for fields in hostile:
        await store.command.xadd(stream, fields)  # type: ignore[arg-type]
    await publish(bus, 1)
    await wait_until(lambda: heard.numbers == [1])
    found = await parked(bus, len(hostile))
    assert all(aside.event is None and aside.group == "history" and aside.tries == 1 for aside in found)
    assert all(aside.reason.startswith("it is not an event: ") for aside in found)
    assert found[-1].raw == {"anything": "at all"}
    assert all(len(value) <= 200 for aside in found for value in aside.raw.values())
    assert bus.counters.malformed == len(hostile)


async def test_a_requeued_entry_that_is_no_event_is_parked_again(buses: Buses) -> None:
    bus, store = await buses.start(), buses.store
    await bus.subscribe(["*"], Heard(), group="history").ready()
    await store.command.xadd(store.key("ev", "job"), {"anything": "at all"})
    [aside] = await parked(bus, 1)
    await bus.requeue(aside.id)
    await wait_until(lambda: bus.counters.malformed == 2)
    [again] = await parked(bus, 1)
    assert again.id != aside.id
    assert again.raw["anything"] == "at all"


async def test_what_others_write_among_the_parked_is_passed_over(buses: Buses) -> None:
    bus, store = buses.make(), buses.store
    parked_stream = store.key("ev", "parked")
    foreign = [
        await store.command.xadd(parked_stream, fields)
        for fields in (
            {"anything": "at all"},
            {"_group": "g", "_id": "x", "_family": "job", "_reason": "r", "_tries": "1"},
            {"_group": "g", "_id": "1-1", "_family": "no:family", "_reason": "r", "_tries": "1"},
            {"_group": "g", "_id": "1-1", "_family": "job", "_reason": "r", "_tries": "many"},
        )
    ]
    assert await bus.parked() == []
    for parked_id in foreign:
        with pytest.raises(NotParked):
            await bus.requeue(parked_id)


async def test_only_so_many_are_kept(buses: Buses) -> None:
    bus = await buses.start(max_tries=1, parked_kept=10)
    await bus.subscribe(["job.*"], Heard(lambda _: True), group="history").ready()
    await publish(bus, *range(120))
    await wait_until(lambda: bus.counters.parked == 120)
    assert 10 <= await buses.store.command.xlen(buses.store.key("ev", "parked")) < 60


async def test_an_event_that_kills_its_members_is_parked_alone(buses: Buses) -> None:
    """Its neighbours in the batch died with it, twice, and must not be parked for that."""
    [killer, *_] = await backlog(await buses.start("i0"), 5)
    for name in ("i1", "i2", "i3"):
        stuck = Stuck()
        doomed = (await buses.start(name, max_tries=3)).subscribe(["job.*"], stuck, group="history")
        await asyncio.wait_for(stuck.entered.wait(), 30)
        assert stuck.numbers == [0]
        await kill(doomed)
    survivor, heard = await buses.start("i4", max_tries=3), Heard()
    await survivor.subscribe(["job.*"], heard, group="history").ready()
    [aside] = await parked(survivor, 1)
    assert aside.event == killer
    assert aside.reason == "delivered 3 times and never acknowledged, the last time by i3"
    await wait_until(lambda: sorted(heard.numbers) == [1, 2, 3, 4])
