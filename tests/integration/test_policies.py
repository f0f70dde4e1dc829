"""What happens around the plain rhythm, over all instances: overlap, catch-up, backfill, retries, parking."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from application.scheduling import (
    Injected,
    RecurrentBackgroundJob,
    RecurrentTaskDescriptor,
    RetryPolicy,
    ScheduledTaskDescriptor,
    SchedulePolicy,
    backgroundjob,
)
from cluster import Cluster, Instance
from domain.scheduling.errors import BackfillRefused
from domain.scheduling.schedule import ScheduleInfo, ScheduleStatus
from sample_jobs import Ledger, Note
from support import wait_until


def note(interval: float, policy: dict[str, Any] | None = None, **data: Any) -> RecurrentTaskDescriptor:
    return RecurrentTaskDescriptor(
        id="s", name="Note", data=data, interval=interval, policy=SchedulePolicy(**(policy or {}))
    )


async def info(instance: Instance) -> ScheduleInfo:
    found = await instance.scheduler.get_task_info("s")
    assert isinstance(found, ScheduleInfo)
    return found


async def test_two_instances_run_each_fire_once(cluster: Cluster) -> None:
    one = await cluster.start()
    await cluster.start()
    for n in range(10):
        await one.bus.schedule_task(RecurrentTaskDescriptor(id=f"s{n}", name="Note", interval=0.05))
    await wait_until(lambda: all(len(cluster.ledger.of(f"s{n}")) >= 10 for n in range(10)))
    for instance in cluster.instances:
        await instance.stop()
    entries = cluster.ledger.entries
    assert len({entry.run_id for entry in entries}) == len(entries)
    assert {entry.attempt for entry in entries} == {1}
    # Each nominal time between the first run and the last one ran, or was announced as skipped, or stands in the
    # missed count of the run that followed it.
    events = await cluster.events("schedule", "schedule.fire_skipped")
    for n in range(10):
        fires = sorted(cluster.ledger.of(f"s{n}"), key=lambda entry: entry.fire_time)
        first, last = fires[0].fire_time, fires[-1].fire_time
        skipped = sum(
            event["count"]
            for event in events
            if event["id"] == f"s{n}" and first < datetime.fromisoformat(event["fire_time"]) < last
        )
        steps = round((last - first) / timedelta(seconds=0.05))
        assert steps == len(fires) - 1 + sum(entry.missed for entry in fires[1:]) + skipped


async def test_overlap_skip_announces_what_it_skips(cluster: Cluster) -> None:
    one = await cluster.start()
    await one.bus.schedule_task(note(0.05, label="held", hold=True))

    async def skipped() -> bool:
        return (await info(one)).counts.skipped >= 3

    await wait_until(skipped)
    assert len(cluster.ledger.of("s")) == 1
    events = await cluster.events("schedule", "schedule.fire_skipped")
    assert {event["why"] for event in events} == {"overlap"}
    cluster.ledger.gate("held").set()
    await wait_until(lambda: len(cluster.ledger.of("s")) >= 2)


async def test_overlap_queue_one_lets_one_wait(cluster: Cluster) -> None:
    one = await cluster.start()
    await one.bus.schedule_task(note(0.05, {"overlap": "queue_one"}, label="held", hold=True))

    async def skipped() -> bool:
        return (await info(one)).counts.skipped >= 2

    await wait_until(skipped)
    assert (await info(one)).counts.fired == 2
    assert len(cluster.ledger.of("s")) == 1
    waiting = [run for run in await one.scheduler.runs("s") if run.status == "queued"]
    assert len(waiting) == 1
    await one.scheduler.pause("s")
    cluster.ledger.gate("held").set()
    await wait_until(lambda: len(cluster.ledger.of("s")) == 2)
    assert cluster.ledger.of("s")[1].run_id == waiting[0].run_id


async def test_overlap_allow_counts_over_instances(cluster: Cluster) -> None:
    one = await cluster.start(concurrency=2)
    await cluster.start(concurrency=2)
    await one.bus.schedule_task(note(0.05, {"overlap": "allow(3)"}, label="held", hold=True))
    await wait_until(lambda: len(cluster.ledger.of("s")) == 3)

    async def skipped() -> bool:
        return (await info(one)).counts.skipped >= 3

    await wait_until(skipped)
    assert len(cluster.ledger.of("s")) == 3
    assert len((await info(one)).running) == 3


async def downtime(cluster: Cluster, policy: dict[str, Any], fires: int = 8) -> Instance:
    """Schedule while nobody executes, and wait until ``fires`` due times have passed."""
    api = await cluster.start(executes=False)
    scheduled = await api.bus.schedule_task(note(0.1, policy))
    assert isinstance(scheduled.info, ScheduleInfo)
    first = scheduled.info.next_fire
    assert first is not None
    late = first + timedelta(seconds=0.1) * fires

    async def passed() -> bool:
        return await api.schedules.now() > late.timestamp() * 1000

    await wait_until(passed)
    return api


async def test_catch_up_one_runs_the_latest_and_says_how_many_it_stands_for(cluster: Cluster) -> None:
    await downtime(cluster, {"catch_up": "one", "overlap": "allow(9)"})
    await cluster.start()
    await wait_until(lambda: len(cluster.ledger.of("s")) >= 2)
    first, second = cluster.ledger.of("s")[:2]
    assert first.missed >= 7
    assert second.fire_time - first.fire_time == timedelta(seconds=0.1) * (second.missed + 1)


async def test_catch_up_none_drops_what_is_late_and_announces_it(cluster: Cluster) -> None:
    # What is at most two leases late counts as in time: a lease of 50 ms makes the downtime too long.
    api = await downtime(cluster, {"catch_up": "none"}, fires=8)
    await api.scheduler.modify("s", {"data": {"label": "same"}})
    await cluster.start()
    await wait_until(lambda: cluster.ledger.of("s"))
    assert cluster.ledger.of("s")[0].missed == 0
    (dropped, *_) = await cluster.events("schedule", "schedule.fire_skipped")
    assert (dropped["why"], dropped["count"] >= 7) == ("missed", True)
    assert (await info(api)).counts.missed >= 7


async def test_catch_up_all_runs_the_latest_ones_in_order_and_one_at_a_time(cluster: Cluster) -> None:
    await downtime(cluster, {"catch_up": "all(5)"})
    await cluster.start()
    await wait_until(lambda: len(cluster.ledger.of("s")) >= 6)
    entries = cluster.ledger.of("s")
    caught_up = [entry for entry in entries if ".catch_up." in entry.run_id]
    assert len(caught_up) == 4
    assert [entry.fire_time for entry in caught_up] == sorted(entry.fire_time for entry in caught_up)
    assert len({entry.run_id for entry in entries}) == len(entries)


async def test_backfill_runs_past_fires_in_order_beside_the_rhythm(cluster: Cluster) -> None:
    one = await cluster.start()
    now = datetime.now(UTC)
    start = (now - timedelta(hours=3)).replace(microsecond=0)
    await one.bus.schedule_task(note(3600, {"start": start}))
    run_ids = await one.scheduler.backfill("s", now - timedelta(hours=4), now - timedelta(hours=0.5))
    assert len(run_ids) == 3  # the start is a fire
    await wait_until(lambda: len(cluster.ledger.of("s")) == 3)
    assert [entry.run_id for entry in cluster.ledger.of("s")] == run_ids
    assert [entry.fire_time - start for entry in cluster.ledger.of("s")] == [timedelta(hours=n) for n in range(3)]
    with pytest.raises(BackfillRefused, match="no past fire"):
        await one.scheduler.backfill("s", datetime(2020, 1, 1, tzinfo=UTC), start - timedelta(hours=1))
    await one.scheduler.pause("s")
    await one.scheduler.modify("s", {"interval": 1})
    with pytest.raises(BackfillRefused, match="more than 1000"):
        await one.scheduler.backfill("s", start, now)


async def test_a_fire_waits_for_a_backfill_run_instead_of_running_beside_it(cluster: Cluster) -> None:
    one = await cluster.start()
    now = datetime.now(UTC)
    await one.bus.schedule_task(note(3600, {"start": now - timedelta(hours=3)}, label="held", hold=True))
    await one.scheduler.backfill("s", now - timedelta(hours=2.5), now - timedelta(hours=0.5))
    await wait_until(lambda: cluster.ledger.of("s"))
    await one.scheduler.modify("s", {"interval": 0.1, "policy": {"start": None}})

    async def waits() -> bool:
        return (await info(one)).counts.fired == 1

    await wait_until(waits)
    assert len(cluster.ledger.of("s")) == 1
    await one.scheduler.pause("s")
    cluster.ledger.gate("held").set()
    await wait_until(lambda: len(cluster.ledger.of("s")) == 3)
    kinds = ["backfill" in entry.run_id for entry in cluster.ledger.of("s")]
    assert kinds == [True, False, True]


@backgroundjob(task_type="recurrent", name="Note", retry=RetryPolicy(max_retries=9, backoff_s=3600, jitter=False))
class FailingNote(RecurrentBackgroundJob):
    """A ``Note`` whose retries wait for an hour."""

    label: str = "plain"
    hold: bool = False
    fail: str = ""
    end: bool = False
    ledger: Injected[Ledger]

    async def run_every(self) -> None:
        raise ValueError(self.fail)


async def test_the_next_fire_supersedes_a_waiting_retry(cluster: Cluster) -> None:
    one = await cluster.start(jobs=[FailingNote])
    await one.bus.schedule_task(note(0.1, fail="no luck"))

    async def superseded() -> list[dict[str, Any]]:
        return [event for event in await cluster.events("job", "job.failed") if event.get("superseded")]

    events = await wait_until(superseded)
    assert events[0]["error"] == "ValueError: no luck"
    assert (await info(one)).counts.failed >= 1
    await one.scheduler.stop_task("s")
    assert await cluster.redis.command.zcard(cluster.redis.key("later")) == 0


@backgroundjob(task_type="recurrent", name="Note")
class StricterNote(RecurrentBackgroundJob):
    """A ``Note`` of a deploy that forgot to raise its version: it does not load what was stored before."""

    colour: str
    ledger: Injected[Ledger]

    async def run_every(self) -> None: ...


async def test_what_does_not_load_is_parked_with_its_reason_and_resumes_when_it_does(cluster: Cluster) -> None:
    old = await cluster.start(executes=False)
    await old.bus.schedule_task(note(0.1))
    broken = await cluster.start(jobs=[StricterNote])

    async def parked() -> bool:
        return (await info(old)).status is ScheduleStatus.PARKED

    await wait_until(parked)
    reason = (await info(old)).parked
    assert reason is not None
    assert "colour" in reason.reason
    await broken.stop()
    await cluster.start(jobs=[Note])
    await old.scheduler.resume("s")
    await wait_until(lambda: cluster.ledger.of("s"))


async def test_a_one_shot_that_does_not_load_is_parked_and_kept(cluster: Cluster) -> None:
    api = await cluster.start(executes=False)
    await api.bus.schedule_task(ScheduledTaskDescriptor(id="o", name="Once"))
    await cluster.redis.command.hset(cluster.redis.key("payloads"), "o", '"timeout_s":9\n{"size": "?"}')
    await cluster.start()

    async def parked() -> bool:
        run = await api.runs.get("o")
        return run is not None and run.parked is not None and "size" in run.parked

    await wait_until(parked)
    assert len(await cluster.events("job", "job.parked")) == 1
