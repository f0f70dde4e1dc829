"""A process that fell behind claims what its fires made ready, slot after slot, before it fires more behind it."""

import asyncio
import threading

import pytest

from application.scheduling import RecurrentTaskDescriptor, ScheduledTaskDescriptor
from cluster import Cluster, Instance
from hands import FAR
from infrastructure.scheduling import tick
from support import wait_until

SLOTS, FIRES = 4, 20


async def silent(cluster: Cluster) -> Instance:
    """Return an instance with few slots that makes no passes of its own."""
    one = await cluster.start(concurrency=SLOTS)
    ended = threading.Event()

    def no_pass() -> float:
        ended.set()
        return 3600.0

    await one.engine._wake.stop()
    one.engine._scheduler._tick = no_pass
    one.engine._scheduler.wakeup()
    await wait_until(ended.is_set, "the last pass to end")
    return one


async def due(cluster: Cluster, one: Instance, *ids: str, hold: bool = False) -> None:
    """Schedule these, and return when all are due."""
    for task_id in ids:
        data = {"label": "held", "hold": hold}
        await one.bus.schedule_task(RecurrentTaskDescriptor(id=task_id, name="Note", data=data, interval=0.5))
    await wait_until(lambda: are_due(cluster, ids), "the schedules to be due")


async def are_due(cluster: Cluster, ids: tuple[str, ...]) -> bool:
    dues = await cluster.redis.command.zmscore(cluster.redis.key("due", "Note@1"), list(ids))
    seconds, _ = await cluster.redis.command.time()  # whole seconds: a little more than is needed
    return all(due is not None and due < seconds * 1000 for due in dues)


async def behind(cluster: Cluster) -> Instance:
    """Return one whose last pass had more fires than slots, all of which are free again; another schedule is due."""
    one = await silent(cluster)
    await due(cluster, one, *(f"s{n}" for n in range(FIRES)), hold=True)
    await asyncio.to_thread(one.engine._tick)
    await wait_until(lambda: len(cluster.ledger.entries) == SLOTS, "the first bodies")
    key = cluster.redis.key("due", "Note@1")
    await cluster.redis.command.zadd(key, {f"s{n}": FAR for n in range(FIRES)})  # one fire of each is enough
    await due(cluster, one, "another")
    return one


async def topics(cluster: Cluster, job_id: str) -> list[str]:
    return [event["topic"] for event in await cluster.events("job") if event["job_id"] == job_id]


async def begun(cluster: Cluster) -> int:
    """Count the schedules of which a run has begun."""
    return len({event["job_id"] for event in await cluster.events("job", "job.started")} - {"another"})


async def test_one_pass_claims_all_that_is_ready_and_owns_what_it_fires_then(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await behind(cluster)
    monkeypatch.setattr(tick, "CLAIMING_S", 60.0)
    monkeypatch.setattr(tick, "SLOTS_PATIENCE_S", 60.0)
    cluster.ledger.gate("held").set()
    await asyncio.to_thread(one.engine._tick)
    assert await begun(cluster) == FIRES
    assert (await topics(cluster, "another"))[0] == "job.started"


async def test_it_fires_all_the_same_when_bodies_go_on(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await behind(cluster)
    monkeypatch.setattr(tick, "CLAIMING_S", float("inf"))
    await asyncio.to_thread(one.engine._tick)
    assert await begun(cluster) == SLOTS
    assert await topics(cluster, "another") == ["job.queued"]
    cluster.ledger.gate("held").set()


async def test_it_fires_when_its_time_for_claiming_is_over(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await behind(cluster)
    monkeypatch.setattr(tick, "CLAIMING_S", 0.0)
    monkeypatch.setattr(tick, "SLOTS_PATIENCE_S", 60.0)
    cluster.ledger.gate("held").set()
    await asyncio.to_thread(one.engine._tick)
    assert await begun(cluster) < FIRES
    assert (await topics(cluster, "another"))[0] == "job.queued"


async def test_commits_that_are_under_way_together_own_no_more_than_there_are_slots(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tick, "LEAST_PART", SLOTS - 1)
    one = await silent(cluster)
    await due(cluster, one, *(f"s{n}" for n in range(3 * SLOTS)), hold=True)
    await asyncio.to_thread(one.engine._tick)
    assert len(one.engine.runner.held) == SLOTS
    cluster.ledger.gate("held").set()


async def test_nobody_waits_for_more_slots_than_there_are(cluster: Cluster) -> None:
    one = await silent(cluster)
    await due(cluster, one, *(f"s{n}" for n in range(2 * SLOTS)), hold=True)
    await asyncio.to_thread(one.engine._tick)
    assert len(one.engine.runner.held) == SLOTS
    assert one.engine._tick._waits_for_slots, "it waited in vain"
    cluster.ledger.gate("held").set()


async def test_jobs_that_are_ready_hold_up_no_fire(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tick, "CLAIMING_S", 60.0)
    monkeypatch.setattr(tick, "SLOTS_PATIENCE_S", 60.0)
    one = await silent(cluster)
    for n in range(FIRES):
        await one.bus.schedule_task(ScheduledTaskDescriptor(id=f"o{n}", name="Once"))
    await due(cluster, one, "another")
    one.engine._claiming.runs_expected = True  # what it would have heard
    await asyncio.to_thread(one.engine._tick)
    assert await begun(cluster) <= SLOTS
    assert await topics(cluster, "another") == ["job.queued"]
