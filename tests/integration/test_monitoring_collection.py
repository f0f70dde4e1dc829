"""Workers are looked at, from the moment that their monitoring begins until they are gone."""

from collections.abc import AsyncIterator

import pytest

from application.monitoring.views import MonitoringRequest
from domain.monitoring.errors import CollectionFailed, WorkerVanished
from domain.monitoring.worker import WorkerStatus
from domain.scheduling.errors import ScheduleNotFound
from integration.monitoring_kit import Monitor, Site
from support import wait_until


@pytest.fixture
async def site(redis_url: str, namespace: str) -> AsyncIterator[Site]:
    async with Site(redis_url, namespace) as made:
        yield made


async def is_scheduled(monitor: Monitor, worker_id: str = "w1") -> bool:
    try:
        await monitor.scheduler.get_task_info(f"worker-metrics-{worker_id}")
    except ScheduleNotFound:
        return False
    return True


async def test_the_first_sample_does_not_wait_for_the_interval(site: Site) -> None:
    monitor = await site.start()
    await monitor.add()
    started = await monitor.monitoring.start("w1")
    assert started.is_new
    assert started.monitoring.interval_s == 5.0
    collected = await wait_until(lambda: site.events("worker", "worker.metrics.collected"), "the first sample")
    assert collected[0]["worker_id"] == "w1"
    assert collected[0]["metrics"]["cpu_utilization"] == 0.1
    view = await monitor.registry.get("w1")
    assert view.last_sample is not None
    assert view.last_sample.model_dump(mode="json") == {k: v for k, v in collected[0].items() if k != "topic"}
    await wait_until(lambda: status_is(monitor, WorkerStatus.RUNNING), "the status")
    (changed,) = await site.events("worker", "worker.status.changed")
    assert (changed["previous"], changed["status"]) == ("unknown", "running")


async def status_is(monitor: Monitor, status: WorkerStatus) -> bool:
    return (await monitor.registry.get("w1")).status is status


async def test_looks_go_on_at_the_interval(site: Site) -> None:

    monitor = await site.start()
    await monitor.add()
    await monitor.monitoring.start("w1", MonitoringRequest(interval_s=0.1))
    await wait_until(lambda: len(site.provider.asked) >= 4, "four looks")
    found = await monitor.registry.samples("w1")
    times = [one.observed_at for one in found.items]
    assert times == sorted(set(times))


async def test_a_worker_that_was_removed_behind_our_back_ends_its_schedule(site: Site) -> None:
    monitor = await site.start()
    await monitor.add()
    await monitor.monitoring.start("w1")
    await wait_until(lambda: site.provider.asked, "a look")
    await monitor.workers.remove("w1", "gone without a word")
    await wait_until(lambda: not_executing(monitor), "the first look to end")
    await monitor.scheduler.run_now("worker-metrics-w1")

    async def ended() -> bool:
        return not await is_scheduled(monitor)

    await wait_until(ended, "the schedule to leave the store")
    (terminated,) = await site.events("job", "job.terminated")
    assert "the worker 'w1' was removed" in str(terminated)


async def not_executing(monitor: Monitor) -> bool:
    info = await monitor.scheduler.get_task_info("worker-metrics-w1")
    return not info.running  # type: ignore[union-attr]


@pytest.mark.parametrize("how", ["terminated", "vanished"])
async def test_a_worker_that_its_provider_ended_ends_its_schedule(site: Site, how: str) -> None:
    monitor = await site.start()
    await monitor.add()
    if how == "terminated":
        site.provider.status["w1"] = WorkerStatus.TERMINATED
    else:
        site.provider.errors["w1"] = WorkerVanished(worker_id="w1", why="there is no such instance")
    await monitor.monitoring.start("w1")

    async def ended() -> bool:
        return not await is_scheduled(monitor)

    await wait_until(ended, "the schedule to leave the store")
    worker = await monitor.registry.get("w1")
    assert worker.status is WorkerStatus.TERMINATED
    assert worker.monitoring is None
    (changed,) = await site.events("worker", "worker.status.changed")
    assert changed["status"] == "terminated"
    assert len(site.provider.asked) == 1
    assert len(await site.events("job", "job.terminated")) == 1
    assert await site.events("job", "job.failed") == []


async def test_a_look_that_fails_is_told_and_the_worker_is_unreachable_until_it_answers(site: Site) -> None:
    monitor = await site.start()
    await monitor.add()
    site.provider.errors["w1"] = CollectionFailed(worker_id="w1", why="nobody answers")
    await monitor.monitoring.start("w1")
    await wait_until(lambda: status_is(monitor, WorkerStatus.UNREACHABLE), "the status")
    (failed,) = await site.events("worker", "worker.collection.failed")
    assert failed["error"].startswith("No metrics of worker 'w1': nobody answers. It is tried again at its next time;")
    assert (await monitor.registry.samples("w1")).items == []
    failure = await wait_until(lambda: site.events("job", "job.failed"), "the run to fail")
    assert "nobody answers" in str(failure)
    await wait_until(lambda: not_executing(monitor), "the run to end")
    del site.provider.errors["w1"]
    await monitor.monitoring.run_now("w1")
    await wait_until(lambda: status_is(monitor, WorkerStatus.RUNNING), "the status")
    assert len(await site.events("worker", "worker.status.changed")) == 2


async def test_any_error_of_a_provider_is_a_failed_look(site: Site) -> None:
    monitor = await site.start()
    await monitor.add()
    site.provider.errors["w1"] = ZeroDivisionError("a bug")
    await monitor.monitoring.start("w1")
    (failed,) = await wait_until(lambda: site.events("worker", "worker.collection.failed"), "the event")
    assert "a bug" in failed["error"]


async def test_this_machine_is_measured_for_real(site: Site) -> None:
    monitor = await site.start()
    await monitor.add(provider="local")
    await monitor.monitoring.start("w1")
    (collected,) = await wait_until(lambda: site.events("worker", "worker.metrics.collected"), "the first sample")
    metrics = collected["metrics"]
    assert 0 <= metrics["cpu_utilization"] <= 1
    assert 0 < metrics["memory_utilization"] <= 1
    assert metrics["uptime_s"] > 0
    assert "/" in metrics["filesystems"]
    assert all(name in collected["missing"] for name, value in metrics.items() if value is None)
