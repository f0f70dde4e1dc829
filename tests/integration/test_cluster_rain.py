"""Control while a schedule fires faster than its caller's link can read and write: it takes effect all the same."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from application.scheduling import RecurrentTaskDescriptor, SchedulePolicy
from application.scheduling.store import Stored
from cluster import Cluster, Instance
from domain.scheduling.errors import ScheduleNotFound
from domain.scheduling.schedule import ScheduleInfo, ScheduleStatus
from fault_proxy import FaultProxy
from hands import Hands, planned
from infrastructure.redis.embedded import EmbeddedValkey
from support import wait_until

LATENCY_S = 0.03
"""Each way: three fires and more lie between what such a caller reads and what it writes."""


@pytest.fixture
async def slow(cluster: Cluster, valkey: EmbeddedValkey, namespace: str) -> AsyncIterator[Instance]:
    """An API-only instance on a slow link, beside one that executes."""
    await cluster.start()
    async with FaultProxy(valkey) as proxy:
        proxy.latency_s = LATENCY_S
        instance = Instance(proxy.url, namespace, "slow", cluster.ledger, executes=False)
        await instance.start()
        yield instance
        await instance.stop()


def fast(interval: float = 0.01, overlap: str = "allow(9)") -> RecurrentTaskDescriptor:
    return RecurrentTaskDescriptor(id="s", name="Note", interval=interval, policy=SchedulePolicy(overlap=overlap))


async def raining(cluster: Cluster) -> None:
    """Schedule what fires a hundred times a second, and wait until it does."""
    await cluster.instances[0].bus.schedule_task(fast())
    await wait_until(lambda: len(cluster.ledger.of("s")) > 3)


async def test_stop_wins_against_the_fires(cluster: Cluster, slow: Instance) -> None:
    await raining(cluster)
    assert (await slow.scheduler.stop_task("s")).stopped
    with pytest.raises(ScheduleNotFound):
        await cluster.instances[0].scheduler.get_task_info("s")


async def test_pause_wins_against_the_fires_and_loses_none(cluster: Cluster, slow: Instance) -> None:
    await raining(cluster)
    info = await slow.scheduler.pause("s", "too fast")
    assert info.status is ScheduleStatus.PAUSED

    async def all_over() -> ScheduleInfo | None:
        found = await slow.scheduler.get_task_info("s")
        assert isinstance(found, ScheduleInfo)
        return found if found.counts.succeeded == found.counts.fired else None

    found = await wait_until(all_over)
    ran = cluster.ledger.of("s")
    assert len(ran) == found.counts.fired
    first, last = min(entry.fire_time for entry in ran), max(entry.fire_time for entry in ran)
    # Every due time from the first to the last one ran, or stands in the missed count of one that did.
    assert (last - first) / timedelta(seconds=0.01) + 1 == len(ran) + sum(
        entry.missed for entry in ran if entry.fire_time > first
    )


async def test_a_change_wins_against_the_fires_and_the_new_rhythm_runs(cluster: Cluster, slow: Instance) -> None:
    await raining(cluster)
    await slow.bus.schedule_task(fast(interval=0.02))
    info = await slow.scheduler.get_task_info("s")
    assert isinstance(info, ScheduleInfo)
    assert (info.generation, info.descriptor and info.descriptor.interval) == (2, 0.02)
    seen = len(cluster.ledger.of("s"))
    await wait_until(lambda: len(cluster.ledger.of("s")) > seen + 3)


async def test_a_run_now_and_a_backfill_win_against_the_fires(cluster: Cluster, slow: Instance) -> None:
    await raining(cluster)
    run_id = await slow.scheduler.run_now("s")
    first = cluster.ledger.of("s")[0].fire_time
    (filled,) = await slow.scheduler.backfill("s", first, first + timedelta(milliseconds=1))
    await wait_until(lambda: {run_id, filled} <= {entry.run_id for entry in cluster.ledger.of("s")})


async def test_parking_wins_against_the_fires(cluster: Cluster, slow: Instance) -> None:
    await raining(cluster)
    stored = await slow.schedules.get("s")
    assert isinstance(stored, Stored)
    await slow.scheduler.park("s", "a test", stored.state.incarnation, stored.state.generation)
    assert (await slow.scheduler.get_task_info("s")).status is ScheduleStatus.PARKED  # type: ignore[union-attr]


async def test_who_came_too_late_and_never_tries_again_delays_and_loses_nothing(hands: tuple[Hands, Hands]) -> None:
    a, b = hands
    await a.instance.bus.schedule_task(fast())
    read = await b.instance.schedules.get("s")
    assert read is not None
    ((_, text),) = await wait_until(lambda: a.take(hide_ms=60_000))
    next_state = read.state.model_copy(update={"due": read.state.due + 10}).dump()
    look = str(read.state.due + 10)
    assert a.call("commit", 0, 1000, *planned("s", text, next_state, look=look))[1] == 0
    await _come_too_late(b, read)
    held = await a.instance.schedules.get("s")
    assert held is not None
    assert held.text.rstrip() == next_state
    assert a.take() == []
    ((_, taken),) = await wait_until(a.take)
    assert taken == held.text


async def _come_too_late(hand: Hands, read: Stored) -> None:
    """Try to pause what was read before the last fire, once."""
    paused = read.state.model_copy(update={"generation": 1})
    changed = await hand.instance.scheduler._change("s", read, paused, 0, "schedule.paused", {})
    assert not changed.done


async def test_ten_instances_that_schedule_the_same_at_boot_do_not_hold_it_still(cluster: Cluster) -> None:
    made = [await cluster.start(executes=False) for _ in range(10)]
    results = await asyncio.gather(*(instance.bus.schedule_task(fast(interval=3600)) for instance in made))
    assert sorted(scheduled.result for scheduled in results) == ["created", *["unchanged"] * 9]
    stored = await made[0].schedules.get("s")
    assert stored is not None
    assert stored.text == stored.state.dump()
    due = {scheduled.info.next_fire for scheduled in results if isinstance(scheduled.info, ScheduleInfo)}
    assert len(due) == 1
