"""An older program, and a newer one whose classes upgrade what the older one stored, side by side on one store."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from application.scheduling import (
    Injected,
    JobContext,
    RecurrentBackgroundJob,
    RecurrentTaskDescriptor,
    RetryPolicy,
    ScheduledBackgroundJob,
    ScheduledTaskDescriptor,
    backgroundjob,
)
from cluster import Cluster, Instance
from domain.runs.errors import NotUpgraded, UnknownVersion
from domain.runs.run import RunRecord
from domain.scheduling.schedule import PutResult, ScheduleInfo
from newer_jobs import NewerNote, NewerOnce
from sample_jobs import Entry, Ledger
from support import wait_until


def titled(version: int, data: dict[str, Any]) -> dict[str, Any]:
    """Version 1 has a label and more, version 2 is not known, version 3 has a title."""
    if version < 3:
        data = {"title": f"{data['label']} of {version}"}
    return data


@backgroundjob(task_type="recurrent", name="Note", version=3)
class TitledNote(RecurrentBackgroundJob):
    title: str
    ledger: Injected[Ledger]

    @classmethod
    def upgrade(cls, version: int, data: dict[str, Any]) -> dict[str, Any]:
        return titled(version, data)

    async def run_every(self, ctx: JobContext) -> None:
        self.ledger.entries.append(Entry(ctx.run_id, ctx.job_id, ctx.fire_time, ctx.attempt, ctx.missed, self.title))


@backgroundjob(task_type="scheduled", name="Once", version=3, retry=RetryPolicy(max_retries=3, backoff_s=0.05))
class TitledOnce(ScheduledBackgroundJob):
    title: str
    ledger: Injected[Ledger]

    @classmethod
    def upgrade(cls, version: int, data: dict[str, Any]) -> dict[str, Any]:
        return titled(version, data)

    async def run_at(self, ctx: JobContext) -> None:
        self.ledger.entries.append(Entry(ctx.run_id, ctx.job_id, ctx.fire_time, ctx.attempt, ctx.missed, self.title))


@backgroundjob(task_type="recurrent", name="Note", version=3)
class BrokenNote(RecurrentBackgroundJob):
    title: str

    @classmethod
    def upgrade(cls, version: int, data: dict[str, Any]) -> dict[str, Any]:
        return {"title": data["titel"]}

    async def run_every(self) -> None: ...


@backgroundjob(task_type="scheduled", name="Once", version=3)
class BrokenOnce(ScheduledBackgroundJob):
    title: str

    @classmethod
    def upgrade(cls, version: int, data: dict[str, Any]) -> Any:
        return [data]

    async def run_at(self) -> None: ...


NEWER = (TitledNote, TitledOnce)
BROKEN = (BrokenNote, BrokenOnce)


def note(**fields: Any) -> RecurrentTaskDescriptor:
    return RecurrentTaskDescriptor(**{"id": "s", "name": "Note", "interval": 0.05, "data": {"label": "a"}, **fields})


async def info(instance: Instance, schedule_id: str = "s") -> ScheduleInfo:
    found = await instance.scheduler.get_task_info(schedule_id)
    assert isinstance(found, ScheduleInfo)
    return found


async def stored(instance: Instance) -> tuple[int | None, dict[str, Any]]:
    """Return version and data of the schedule in the store."""
    descriptor = (await info(instance)).descriptor
    assert descriptor is not None
    return descriptor.version, descriptor.data


def labels(cluster: Cluster, job_id: str = "s") -> set[str]:
    return {entry.label for entry in cluster.ledger.of(job_id)}


async def test_a_newer_program_alone_runs_what_the_older_one_stored_and_leaves_it_as_it_is(cluster: Cluster) -> None:
    older = await cluster.start(executes=False)
    await older.bus.schedule_task(note())
    soon = datetime.now(UTC) + timedelta(seconds=0.1)
    await older.bus.schedule_task(ScheduledTaskDescriptor(id="o", name="Once", data={"label": "b"}, scheduled_at=soon))
    as_stored = await stored(older)
    newer = await cluster.start(jobs=NEWER)
    await wait_until(lambda: len(cluster.ledger.of("s")) > 5 and cluster.ledger.of("o"))
    assert (labels(cluster), labels(cluster, "o")) == ({"a of 1"}, {"b of 1"})
    assert await stored(newer) == as_stored
    assert as_stored[0] == 1


async def test_side_by_side_both_take_the_older_version_and_the_newer_one_alone_takes_its_own(
    cluster: Cluster,
) -> None:
    older, newer = await cluster.start(), await cluster.start(jobs=NEWER)
    await older.bus.schedule_task(note())
    await newer.bus.schedule_task(note(id="n", data={"title": "new"}))
    await wait_until(lambda: labels(cluster) == {"a", "a of 1"} and len(cluster.ledger.of("n")) > 10)
    assert labels(cluster, "n") == {"new"}
    assert {entry.attempt for entry in cluster.ledger.entries} == {1}
    run_ids = [entry.run_id for entry in cluster.ledger.entries]
    assert len(set(run_ids)) == len(run_ids)


async def test_a_deploy_forth_and_back_parks_nothing(cluster: Cluster) -> None:
    older = await cluster.start(lease_ms=1_000)
    await older.bus.schedule_task(note())
    await wait_until(lambda: cluster.ledger.of("s"))
    newer = await cluster.start(lease_ms=1_000, jobs=NEWER)
    await older.stop()
    await wait_until(lambda: "a of 1" in labels(cluster))
    again = await cluster.start(lease_ms=1_000)
    await newer.stop()
    seen = len(cluster.ledger.of("s"))
    await wait_until(lambda: len(cluster.ledger.of("s")) > seen + 5)
    assert {entry.label for entry in cluster.ledger.of("s")[seen + 1 :]} == {"a"}
    assert (await again.scheduler.list_tasks(status="parked")).items == []


async def test_a_retry_of_an_older_run_goes_on_in_the_newer_program(cluster: Cluster) -> None:
    older = await cluster.start()
    data = {"label": "a", "fail_times": 9}
    await older.bus.schedule_task(ScheduledTaskDescriptor(id="o", name="Once", data=data, max_retries=99))
    await wait_until(lambda: cluster.ledger.of("o"))
    await older.stop()
    tried = len(cluster.ledger.of("o"))
    newer = await cluster.start(jobs=NEWER)

    async def done() -> RunRecord | None:
        run = await newer.runs.get("o")
        return run if run is not None and run.status == "succeeded" else None

    await wait_until(done)
    last = cluster.ledger.of("o")[-1]
    assert (last.label, last.attempt) == ("a of 1", tried + 1)


async def test_a_change_by_the_newer_program_rewrites_the_schedule_and_the_older_one_leaves_it(
    cluster: Cluster,
) -> None:
    older, newer = await cluster.start(), await cluster.start(jobs=NEWER, executes=False)
    await older.bus.schedule_task(note())
    await wait_until(lambda: cluster.ledger.of("s"))
    changed = await newer.scheduler.modify("s", {"policy": {"jitter_s": 0.01}})
    assert changed.result is PutResult.CHANGED
    assert await stored(newer) == (3, {"title": "a of 1"})
    with pytest.raises(UnknownVersion, match="has version 3; this program knows version 1"):
        await older.scheduler.modify("s", {"interval": 60})
    await cluster.start(jobs=NEWER)
    seen = len(cluster.ledger.of("s"))
    await wait_until(lambda: len(cluster.ledger.of("s")) > seen + 5)
    assert {entry.label for entry in cluster.ledger.of("s")[seen + 1 :]} == {"a of 1"}


async def test_an_empty_change_brings_a_schedule_to_the_present_version_and_keeps_its_rhythm(cluster: Cluster) -> None:
    older, newer = await cluster.start(executes=False), await cluster.start(jobs=NEWER, executes=False)
    await older.bus.schedule_task(note(interval=3600))
    before = await info(older)
    assert (await newer.scheduler.modify("s", {})).result is PutResult.CHANGED
    after = await info(newer)
    assert await stored(newer) == (3, {"title": "a of 1"})
    assert (after.next_fire, after.created_at) == (before.next_fire, before.created_at)
    assert (await newer.scheduler.modify("s", {})).result is PutResult.UNCHANGED


async def test_new_data_given_for_an_older_schedule_is_of_the_present_version(cluster: Cluster) -> None:
    older, newer = await cluster.start(executes=False), await cluster.start(jobs=NEWER, executes=False)
    await older.bus.schedule_task(note(interval=3600))
    await newer.scheduler.modify("s", {"data": {"title": "given"}})
    assert await stored(newer) == (3, {"title": "given"})


async def test_a_descriptor_of_an_older_version_is_upgraded_when_it_is_scheduled(cluster: Cluster) -> None:
    newer = await cluster.start(jobs=NEWER)
    assert (await newer.bus.schedule_task(note(interval=3600, version=1))).result is PutResult.CREATED
    assert (await newer.bus.schedule_task(note(interval=3600, version=1))).result is PutResult.UNCHANGED
    assert await stored(newer) == (3, {"title": "a of 1"})
    once = ScheduledTaskDescriptor(id="o", name="Once", data={"label": "b"}, version=2)
    await newer.bus.schedule_task(once)
    await wait_until(lambda: labels(cluster, "o") == {"b of 2"})


async def test_run_now_and_backfill_of_an_older_schedule_through_the_newer_program(cluster: Cluster) -> None:
    older = await cluster.start(executes=False)
    start = datetime.now(UTC) - timedelta(hours=3)
    await older.bus.schedule_task(note(interval=3600, policy={"start": start}))
    newer = await cluster.start(jobs=NEWER)
    await newer.scheduler.run_now("s")
    await newer.scheduler.backfill("s", start, datetime.now(UTC))
    await wait_until(lambda: len(cluster.ledger.of("s")) >= 4)
    assert labels(cluster) == {"a of 1"}
    assert (await stored(newer))[0] == 1


async def test_a_schedule_whose_data_does_not_upgrade_is_parked_with_the_class_and_both_versions(
    cluster: Cluster,
) -> None:
    older = await cluster.start(executes=False)
    await older.bus.schedule_task(note())
    broken = await cluster.start(jobs=BROKEN)

    async def parked() -> str | None:
        found = (await info(broken)).parked
        return found.reason if found else None

    reason = await wait_until(parked)
    assert reason is not None
    assert "The data of 'Note' has version 1 and cannot become version 3, which this program has: its upgrade" in reason
    assert "raised KeyError: 'titel'" in reason
    with pytest.raises(NotUpgraded, match="'Note' has version 1 and cannot become version 3"):
        await broken.scheduler.modify("s", {"interval": 60})
    assert await stored(older) == (1, {"label": "a", "hold": False, "fail": "", "end": False})
    await broken.stop()
    await cluster.start(jobs=NEWER)
    await older.scheduler.resume("s")
    await wait_until(lambda: labels(cluster) == {"a of 1"})


async def test_a_one_shot_whose_data_does_not_upgrade_is_parked_and_goes_on_when_it_is_mended(cluster: Cluster) -> None:
    older = await cluster.start(executes=False)
    await older.bus.schedule_task(ScheduledTaskDescriptor(id="o", name="Once", data={"label": "b"}))
    broken = await cluster.start(jobs=BROKEN)

    async def parked() -> str | None:
        run = await broken.runs.get("o")
        return run.parked if run else None

    reason = await wait_until(parked)
    assert reason is not None
    assert "The data of 'Once' has version 1 and cannot become version 3" in reason
    assert "returned list, and not a dict" in reason
    await broken.stop()
    await cluster.start(jobs=NEWER)
    await older.scheduler.resume("o")
    await wait_until(lambda: labels(cluster, "o") == {"b of 1"})


async def test_a_newer_class_without_upgrade_leaves_the_older_version_alone(cluster: Cluster) -> None:
    older, newer = await cluster.start(), await cluster.start(jobs=(NewerNote, NewerOnce))
    await older.bus.schedule_task(note())
    await wait_until(lambda: len(cluster.ledger.of("s")) > 10)
    assert labels(cluster) == {"a"}
    with pytest.raises(NotUpgraded, match="has no upgrade from version 1, and as it is the data does not fit: end"):
        await newer.scheduler.modify("s", {"interval": 60})
