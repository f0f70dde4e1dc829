"""What no running instance knows is parked with its reason, and comes back by itself when one does."""

from datetime import UTC, datetime, timedelta

from api_kit import Api
from application.scheduling import RecurrentTaskDescriptor, ScheduledTaskDescriptor
from cluster import Cluster, Instance
from domain.runs.run import RunRecord
from domain.scheduling.schedule import OneShotInfo, ScheduleInfo, ScheduleStatus
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
        assert info.parked.reason.startswith("no running instance knows 'Note' in version 2 (only in version 1); ")
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
            "no running instance knows 'Once' in version 2 (only in version 1); "
            "start one that has it in background_jobs.modules"
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


async def test_who_raised_a_version_without_an_upgrade_is_told_which_versions_there_are(cluster: Cluster) -> None:
    older = await cluster.start(lease_ms=LEASE_MS, executes=False)
    await older.bus.schedule_task(RecurrentTaskDescriptor(id="s", name="Note", interval=0.1))
    await cluster.start(lease_ms=LEASE_MS, jobs=(NewerNote, NewerOnce))
    await cluster.start(lease_ms=LEASE_MS, jobs=(NewerNote, NewerOnce))
    parked = (await parked_schedule(older, "s")).parked
    assert parked is not None
    assert parked.reason == (
        "no running instance knows 'Note' in version 1 (only in version 2); start one that has it in "
        "background_jobs.modules, or give it an upgrade from version 1"
    )
