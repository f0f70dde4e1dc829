"""The sweep by hand: what it marks, in which pages, and what takes a mark away."""

import asyncio

import pytest

from application.scheduling import RecurrentTaskDescriptor
from cluster import Cluster
from domain.scheduling.schedule import ScheduleInfo, ScheduleStatus
from hands import Hands, one_shot, schedule
from newer_jobs import NewerNote, NewerOnce
from support import wait_until


class Sweeper:
    """Sweep by hand, with all the time passing that a sweep waits for."""

    def __init__(self, hand: Hands) -> None:
        self._hand = hand

    def sweep(self) -> str:
        """Sweep once, as if two leases had passed since the last time."""
        hand = self._hand
        for lane in hand.client.hkeys(f"{hand.prefix}orphans"):
            hand.client.hset(f"{hand.prefix}orphans", lane, 1)
        hand.client.hset(f"{hand.prefix}meta", "nobody_gone_until", 0)
        return str(hand.call("sweep", 60_000, "1"))

    def know(self, *lanes: str) -> None:
        """Announce an instance that executes these lanes."""
        self._hand.announce(lanes=lanes)


@pytest.fixture
def sweeper(hands: tuple[Hands, Hands]) -> Sweeper:
    return Sweeper(hands[0])


async def test_many_are_parked_and_released_in_pages_each_told_once(
    cluster: Cluster, hands: tuple[Hands, Hands], sweeper: Sweeper
) -> None:
    a, _ = hands
    for n in range(1100):
        await one_shot(a, f"o{n}")
    assert sweeper.sweep() == ""
    assert [sweeper.sweep() for _ in range(4)] == ["1", "1", "", ""]
    told = await cluster.events("job", "job.parked")
    assert len(told) == len({event["run_id"] for event in told}) == 1100
    for _ in range(4):
        sweeper.sweep()
    assert len(await cluster.events("job", "job.parked")) == 1100
    sweeper.know("Once@1")
    assert [sweeper.sweep() for _ in range(4)] == ["1", "1", "", ""]
    queued = [event for event in await cluster.events("job", "job.queued") if "why" in event]
    assert len(queued) == len({event["run_id"] for event in queued}) == 1100
    assert a.client.exists(f"{a.prefix}parked", f"{a.prefix}strays:Once@1", f"{a.prefix}orphans") == 0


async def test_a_lane_is_unknown_only_after_two_leases(hands: tuple[Hands, Hands], sweeper: Sweeper) -> None:
    a, _ = hands
    await one_shot(a)
    a.client.hset(f"{a.prefix}meta", "nobody_gone_until", 0)
    for _ in range(3):
        a.call("sweep", 60_000, "1")
    run = await a.instance.runs.get("o")
    assert run is not None
    assert run.parked is None
    sweeper.sweep()
    run = await a.instance.runs.get("o")
    assert run is not None
    assert run.parked is not None


async def test_a_schedule_that_was_changed_while_it_waited_is_parked_anew_only_when_it_is_due(
    cluster: Cluster, hands: tuple[Hands, Hands], sweeper: Sweeper
) -> None:
    a, _ = hands
    scheduler = a.instance.scheduler

    async def status() -> ScheduleStatus:
        info = await scheduler.get_task_info("s")
        assert isinstance(info, ScheduleInfo)
        return info.status

    async def parked() -> bool:
        sweeper.sweep()
        return await status() is ScheduleStatus.PARKED

    await schedule(a, interval=0.01)
    await wait_until(parked)
    await scheduler.modify("s", {"interval": 3600})
    assert await status() is ScheduleStatus.ACTIVE
    await scheduler.modify("s", {"interval": 0.01})
    await scheduler.pause("s", "a person said so")
    sweeper.sweep()
    assert await status() is ScheduleStatus.PAUSED
    await scheduler.resume("s")
    await wait_until(parked)
    changed = [event for event in await cluster.events("schedule", "schedule.changed") if "parked" in event]
    assert len(changed) == 2
    await scheduler.stop_task("s")
    assert a.client.exists(f"{a.prefix}strays", f"{a.prefix}strays:Note@1") == 0
    sweeper.know("Note@1")
    sweeper.sweep()
    assert len(await cluster.events("schedule", "schedule.resumed")) == 1, "that was the person's"


async def test_a_schedule_that_was_paused_while_it_waited_stays_so(
    cluster: Cluster, hands: tuple[Hands, Hands], sweeper: Sweeper
) -> None:
    a, _ = hands
    await schedule(a, interval=0.01)

    async def marked() -> bool:
        sweeper.sweep()
        return bool(await cluster.events("schedule", "schedule.changed"))

    await wait_until(marked)
    await a.instance.scheduler.pause("s", "a person said so")
    sweeper.know("Note@1")
    sweeper.sweep()
    assert await cluster.events("schedule", "schedule.resumed") == []
    info = await a.instance.scheduler.get_task_info("s")
    assert isinstance(info, ScheduleInfo)
    assert info.status is ScheduleStatus.PAUSED
    assert a.client.exists(f"{a.prefix}strays", f"{a.prefix}orphans") == 0


async def test_a_mark_of_the_lane_that_a_schedule_has_left_counts_for_nothing(
    cluster: Cluster, hands: tuple[Hands, Hands], sweeper: Sweeper
) -> None:
    a, _ = hands
    newer = await cluster.start(jobs=(NewerNote, NewerOnce), executes=False)

    async def reason() -> str:
        info = await newer.scheduler.get_task_info("s")
        assert isinstance(info, ScheduleInfo)
        return info.parked.reason if info.parked else ""

    async def waits_for(version: int) -> bool:
        sweeper.sweep()
        return f"in version {version}" in await reason()

    await schedule(a, interval=0.01)
    await wait_until(lambda: waits_for(1))
    await newer.bus.schedule_task(RecurrentTaskDescriptor(id="s", name="Note", interval=0.01))
    assert await reason() == ""
    await wait_until(lambda: waits_for(2))
    sweeper.know("Note@1")
    sweeper.sweep()
    assert await waits_for(2)
    assert await cluster.events("schedule", "schedule.resumed") == []
    sweeper.know("Note@2")
    sweeper.sweep()
    assert len(await cluster.events("schedule", "schedule.resumed")) == 1


async def test_a_run_whose_owner_died_with_all_who_know_it_is_parked_until_it_is_taken_over(
    cluster: Cluster, hands: tuple[Hands, Hands], sweeper: Sweeper
) -> None:
    a, b = hands
    await one_shot(a)
    a.claim()
    sweeper.sweep()
    sweeper.sweep()
    run = await a.instance.runs.get("o")
    assert run is not None
    assert run.parked is None, "its lease holds"
    a.lapse()
    sweeper.sweep()
    run = await a.instance.runs.get("o")
    assert run is not None
    assert (run.status, run.parked is None) == ("running", False)
    (claim,) = b.claim()
    assert claim.attempt == 2
    sweeper.know("Once@1")
    sweeper.sweep()
    run = await a.instance.runs.get("o")
    assert run is not None
    assert (run.status, run.parked) == ("running", None)


async def test_a_run_that_is_parked_for_another_reason_stays_so(
    cluster: Cluster, hands: tuple[Hands, Hands], sweeper: Sweeper
) -> None:
    a, b = hands
    await one_shot(a)
    sweeper.sweep()
    sweeper.sweep()
    a.claim()
    b.lapse()
    assert b.claim(takeovers=0) == []
    sweeper.know("Once@1")
    sweeper.sweep()
    run = await a.instance.runs.get("o")
    assert run is not None
    assert "owners" in (run.parked or "")


async def test_one_sweep_a_lease_is_enough_for_all(hands: tuple[Hands, Hands]) -> None:
    a, b = hands
    await one_shot(a)
    a.call("sweep", 60_000, "")
    swept = a.client.hget(f"{a.prefix}meta", "swept")
    await asyncio.sleep(0.002)
    b.call("sweep", 60_000, "")
    assert a.client.hget(f"{a.prefix}meta", "swept") == swept


async def test_nothing_is_parked_right_after_a_time_in_which_nobody_was_heard(hands: tuple[Hands, Hands]) -> None:
    a, _ = hands
    await one_shot(a)
    a.announce(60_000, lanes=())
    a.client.hset(f"{a.prefix}orphans", "Once@1", 1)
    a.call("sweep", 60_000, "1")
    run = await a.instance.runs.get("o")
    assert run is not None
    assert run.parked is None
    a.client.hset(f"{a.prefix}meta", "nobody_gone_until", 0)
    a.call("sweep", 60_000, "1")
    run = await a.instance.runs.get("o")
    assert run is not None
    assert run.parked is not None


@pytest.mark.parametrize(("silent_ms", "is_parked"), [(90_000, False), (150_000, True)])
async def test_who_is_silent_for_more_than_two_leases_knows_nothing_any_more(
    hands: tuple[Hands, Hands], sweeper: Sweeper, silent_ms: int, is_parked: bool
) -> None:
    a, _ = hands
    await one_shot(a)
    sweeper.know("Once@1")
    a.client.zadd(f"{a.prefix}beats", {a.id: a.client.time()[0] * 1000 - silent_ms})
    sweeper.sweep()
    sweeper.sweep()
    run = await a.instance.runs.get("o")
    assert run is not None
    assert (run.parked is not None) == is_parked
