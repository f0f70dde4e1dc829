"""What no running instance knows is parked with its reason, and comes back by itself when one does."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from api_kit import Api
from application.scheduling import RecurrentTaskDescriptor, ScheduledTaskDescriptor
from cluster import Cluster, Instance
from domain.runs.run import RunRecord
from domain.scheduling.schedule import OneShotInfo, ScheduleInfo, ScheduleStatus
from hands import Hands, one_shot, schedule
from newer_jobs import NewerNote, NewerOnce
from sample_jobs import Note, Once
from support import wait_until

LEASE_MS = 1_000


async def older_and_newer(cluster: Cluster) -> tuple[Instance, Instance]:
    """Start an older program that executes, and make the API of a newer one; return both."""
    older = await cluster.start(lease_ms=LEASE_MS)
    newer = await cluster.start(lease_ms=LEASE_MS, jobs=(NewerNote, NewerOnce), executes=False)
    return older, newer


async def parked_schedule(api: Instance, schedule_id: str) -> ScheduleInfo:
    async def found() -> ScheduleInfo | None:
        info = await api.scheduler.get_task_info(schedule_id)
        assert isinstance(info, ScheduleInfo)
        return info if info.status is ScheduleStatus.PARKED else None

    return await wait_until(found, f"{schedule_id} to be parked")  # type: ignore[return-value]


async def parked_run(api: Instance, run_id: str) -> RunRecord:
    async def found() -> RunRecord | None:
        run = await api.runs.get(run_id)
        return run if run is not None and run.parked else None

    return await wait_until(found, f"{run_id} to be parked")  # type: ignore[return-value]


async def test_a_schedule_that_nobody_knows_is_parked_once_due_and_goes_on_when_somebody_comes(
    cluster: Cluster,
) -> None:
    older, newer = await older_and_newer(cluster)
    await newer.bus.schedule_task(RecurrentTaskDescriptor(id="new", name="Note", interval=0.1))
    await newer.bus.schedule_task(RecurrentTaskDescriptor(id="later", name="Note", interval=3600))
    await older.bus.schedule_task(RecurrentTaskDescriptor(id="old", name="Note", interval=0.1))
    for asked in (newer, older):
        info = await parked_schedule(asked, "new")
        assert info.parked is not None
        assert info.parked.reason.startswith("no running instance knows 'Note' in version 2; start one that has it")
        assert info.next_fire is None
    page = await older.scheduler.list_tasks(status="parked")
    assert [item.id for item in page.items] == ["new"], "what is not due yet is not parked, and what is known neither"
    assert [item.id for item in (await older.scheduler.list_tasks(status="active")).items] == ["later", "old"]
    seen = len(cluster.ledger.of("old"))
    await wait_until(lambda: len(cluster.ledger.of("old")) > seen + 20)
    (told,) = await cluster.events("schedule", "schedule.changed")
    assert (told["id"], told["lane"]) == ("new", "Note@2")
    assert told["parked"] == info.parked.reason

    await cluster.start(lease_ms=LEASE_MS, jobs=(NewerNote, NewerOnce))
    await wait_until(lambda: cluster.ledger.of("new"))

    async def resumed() -> list[str]:
        return [event["id"] for event in await cluster.events("schedule", "schedule.resumed")]

    await wait_until(resumed)
    assert await resumed() == ["new"]
    info = await older.scheduler.get_task_info("new")  # type: ignore[assignment]
    assert info.status is ScheduleStatus.ACTIVE
    assert info.parked is None
    assert info.counts.missed > 0, "its catch-up policy decided about the fires that it missed"


async def test_a_one_shot_that_nobody_knows_is_parked_and_goes_on(cluster: Cluster) -> None:
    _, newer = await older_and_newer(cluster)
    await newer.bus.schedule_task(ScheduledTaskDescriptor(id="o", name="Once"))
    await newer.bus.schedule_task(
        ScheduledTaskDescriptor(id="soon", name="Once", scheduled_at=datetime.now(UTC) + timedelta(seconds=0.1))
    )
    later = datetime.now(UTC) + timedelta(hours=1)
    await newer.bus.schedule_task(ScheduledTaskDescriptor(id="later", name="Once", scheduled_at=later))
    for run_id in ("o", "soon"):
        run = await parked_run(newer, run_id)
        assert run.status == "queued"
        assert run.parked == (
            "no running instance knows 'Once' in version 2; start one that has it in background_jobs.modules"
        )
    later_info = await newer.scheduler.get_task_info("later")
    assert isinstance(later_info, OneShotInfo)
    assert later_info.run.parked is None
    told = await cluster.events("job", "job.parked")
    assert sorted(event["run_id"] for event in told) == ["o", "soon"]
    assert (await newer.runs.queue_stats([])).parked == 2

    await cluster.start(lease_ms=LEASE_MS, jobs=(NewerNote, NewerOnce))

    async def succeeded() -> bool:
        runs = [await newer.runs.get(run_id) for run_id in ("o", "soon")]
        return all(run is not None and run.status == "succeeded" and run.parked is None for run in runs)

    await wait_until(succeeded)
    assert (await newer.runs.queue_stats([])).parked == 0


async def test_an_api_only_fleet_parks_what_nobody_executes(cluster: Cluster) -> None:
    api = await cluster.start(lease_ms=LEASE_MS, executes=False, announces=True)
    await api.bus.schedule_task(RecurrentTaskDescriptor(id="s", name="Note", interval=0.1))
    soon = datetime.now(UTC) + timedelta(seconds=0.1)
    await api.bus.schedule_task(ScheduledTaskDescriptor(id="o", name="Once", scheduled_at=soon))
    await parked_schedule(api, "s")
    await parked_run(api, "o")
    await cluster.start(lease_ms=LEASE_MS)
    await wait_until(lambda: cluster.ledger.of("s") and cluster.ledger.of("o"))


async def test_a_rolling_restart_parks_nothing(cluster: Cluster) -> None:
    api = await cluster.start(lease_ms=60_000, executes=False, announces=True)
    for _ in range(2):
        one = await cluster.start(lease_ms=60_000)
        await api.bus.schedule_task(RecurrentTaskDescriptor(id="s", name="Note", interval=0.05))
        await wait_until(lambda: cluster.ledger.of("s"))
        cluster.ledger.entries.clear()
        await one.stop()
    assert await cluster.events("schedule", "schedule.changed") == []


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


async def test_the_api_shows_why_it_waits(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace) as api, Cluster(redis_url, namespace) as cluster:
        await cluster.start(lease_ms=LEASE_MS, jobs=(Once,))
        await api.post("/schedules", {"id": "n", "name": "Note", "data": {}, "trigger": {"interval_s": 0.1}})

        async def parked() -> str:
            found: str = (await api.get("/schedules/n")).json()["status"]
            return found

        await wait_until(lambda: _is(parked, "parked"))
        body = (await api.get("/schedules?state=parked")).json()["items"][0]
        assert body["next_fire"] is None
        assert "no running instance knows 'Note' in version 1" in body["parked"]["reason"]
        await cluster.start(lease_ms=LEASE_MS, jobs=(Note, Once))
        await wait_until(lambda: _is(parked, "active"))


async def _is(ask: object, wanted: str) -> bool:
    return await ask() == wanted  # type: ignore[operator,no-any-return]
