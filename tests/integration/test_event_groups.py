"""Groups: each event to one member, at least once, whoever dies; what a member of a group can rely on."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from domain.events.errors import GroupTaken, InvalidGroup, InvalidTopic
from domain.events.event import Event
from infrastructure.events.membership import Delivery, Membership
from infrastructure.events.options import EventBusOptions
from infrastructure.events.streams import Streams
from infrastructure.redis.connection import RedisStore
from integration.event_kit import Buses, Heard, Stuck, backlog, kill, pending, publish, trim
from support import wait_until


@pytest.fixture
async def buses(store: RedisStore) -> AsyncIterator[Buses]:
    async with Buses(store) as made:
        yield made


async def test_two_instances_share_the_work_and_each_event_is_handled_once(buses: Buses) -> None:
    """Each handles one event while holding another back, so that neither can take them all."""
    one, two = await buses.start("i1"), await buses.start("i2")
    heard: dict[str, list[int]] = {"i1": [], "i2": []}

    def handler(name: str):  # type: ignore[no-untyped-def]
        async def handle(event: Event) -> None:
            heard[name].append(event.data["n"])
            await wait_until(lambda: all(heard.values()), "both members at work")

        return handle

    for name, bus in (("i1", one), ("i2", two)):
        await bus.subscribe(["job.*"], handler(name), group="history").ready()
    for number in range(60):
        await publish(one, number)
        await asyncio.sleep(0)
    await wait_until(lambda: len(heard["i1"]) + len(heard["i2"]) == 60)
    assert sorted(heard["i1"] + heard["i2"]) == list(range(60))
    assert heard["i1"] == sorted(heard["i1"]), "in order within a member"


async def test_what_was_handled_is_acknowledged(buses: Buses) -> None:
    bus, heard = await buses.start(), Heard()
    await bus.subscribe(["job.*"], heard, group="history").ready()
    await publish(bus, *range(10))
    await wait_until(lambda: len(heard.events) == 10)

    async def none_pending() -> bool:
        return await pending(buses.store, "history") == 0

    await wait_until(none_pending)
    assert bus.counters.handled == 10


async def test_two_groups_both_get_every_event(buses: Buses) -> None:
    bus, first, second = await buses.start(), Heard(), Heard()
    await bus.subscribe(["job.*"], first, group="first").ready()
    await bus.subscribe(["*"], second, group="second").ready()
    await publish(bus, 1, 2)
    await wait_until(lambda: first.numbers == [1, 2] and second.numbers == [1, 2])


async def test_what_a_group_did_not_ask_for_is_acknowledged_unread(buses: Buses) -> None:
    bus, heard = await buses.start(), Heard()
    await bus.subscribe(["job.failed", "worker.removed"], heard, group="history").ready()
    await publish(bus, 1, topic="job.started")
    await publish(bus, 2, topic="job.failed")
    await publish(bus, 3, topic="worker.registered")
    await publish(bus, 4, topic="worker.removed")
    await wait_until(lambda: sorted(heard.numbers) == [2, 4])

    async def none_pending() -> bool:
        return not await pending(buses.store, "history") and not await pending(buses.store, "history", "worker")

    await wait_until(none_pending)


async def test_a_new_group_begins_now(buses: Buses) -> None:
    bus, heard = await buses.start(), Heard()
    await publish(bus, 1)
    await bus.subscribe(["job.*"], heard, group="history").ready()
    await publish(bus, 2)
    await wait_until(lambda: heard.numbers == [2])


async def test_a_new_group_begins_with_what_is_kept_if_it_says_so(buses: Buses) -> None:
    bus, heard = await buses.start(), Heard()
    await publish(bus, 1, 2, 3)
    await trim(buses.store, 2)
    await bus.subscribe(["job.*"], heard, group="history", from_start=True, on_gap=heard.gap).ready()
    await wait_until(lambda: heard.numbers == [2, 3])
    assert heard.gaps == [], "it was not there when the first one was trimmed"


async def test_a_group_goes_on_where_it_was_when_all_its_members_were_away(buses: Buses) -> None:
    heard = Heard()
    bus = await buses.start("i1")
    await bus.subscribe(["job.*"], heard, group="history").ready()
    await publish(bus, 1)
    await wait_until(lambda: heard.numbers == [1])
    await bus.stop()
    await publish(bus, 2)
    later = buses.make("i2")
    later.subscribe(["job.*"], heard, group="history")
    await later.start()
    await wait_until(lambda: heard.numbers == [1, 2])


async def test_events_of_a_dead_member_go_to_another(buses: Buses) -> None:
    dying, living = await buses.start("i1"), await buses.start("i2")
    stuck, heard = Stuck(), Heard()
    await backlog(dying, 3)
    doomed = dying.subscribe(["job.*"], stuck, group="history")
    await asyncio.wait_for(stuck.entered.wait(), 30)
    await kill(doomed)
    await living.subscribe(["job.*"], heard, group="history").ready()
    await wait_until(lambda: heard.numbers == [0, 1, 2])
    assert living.counters.reclaimed == 3
    assert stuck.numbers == [0]


async def test_a_living_member_keeps_what_it_works_on(buses: Buses) -> None:
    """Its handler takes several visibility times; what waits behind it in its hand is kept as well."""
    slow, idle = await buses.start("i1", visibility_s=0.3), await buses.start("i2", visibility_s=0.3)
    began, taken, other = asyncio.Event(), [], Heard()

    async def take_long(event: Event) -> None:
        taken.append(event.data["n"])
        if len(taken) == 1:
            began.set()
            end = time.monotonic() + 1.0
            await wait_until(lambda: time.monotonic() > end)

    await backlog(slow, 5)
    slow.subscribe(["job.*"], take_long, group="history")
    await asyncio.wait_for(began.wait(), 30)
    await idle.subscribe(["job.*"], other, group="history").ready()
    await wait_until(lambda: len(taken) + len(other.numbers) >= 5)
    assert sorted(taken + other.numbers) == list(range(5)), "nothing twice"
    assert idle.counters.reclaimed == 0


async def test_a_member_that_was_frozen_does_not_handle_what_another_took_over(buses: Buses) -> None:
    frozen, other = await buses.start("i1", visibility_s=0.3), Heard()
    handled: list[int] = []
    first_done, thaw = asyncio.Event(), asyncio.Event()

    async def freeze_after_first(event: Event) -> None:
        handled.append(event.data["n"])
        if len(handled) == 1:
            first_done.set()
            await thaw.wait()

    await backlog(frozen, 3)
    subscription = frozen.subscribe(["job.*"], freeze_after_first, group="history")
    await asyncio.wait_for(first_done.wait(), 30)
    assert len(subscription._custody._held) == 3
    # As in a frozen process, nothing is kept while the others go on.
    subscription._custody.keep, keep = _nothing, subscription._custody.keep  # type: ignore[method-assign]
    awake = await buses.start("i2", visibility_s=0.3)
    await awake.subscribe(["job.*"], other, group="history").ready()
    await wait_until(lambda: sorted(other.numbers) == [0, 1, 2])
    subscription._custody.keep = keep  # type: ignore[method-assign]
    thaw.set()
    await publish(frozen, 99)
    await wait_until(lambda: 99 in handled + other.numbers)
    assert handled in ([0], [0, 99]), "what was in mid-call, and nothing else that another has"


async def _nothing() -> None:
    return None


async def test_a_retry_does_not_take_back_what_another_member_has_now(buses: Buses) -> None:
    bus = await buses.start()
    await backlog(bus, 2)
    streams = Streams(buses.store.command, buses.store.blocking, buses.store.key)
    options = EventBusOptions(visibility_s=0.001)
    first, second = (Membership(streams, "history", name, ["job"], options) for name in ("i1", "i2"))
    marks = [delivery.mark for delivery in await first.read(1.0)]
    await streams.run("keep", [streams.name("job")], "history", "i1", marks[1][1])
    taken = await wait_until(lambda: _reclaimed(second))
    assert {delivery.taken_from for delivery in taken} == {"i1"}
    again, trimmed = await first.retake(marks)
    assert {delivery.mark for delivery in again} == set(marks) - {delivery.mark for delivery in taken}
    assert not trimmed


async def _reclaimed(member: Membership) -> list[Delivery]:
    return (await member.reclaim())[0]


async def test_a_failing_handler_delays_nothing_else_and_is_tried_again(buses: Buses) -> None:
    bus, heard = await buses.start(), Heard()
    heard.fails = lambda event: event.data["n"] == 2 and heard.numbers.count(2) < 3
    await bus.subscribe(["job.*"], heard, group="history").ready()
    await publish(bus, 1, 2, 3)
    await wait_until(lambda: heard.numbers.count(2) == 3)
    assert [number for number in heard.numbers if number != 2] == [1, 3]
    assert heard.numbers.index(3) < len(heard.numbers) - 1, "the following one did not wait for the retries"
    assert (bus.counters.failed, bus.counters.parked) == (2, 0)


async def test_a_handler_that_takes_too_long_has_failed(buses: Buses) -> None:
    bus, calls = await buses.start(handler_timeout_s=0.05), []

    async def hang_once(event: Event) -> None:
        calls.append(event.data["n"])
        if len(calls) == 1:
            await asyncio.Event().wait()

    await bus.subscribe(["job.*"], hang_once, group="history").ready()
    await publish(bus, 1, 2)
    await wait_until(lambda: sorted(calls) == [1, 1, 2])


async def test_a_cancelled_error_out_of_a_handler_is_its_error_only(buses: Buses) -> None:
    bus, calls = await buses.start(), []

    async def wait_for_something_cancelled(event: Event) -> None:
        calls.append(event.data["n"])
        if len(calls) == 1:
            future = asyncio.get_running_loop().create_future()
            future.cancel()
            await future

    await bus.subscribe(["job.*"], wait_for_something_cancelled, group="history").ready()
    await publish(bus, 1, 2)
    await wait_until(lambda: sorted(calls) == [1, 1, 2])


async def test_a_broken_handler_stops_the_reading_before_all_is_in_limbo(buses: Buses) -> None:
    bus = await buses.start(retry_delay_s=100.0, visibility_s=200.0)
    heard = Heard(fails=lambda _: True)
    await bus.subscribe(["job.*"], heard, group="history").ready()
    await asyncio.gather(*(publish(bus, *range(300)) for _ in range(6)))
    await wait_until(lambda: len(heard.events) >= 1000)
    groups = await buses.store.command.xinfo_groups(buses.store.key("ev", "job"))
    await wait_until(lambda: bus.counters.failed == groups[0]["pending"] or len(heard.events) >= 1800)
    assert len(heard.events) < 1800


async def test_members_of_dead_instances_are_deleted_but_never_with_events(buses: Buses) -> None:
    store, key = buses.store, buses.store.key("ev", "job")
    dying, idle = await buses.start("dying"), await buses.start("idle")
    stuck = Stuck()
    doomed = dying.subscribe(["job.*"], stuck, group="history")
    await doomed.ready()
    await publish(dying, 1)
    await asyncio.wait_for(stuck.entered.wait(), 30)
    await kill(doomed)
    parting = idle.subscribe(["job.*"], Heard(), group="history")
    await parting.ready()
    await kill(parting)
    living = await buses.start("living", visibility_s=0.4, idle_member_s=0.05)
    heard = Heard()
    await living.subscribe(["job.*"], heard, group="history").ready()

    async def alone() -> bool:
        return [member["name"] for member in await store.command.xinfo_consumers(key, "history")] == ["living"]

    await wait_until(alone)
    assert heard.numbers == [1], "it was taken over before its holder was deleted"


async def test_one_process_has_one_subscription_a_group(buses: Buses) -> None:
    bus = await buses.start()
    first = bus.subscribe(["job.*"], Heard(), group="history")
    with pytest.raises(GroupTaken, match="history"):
        bus.subscribe(["worker.*"], Heard(), group="history")
    await first.close()
    await bus.subscribe(["worker.*"], Heard(), group="history").ready()


@pytest.mark.parametrize("group", ["", " ", "a b", "ä", "x" * 101, "-x", "a\n", "{a}"])
async def test_a_group_has_a_plain_name(buses: Buses, group: str) -> None:
    with pytest.raises(InvalidGroup):
        buses.make().subscribe(["job.*"], Heard(), group=group)


@pytest.mark.parametrize("topics", [[], [""], ["job"], ["nosuch.*"], ["job.*", "x"]])
async def test_a_subscription_names_proper_topics(buses: Buses, topics: list[str]) -> None:
    with pytest.raises(InvalidTopic):
        buses.make().subscribe(topics, Heard(), group="history")
