"""The local worker is there after the first start; what people make of it later stands."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from application.monitoring.seeding import MonitoringSeed
from application.monitoring.views import MonitoringRequest
from domain.monitoring.errors import NotMonitored, WorkerNotFound
from domain.monitoring.worker import WorkerPatch
from domain.scheduling.errors import ScheduleNotFound
from integration.monitoring_kit import Monitor, Site
from support import wait_until


@pytest.fixture
async def site(redis_url: str, namespace: str) -> AsyncIterator[Site]:
    async with Site(redis_url, namespace) as made:
        yield made


@pytest.fixture
async def monitor(site: Site) -> Monitor:
    return await site.start(executes=False, handles=False, sends=False)


async def seeded(monitor: Monitor, **options: Any) -> None:
    """Start as a program would."""
    seed = MonitoringSeed(
        monitor.workers, monitor.monitoring, monitor.tasks, **{"hostname": "here", "interval_s": 5.0, **options}
    )
    await seed.start()
    await seed.stop()


async def test_after_the_first_start_this_machine_is_monitored(site: Site) -> None:
    monitor = await site.start()
    await monitor.seed.start()
    worker = await monitor.registry.get("local")
    assert (worker.provider, worker.name, worker.instance_id) == ("local", worker.instance_id, worker.name)
    assert worker.monitoring is not None
    assert worker.monitoring.interval_s == 5.0
    check = await monitor.scheduler.get_task_info("monitoring-silence-check")
    assert check.name == "WorkerSilenceCheckJob"


async def test_the_first_sample_is_of_this_machine(site: Site) -> None:
    monitor = await site.start()
    await seeded(monitor)  # "here" is what the kit's local provider calls this machine
    (sample,) = await wait_until(lambda: site.events("worker", "worker.metrics.collected"), "the first sample")
    assert (sample["worker_id"], sample["provider"]) == ("local", "local")


async def test_another_start_changes_nothing(monitor: Monitor, site: Site) -> None:
    await seeded(monitor)
    before = await monitor.registry.get("local")
    told = len(await site.events("schedule"))
    await seeded(monitor)
    assert await monitor.registry.get("local") == before
    assert len(await site.events("schedule")) == told


async def test_who_removed_it_is_not_overruled(monitor: Monitor) -> None:
    await seeded(monitor)
    await monitor.registry.remove("local")
    await seeded(monitor)
    with pytest.raises(WorkerNotFound):
        await monitor.registry.get("local")


async def test_who_stopped_its_monitoring_is_not_overruled(monitor: Monitor) -> None:
    await seeded(monitor)
    await monitor.monitoring.stop("local")
    await seeded(monitor)
    with pytest.raises(NotMonitored):
        await monitor.monitoring.get("local")


async def test_who_paused_it_is_not_overruled(monitor: Monitor) -> None:
    await seeded(monitor)
    await monitor.monitoring.start("local", MonitoringRequest(paused=True))
    await seeded(monitor, interval_s=7.0)
    found = await monitor.monitoring.get("local")
    assert (found.paused, found.interval_s) == (True, 7.0)


async def test_an_interval_that_nobody_changed_follows_the_setting(monitor: Monitor) -> None:
    await seeded(monitor)
    await seeded(monitor, interval_s=1.0)
    assert (await monitor.monitoring.get("local")).interval_s == 1.0
    await seeded(monitor, interval_s=2.0)
    assert (await monitor.monitoring.get("local")).interval_s == 2.0


async def test_an_interval_that_somebody_changed_stays(monitor: Monitor) -> None:
    await seeded(monitor)
    await monitor.monitoring.start("local", MonitoringRequest(interval_s=60))
    await seeded(monitor, interval_s=1.0)
    assert (await monitor.monitoring.get("local")).interval_s == 60


async def test_a_start_that_was_cut_off_is_made_up_for(monitor: Monitor) -> None:
    await monitor.add("local", provider="local", name="half done")
    await seeded(monitor)
    worker = await monitor.registry.get("local")
    assert worker.name == "half done"
    assert worker.monitoring is not None


async def test_without_the_setting_there_is_no_local_worker(monitor: Monitor) -> None:
    await seeded(monitor, local_worker=False)
    assert (await monitor.registry.list()).items == []
    await monitor.scheduler.get_task_info("monitoring-silence-check")


async def test_a_machine_that_got_another_name_is_still_this_one(monitor: Monitor) -> None:
    await seeded(monitor)
    await seeded(monitor, hostname="renamed")
    worker = await monitor.registry.get("local")
    assert (worker.name, worker.instance_id) == ("renamed", "renamed")
    await monitor.registry.change("local", WorkerPatch(name="my box"))
    await seeded(monitor, hostname="again")
    worker = await monitor.registry.get("local")
    assert (worker.name, worker.instance_id) == ("my box", "again")


async def test_where_machines_share_a_store_none_takes_the_others_worker(monitor: Monitor) -> None:
    await seeded(monitor, is_only_machine=False)
    await seeded(monitor, is_only_machine=False, hostname="other")
    assert (await monitor.registry.get("local")).instance_id == "here"


async def test_the_check_that_somebody_removed_comes_back(monitor: Monitor) -> None:
    await seeded(monitor)
    await monitor.scheduler.stop_task("monitoring-silence-check")
    with pytest.raises(ScheduleNotFound):
        await monitor.scheduler.get_task_info("monitoring-silence-check")
    await seeded(monitor)
    await monitor.scheduler.get_task_info("monitoring-silence-check")
