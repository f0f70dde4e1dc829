"""Workers whose looks fail again and again are looked at less often, by all instances, until a look succeeds."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from application.monitoring.views import Monitoring, MonitoringRequest
from domain.monitoring.errors import CollectionFailed
from domain.monitoring.rule import AlertRule
from domain.monitoring.worker import WorkerStatus
from integration.monitoring_kit import Monitor, Site
from integration.test_monitoring_silence import heard, pretend, told
from support import wait_until

SILENT = AlertRule(id="silent", metric="no_data")


@pytest.fixture
async def site(redis_url: str, namespace: str) -> AsyncIterator[Site]:
    async with Site(redis_url, namespace) as made:
        yield made


def fails(site: Site, worker_id: str = "w1") -> None:
    site.provider.errors[worker_id] = CollectionFailed(worker_id=worker_id, why="nobody answers")


async def look(monitor: Monitor) -> Monitoring:
    """Look at the worker now, and return how it is monitored when that look is over."""
    before = (await monitor.monitoring.get("w1")).counts
    await monitor.monitoring.run_now("w1")
    return await ended(monitor, before.succeeded + before.failed)


async def ended(monitor: Monitor, looks: int) -> Monitoring:
    found: list[Monitoring] = []

    async def over() -> bool:
        found[:] = [await monitor.monitoring.get("w1")]
        return found[0].counts.succeeded + found[0].counts.failed > looks and not found[0].running

    await wait_until(over, "the look to end")
    return found[0]


async def failing(site: Site, interval_s: float = 60, failures: int = 3) -> tuple[Monitor, Monitoring]:
    """Start an instance with one worker whose first looks fail."""
    fails(site)
    monitor = await site.start([SILENT])
    await monitor.add()
    await monitor.monitoring.start("w1", MonitoringRequest(interval_s=interval_s))
    shown = await ended(monitor, 0)
    while shown.failures < failures:
        shown = await look(monitor)
    return monitor, shown


async def of_schedule(monitor: Monitor) -> tuple[int | None, datetime | None]:
    info = await monitor.scheduler.get_task_info("worker-metrics-w1")
    return info.generation, info.next_fire  # type: ignore[union-attr]


async def test_two_failures_change_nothing(site: Site) -> None:
    monitor, shown = await failing(site, failures=2)
    now = await monitor.workers.now()
    assert (shown.failures, shown.backing_off_until) == (2, None)
    assert shown.next_run_time is not None
    assert shown.next_run_time < now + timedelta(seconds=60)


async def test_from_the_third_on_it_is_looked_at_less_often_in_the_same_generation(site: Site) -> None:
    monitor, shown = await failing(site)
    first = await of_schedule(monitor)
    pauses = []
    for count in (3, 4, 5, 6, 7):
        now = await monitor.workers.now()
        assert shown.failures == count
        assert shown.backing_off_until == shown.next_run_time
        assert shown.next_run_time is not None
        pauses.append((shown.next_run_time - now).total_seconds())
        shown = await look(monitor)
    for pause, at_least in zip(pauses, (120, 240, 480, 600, 600), strict=True):
        assert at_least - 15 < pause <= at_least + 60, "at its first due time after the pause"
    assert (await of_schedule(monitor))[0] == first[0] == 1
    failed = await site.events("worker", "worker.collection.failed")
    assert [event["failures"] for event in failed] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [event["backing_off_until"] is None for event in failed] == [True, True, *[False] * 6]
    assert datetime.fromisoformat(failed[2]["backing_off_until"]) == first[1]
    changed = await site.events("schedule", "schedule.changed")
    assert [event["postponed_s"] for event in changed] == [120, 240, 480, 600, 600, 600][: len(changed)]
    assert {event["by"] for event in changed} == {"backoff of monitoring"}
    (entry,) = await site.redis.command.hvals(site.redis.key("mon", "failing"))  # type: ignore[misc]
    assert '"count":8' in entry


async def test_the_first_success_ends_it(site: Site) -> None:
    monitor, _ = await failing(site, failures=5)
    del site.provider.errors["w1"]
    shown = await look(monitor)
    now = await monitor.workers.now()
    assert (shown.failures, shown.backing_off_until) == (0, None)
    assert shown.next_run_time is not None
    assert now < shown.next_run_time <= now + timedelta(seconds=60)
    assert (await of_schedule(monitor))[0] == 1
    assert await site.redis.command.hlen(site.redis.key("mon", "failing")) == 0  # type: ignore[misc]
    fails(site)
    assert (await look(monitor)).failures == 1, "counted anew"
    statuses = [event["status"] for event in await site.events("worker", "worker.status.changed")]
    assert statuses == [WorkerStatus.UNREACHABLE, WorkerStatus.RUNNING, WorkerStatus.UNREACHABLE]


async def test_another_instance_goes_on_counting_after_a_restart(site: Site) -> None:
    monitor, shown = await failing(site)
    await monitor.stop()
    other = await site.start([SILENT])
    again = await other.monitoring.get("w1")
    assert (again.failures, again.backing_off_until) == (3, shown.backing_off_until)
    assert (await look(other)).failures == 4


async def test_what_backs_off_fires_by_itself_and_recovers(site: Site) -> None:
    """With an interval so short that the whole way is walked: backing off, and back to the old rhythm."""
    monitor, _ = await failing(site, interval_s=0.1, failures=1)

    async def backs_off() -> bool:
        return (await monitor.monitoring.get("w1")).failures >= 6

    await wait_until(backs_off, "six failures in a row")
    del site.provider.errors["w1"]

    async def is_well() -> bool:
        shown = await monitor.monitoring.get("w1")
        return shown.failures == 0 and shown.counts.succeeded > 3

    await wait_until(is_well, "its rhythm to be as before")


async def test_a_new_rhythm_a_pause_or_a_stop_ends_it_until_the_next_failure(site: Site) -> None:
    monitor, _ = await failing(site, failures=5)
    changed = (await monitor.monitoring.start("w1", MonitoringRequest(interval_s=90))).monitoring
    now = await monitor.workers.now()
    assert changed.next_run_time is not None
    assert changed.next_run_time <= now + timedelta(seconds=90)
    assert (changed.failures, changed.backing_off_until) == (5, None)
    assert (await look(monitor)).backing_off_until is not None
    paused = (await monitor.monitoring.start("w1", MonitoringRequest(paused=True))).monitoring
    assert (paused.failures, paused.backing_off_until) == (6, None)
    assert (await look(monitor)).status == "paused"
    resumed = (await monitor.monitoring.start("w1", MonitoringRequest(paused=False))).monitoring
    assert resumed.backing_off_until is None
    await monitor.monitoring.stop("w1")
    await monitor.monitoring.start("w1", MonitoringRequest(interval_s=90))
    assert (await ended(monitor, 0)).failures == 1, "those before the stop are forgotten"


async def test_an_unreachable_worker_is_missed_as_soon_as_any_other(site: Site) -> None:
    """The no-data rule goes by the rhythm that was asked for, and not by that of the backoff."""
    monitor, shown = await failing(site, interval_s=60, failures=5)
    assert shown.backing_off_until is not None
    await monitor.handler.stop()
    await pretend(monitor, watched_s=1)
    await heard(monitor, 170)
    await monitor.watch.check_silence()
    assert await told(monitor, site) == []
    await heard(monitor, 190)
    await monitor.watch.check_silence()
    assert await told(monitor, site) == ["firing silent w1"]


async def test_nothing_is_remembered_of_a_worker_that_is_gone(site: Site) -> None:
    monitor, _ = await failing(site)
    await monitor.registry.remove("w1")
    assert await site.redis.command.hlen(site.redis.key("mon", "failing")) == 0  # type: ignore[misc]
    await failing_again(site, monitor)


async def failing_again(site: Site, monitor: Monitor) -> None:
    await monitor.add()
    await monitor.monitoring.start("w1", MonitoringRequest(interval_s=60))
    assert (await ended(monitor, 0)).failures == 1
    await monitor.monitoring.stop("w1")
    assert await site.redis.command.hlen(site.redis.key("mon", "failing")) == 0  # type: ignore[misc]


async def test_a_healthy_worker_costs_no_round_trip(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = await site.start([SILENT])
    await monitor.add()
    await monitor.monitoring.start("w1", MonitoringRequest(interval_s=600))
    await ended(monitor, 0)
    asked: list[str] = []
    fleet = monitor.container.fleet()
    for name in ("note", "forget", "failures"):
        original = getattr(fleet, name)

        async def noted(*args: Any, _name: str = name, _original: Any = original) -> Any:
            asked.append(_name)
            return await _original(*args)

        monkeypatch.setattr(fleet, name, noted)
    await monitor.scheduler.run_now("worker-metrics-w1")
    await wait_until(lambda: len(site.provider.asked) == 2, "the look")
    await monitor.scheduler.stop()
    assert asked == []


async def test_a_cron_line_backs_off_too(site: Site) -> None:
    fails(site)
    monitor = await site.start([SILENT])
    await monitor.add()
    await monitor.monitoring.start("w1", MonitoringRequest(cron="* * * * *"))
    shown = await ended(monitor, 0)
    while shown.failures < 4:
        shown = await look(monitor)
    now = await monitor.workers.now()
    assert shown.next_run_time is not None
    assert now + timedelta(seconds=225) < shown.next_run_time <= now + timedelta(seconds=300)
    assert shown.next_run_time.second == 0, "one of its own times"


async def test_a_worker_that_is_terminated_leaves_no_failures(site: Site) -> None:
    monitor, _ = await failing(site)
    del site.provider.errors["w1"]
    site.provider.status["w1"] = WorkerStatus.TERMINATED
    await monitor.monitoring.run_now("w1")

    async def over() -> bool:
        return (await monitor.registry.get("w1")).monitoring is None

    await wait_until(over, "its monitoring to end")
    assert await site.redis.command.hlen(site.redis.key("mon", "failing")) == 0  # type: ignore[misc]
    postponed = [event for event in await site.events("schedule", "schedule.changed") if event["postponed_s"] == 0]
    assert postponed == []
