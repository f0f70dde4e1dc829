"""Policies over several instances: what was planned is run, skipped or missed, and all of it is told and counted."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from application.scheduling import (
    Injected,
    RecurrentBackgroundJob,
    RecurrentTaskDescriptor,
    SchedulePolicy,
    backgroundjob,
)
from application.scheduling.planning import jitter_ms
from cluster import Cluster, Instance
from domain.scheduling.errors import ScheduleNotFound
from domain.scheduling.schedule import ScheduleInfo
from sample_jobs import Ledger, Once
from support import wait_until

STEP = timedelta(milliseconds=50)


@backgroundjob(task_type="recurrent", name="Note")
class SlowNote(RecurrentBackgroundJob):
    """Run for a moment, and write down how many runs of its label there are at once, over all instances."""

    label: str = "plain"
    for_s: float = 0.08
    ledger: Injected[Ledger]

    async def run_every(self) -> None:
        running = self.ledger.gates  # any dictionary that all instances share
        mine = object()
        running[f"{self.label} {id(mine)}"] = asyncio.Event()
        self.ledger.cancelled.append(str(sum(name.startswith(f"{self.label} ") for name in running)))
        await asyncio.sleep(self.for_s)
        del running[f"{self.label} {id(mine)}"]


def descriptor(policy: dict[str, Any], interval: float = 0.05, **data: Any) -> RecurrentTaskDescriptor:
    return RecurrentTaskDescriptor(
        id="s", name="Note", data=data, interval=interval, policy=SchedulePolicy.model_validate(policy)
    )


async def info(instance: Instance) -> ScheduleInfo:
    found = await instance.scheduler.get_task_info("s")
    assert isinstance(found, ScheduleInfo)
    return found


async def told(cluster: Cluster) -> dict[str, int]:
    """Return what the events say became of the fires."""
    skips = await cluster.events("schedule", "schedule.fire_skipped")
    made = await cluster.made()
    return {
        "fired": len(made),
        "skipped": sum(event["count"] for event in skips if event["why"] == "overlap"),
        "missed": sum(event["count"] for event in skips if event["why"] in ("missed", "paused"))
        + sum(event.get("missed", 0) for event in made),
    }


async def settled(instance: Instance) -> ScheduleInfo:
    """Pause the schedule and return what is known of it when all its runs are over."""
    await instance.scheduler.pause("s")

    async def all_over() -> ScheduleInfo | None:
        found = await info(instance)
        return found if found.counts.succeeded == found.counts.fired else None

    return await wait_until(all_over)


async def adds_up(cluster: Cluster, instance: Instance, first: datetime) -> ScheduleInfo:
    """Fail unless each due time since ``first`` ran, was skipped or was missed, by the counters and by the events."""
    found = await settled(instance)
    stored = await instance.schedules.get("s")
    assert stored is not None
    planned = round((stored.state.due / 1000 - first.timestamp()) / STEP.total_seconds())
    counts = found.counts
    skips = await cluster.events("schedule", "schedule.fire_skipped")
    late = sum(event["count"] for event in skips if event["why"] == "paused")  # as they were due when the pause came
    assert counts.fired + counts.skipped + counts.missed == planned + late
    assert await told(cluster) == {"fired": counts.fired, "skipped": counts.skipped, "missed": counts.missed}
    return found


@pytest.mark.parametrize(("overlap", "limit"), [("skip", 1), ("queue_one", 1), ("allow(2)", 2)])
async def test_overlap_holds_over_three_instances_and_every_fire_is_accounted_for(
    cluster: Cluster, overlap: str, limit: int
) -> None:
    instances = [await cluster.start(jobs=[SlowNote, Once]) for _ in range(3)]
    made = await instances[0].bus.schedule_task(descriptor({"overlap": overlap}))
    assert isinstance(made.info, ScheduleInfo)
    assert made.info.next_fire is not None
    at_once = cluster.ledger.cancelled
    await wait_until(lambda: len(at_once) >= 12)
    found = await adds_up(cluster, instances[1], made.info.next_fire)
    assert max(map(int, at_once)) == limit
    assert found.counts.skipped > 0 or limit > 1


@pytest.mark.parametrize(
    ("catch_up", "fired", "missed"),
    [("one", 1, 8), ("none", 0, 8), ("all(3)", 3, 6), ("all(20)", 9, 0)],
)
async def test_what_nobody_could_take_in_time_is_counted_and_told(
    cluster: Cluster, catch_up: str, fired: int, missed: int
) -> None:
    api = await cluster.start(executes=False)
    start = datetime.now(UTC) - STEP * 0.5
    policy = {"catch_up": catch_up, "overlap": "allow(9)", "start": start}
    made = await api.bus.schedule_task(descriptor(policy))
    assert isinstance(made.info, ScheduleInfo)
    first = made.info.next_fire
    assert first is not None

    async def nine_are_due() -> bool:
        return await api.schedules.now() >= (first + 8 * STEP).timestamp() * 1000

    await wait_until(nine_are_due)
    # Under catch-up ``none``, what is late by less than two leases is in time.
    options = {"lease_ms": 20, "takeover_limit": 9999} if catch_up == "none" else {}
    one, two = await cluster.start(**options), await cluster.start(**options)
    await wait_until(lambda: len(cluster.ledger.of("s")) > 3)
    found = await adds_up(cluster, one, first)
    assert found.counts.fired >= fired
    assert found.counts.missed >= missed
    assert (await info(two)).counts == found.counts


def test_jitter_spreads_ten_thousand_equal_schedules() -> None:
    """No twentieth of the window holds more than 8 % of them, and each stays where it is."""
    policy, due = SchedulePolicy(jitter_s=300), 1_795_300_000_000
    late = [jitter_ms(f"worker-metrics-w{n}", due, policy) for n in range(10_000)]
    parts = [0] * 20
    for jitter in late:
        parts[jitter * 20 // 300_000] += 1
    assert max(parts) < 800
    assert min(parts) > 200
    assert late == [jitter_ms(f"worker-metrics-w{n}", due, policy) for n in range(10_000)]
    # One schedule is late by something else each time: it is not the first of all for ever.
    again = [jitter_ms("worker-metrics-w0", due + 3_600_000 * n, policy) for n in range(200)]
    assert max(again) - min(again) > 250_000


async def test_jitter_does_not_move_the_nominal_times(cluster: Cluster) -> None:
    one, _ = await cluster.start(), await cluster.start()
    made = await one.bus.schedule_task(descriptor({"jitter_s": 0.04, "overlap": "allow(9)"}))
    assert isinstance(made.info, ScheduleInfo)
    assert made.info.next_fire is not None
    first = made.info.next_fire
    await wait_until(lambda: len(cluster.ledger.of("s")) > 12)
    assert {(entry.fire_time - first) % STEP for entry in cluster.ledger.of("s")} == {timedelta()}
    await adds_up(cluster, one, first)


async def test_start_and_end_are_fires_and_nothing_is_before_or_after(cluster: Cluster) -> None:
    one, _ = await cluster.start(), await cluster.start()
    start = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)
    end = start + 4 * STEP
    await one.bus.schedule_task(descriptor({"start": start, "end": end, "overlap": "allow(9)", "catch_up": "all(9)"}))

    async def has_ended() -> bool:
        return bool(await cluster.events("schedule", "schedule.removed"))

    await wait_until(has_ended)
    await wait_until(lambda: len(cluster.ledger.of("s")) == 5)
    assert sorted(entry.fire_time for entry in cluster.ledger.of("s")) == [start + n * STEP for n in range(5)]
    assert len(await cluster.events("schedule", "schedule.removed")) == 1
    with pytest.raises(ScheduleNotFound):
        await one.scheduler.get_task_info("s")


async def test_both_changes_of_the_clock_in_a_timezone(cluster: Cluster) -> None:
    """02:30 in Berlin: on 2026-03-29 it does not exist and is 03:00, on 2026-10-25 it exists twice and fires once."""
    one = await cluster.start()
    policy = SchedulePolicy(start=datetime(2026, 1, 1, tzinfo=UTC), overlap="allow(9)")
    await one.bus.schedule_task(
        RecurrentTaskDescriptor(id="s", name="Note", cron="30 2 * * *", timezone="Europe/Berlin", policy=policy)
    )
    for month, days in ((3, (28, 31)), (10, (24, 27))):
        since, until = (datetime(2026, month, day, tzinfo=UTC) for day in days)
        await one.scheduler.backfill("s", since, until)
    await wait_until(lambda: len(cluster.ledger.of("s")) == 6)
    assert sorted(entry.fire_time for entry in cluster.ledger.of("s")) == [
        datetime(2026, 3, 28, 1, 30, tzinfo=UTC),
        datetime(2026, 3, 29, 1, 0, tzinfo=UTC),
        datetime(2026, 3, 30, 0, 30, tzinfo=UTC),
        datetime(2026, 10, 24, 0, 30, tzinfo=UTC),
        datetime(2026, 10, 25, 0, 30, tzinfo=UTC),
        datetime(2026, 10, 26, 1, 30, tzinfo=UTC),
    ]


async def test_a_hung_run_does_not_silence_its_schedule(cluster: Cluster) -> None:
    one, _ = await cluster.start(), await cluster.start()
    await one.bus.schedule_task(descriptor({"timeout_s": 0.1}, label="held", hold=True))
    await wait_until(lambda: len(cluster.ledger.of("s")) >= 3)

    async def failed() -> str | None:
        found = await info(one)
        return found.last_error if found.counts.failed >= 2 else None

    assert "0.1 s" in await wait_until(failed)


async def test_a_pause_makes_no_fires_and_owes_none(cluster: Cluster) -> None:
    one, other = await cluster.start(), await cluster.start()
    await one.bus.schedule_task(descriptor({"overlap": "allow(9)", "catch_up": "all(9)"}))
    await wait_until(lambda: len(cluster.ledger.of("s")) > 2)
    found = await settled(other)
    resting_at = await one.schedules.now()

    async def some_time_passed() -> bool:
        return await one.schedules.now() > resting_at + 300

    await wait_until(some_time_passed)
    assert (await info(one)).counts == found.counts
    await other.scheduler.resume("s")
    seen = len(cluster.ledger.of("s"))
    await wait_until(lambda: len(cluster.ledger.of("s")) > seen + 2)
    later = cluster.ledger.of("s")[seen:]
    assert min(entry.fire_time for entry in later).timestamp() * 1000 > resting_at + 300
    assert {entry.missed for entry in later if ".catch_up." in entry.run_id} <= {0}
