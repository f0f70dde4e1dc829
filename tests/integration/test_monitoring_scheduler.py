"""Starting, changing and stopping the monitoring of a worker, from any process, before and after restarts."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from application.monitoring.rhythm import Rhythms
from application.monitoring.views import MonitoringRequest
from domain.monitoring.errors import (
    InvalidMonitoring,
    InvalidQuery,
    InvalidWorker,
    NotMonitored,
    ProviderNotSupported,
    WorkerExists,
    WorkerNotFound,
)
from domain.monitoring.worker import WorkerPatch, WorkerRequest
from domain.scheduling.errors import InvalidTrigger, ScheduleBusy
from integration.monitoring_kit import Monitor, Site
from support import wait_until


@pytest.fixture
async def site(redis_url: str, namespace: str) -> AsyncIterator[Site]:
    async with Site(redis_url, namespace) as made:
        yield made


@pytest.fixture
async def monitor(site: Site) -> Monitor:
    """An instance that only controls, with one worker that is not monitored."""
    made = await site.start(executes=False, handles=False, sends=False)
    await made.add()
    return made


async def test_starting_says_how_it_is_monitored(monitor: Monitor) -> None:
    started = await monitor.monitoring.start("w1", MonitoringRequest(interval_s=30))
    shown = started.monitoring.model_dump(mode="json")
    assert started.is_new
    assert (shown["job_id"], shown["worker_id"], shown["interval_s"]) == ("worker-metrics-w1", "w1", 30)
    assert (shown["paused"], shown["status"], shown["cron"]) == (False, "active", None)
    assert datetime.fromisoformat(shown["next_run_time"]) > await monitor.workers.now() + timedelta(seconds=10)


async def test_asking_again_changes_nothing(monitor: Monitor, site: Site) -> None:
    first = await monitor.monitoring.start("w1", MonitoringRequest(interval_s=30))
    for request in (MonitoringRequest(interval_s=30), MonitoringRequest(), None):
        again = await monitor.monitoring.start("w1", request)
        assert not again.is_new
        assert again.monitoring == first.monitoring
    assert await site.topics("schedule") == ["schedule.created"]


async def test_only_a_new_monitoring_begins_with_a_look(site: Site) -> None:
    monitor = await site.start()
    await monitor.add()
    await monitor.monitoring.start("w1", MonitoringRequest(interval_s=3000))

    async def looked() -> bool:
        return (await monitor.monitoring.get("w1")).last_outcome == "succeeded"

    await wait_until(looked, "the first look to end")
    await monitor.monitoring.start("w1", MonitoringRequest(interval_s=2000))
    assert len(await monitor.scheduler.runs("worker-metrics-w1")) == 1


async def test_from_another_process_after_a_restart(monitor: Monitor, site: Site) -> None:
    await monitor.monitoring.start("w1", MonitoringRequest(interval_s=30))
    await monitor.stop()
    other = await site.start(executes=False, handles=False, sends=False)
    assert (await other.monitoring.get("w1")).interval_s == 30
    changed = await other.monitoring.start("w1", MonitoringRequest(cron="*/5 * * * *", timezone="Europe/Brussels"))
    assert not changed.is_new
    assert (changed.monitoring.interval_s, changed.monitoring.cron) == (None, "*/5 * * * *")
    assert changed.monitoring.timezone == "Europe/Brussels"
    stopped = await other.monitoring.stop("w1")
    assert stopped.stopped
    with pytest.raises(NotMonitored):
        await other.monitoring.get("w1")


async def test_a_policy_that_somebody_set_on_the_schedule_stays(monitor: Monitor) -> None:
    await monitor.monitoring.start("w1", MonitoringRequest(interval_s=30))
    await monitor.scheduler.modify("worker-metrics-w1", {"policy": {"timeout_s": 12}})
    await monitor.monitoring.start("w1", MonitoringRequest(interval_s=60))
    info = await monitor.scheduler.get_task_info("worker-metrics-w1")
    assert info.descriptor.policy.timeout_s == 12  # type: ignore[union-attr]


async def test_a_pause_stays_until_it_is_resumed(monitor: Monitor) -> None:
    await monitor.monitoring.start("w1", MonitoringRequest(interval_s=30))
    paused = (await monitor.monitoring.start("w1", MonitoringRequest(paused=True))).monitoring
    assert (paused.paused, paused.status, paused.next_run_time) == (True, "paused", None)
    assert paused.pause is not None
    changed = (await monitor.monitoring.start("w1", MonitoringRequest(interval_s=60))).monitoring
    assert (changed.paused, changed.interval_s) == (True, 60)
    resumed = (await monitor.monitoring.start("w1", MonitoringRequest(paused=False))).monitoring
    assert (resumed.paused, resumed.interval_s) == (False, 60)
    again = (await monitor.monitoring.start("w1", MonitoringRequest(paused=False))).monitoring
    assert again.paused is False


async def test_who_starts_paused_is_not_looked_at(site: Site) -> None:
    monitor = await site.start()
    await monitor.add()
    started = await monitor.monitoring.start("w1", MonitoringRequest(interval_s=3000, paused=True))
    assert started.monitoring.paused
    await monitor.add("w2")
    await monitor.monitoring.start("w2", MonitoringRequest(interval_s=3000))
    await wait_until(lambda: site.provider.asked, "a look at the other")
    assert site.provider.asked == ["w2"]


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"interval_s": 0}, "interval_s"),
        ({"interval_s": -1}, "interval_s"),
        ({"interval_s": float("nan")}, "interval_s"),
        ({"interval_s": float("inf")}, "interval_s"),
        ({"interval_s": 400 * 86_400}, "interval_s"),
        ({"interval_s": 5, "cron": "* * * * *"}, "either interval"),
        ({"cron": "* * * * *", "timezone": "Mars/Base"}, "there is no timezone 'Mars/Base'"),
    ],
)
async def test_what_is_no_rhythm_is_refused(monitor: Monitor, request_: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidMonitoring, match=says) as caught:
        await monitor.monitoring.start("w1", MonitoringRequest.model_validate(request_))
    assert caught.value.status == 422
    with pytest.raises(NotMonitored):
        await monitor.monitoring.get("w1")


@pytest.mark.parametrize("cron", ["every minute", "61 * * * *", "0 0 30 2 *"])
async def test_a_cron_line_that_never_fires_is_refused(monitor: Monitor, cron: str) -> None:
    with pytest.raises(InvalidTrigger) as caught:
        await monitor.monitoring.start("w1", MonitoringRequest(cron=cron))
    assert caught.value.status == 422


async def test_workers_that_are_not_there_are_not_monitored(monitor: Monitor) -> None:
    for call in (monitor.monitoring.start, monitor.monitoring.stop, monitor.monitoring.get, monitor.monitoring.run_now):
        with pytest.raises(WorkerNotFound) as caught:
            await call("w9")
        assert caught.value.status == 404


async def test_what_is_not_monitored_says_how_to_start_it(monitor: Monitor) -> None:
    for call in (monitor.monitoring.stop, monitor.monitoring.get, monitor.monitoring.run_now):
        with pytest.raises(NotMonitored, match="PUT /api/v1/workers/w1/monitoring") as caught:
            await call("w1")
        assert caught.value.status == 404


async def test_a_worker_that_is_being_looked_at_is_busy(monitor: Monitor, site: Site) -> None:
    await monitor.monitoring.start("w1", MonitoringRequest(interval_s=3000))
    await monitor.monitoring.run_now("w1")
    with pytest.raises(ScheduleBusy) as caught:  # the look waits for somebody who executes
        await monitor.monitoring.run_now("w1")
    assert caught.value.status == 409
    runner = await site.start()
    await wait_until(lambda: site.provider.asked, "the look")

    async def idle() -> bool:
        return not (await runner.monitoring.get("w1")).running

    await wait_until(idle, "it to end")
    before = len(site.provider.asked)
    assert (await runner.monitoring.run_now("w1")).startswith("worker-metrics-w1")
    await wait_until(lambda: len(site.provider.asked) > before, "another look")


async def test_stopping_tells_what_runs_and_can_cancel_it(site: Site) -> None:
    monitor = await site.start(executes=False)
    await monitor.add()
    await monitor.monitoring.start("w1", MonitoringRequest(interval_s=3000))
    stopped = await monitor.monitoring.stop("w1", cancel_running=True)
    assert (stopped.stopped, stopped.cancelled) == (True, [])
    with pytest.raises(NotMonitored):
        await monitor.monitoring.stop("w1")


async def test_monitored_workers_are_listed_in_pages(monitor: Monitor) -> None:
    for worker_id in ("w2", "w3", "w4"):
        await monitor.add(worker_id)
        await monitor.monitoring.start(worker_id)
    first = await monitor.monitoring.list(limit=2)
    rest = await monitor.monitoring.list(limit=2, cursor=first.next_cursor or "")
    assert [one.worker_id for one in [*first.items, *rest.items]] == ["w2", "w3", "w4"]
    assert rest.next_cursor is None


async def test_a_cron_line_has_the_longest_pause_as_its_interval(monitor: Monitor) -> None:
    rhythms = Rhythms(monitor.schedules)
    now = datetime(2026, 11, 20, 12, tzinfo=UTC)  # a Friday
    assert await rhythms.of("w1", now) is None
    await monitor.monitoring.start("w1", MonitoringRequest(cron="0 9,10 * * 1-5"))
    rhythm = await rhythms.of("w1", now)
    assert rhythm is not None
    assert rhythm.interval_s == 23 * 3600, "from ten o'clock to nine, while the week lasts"
    await monitor.monitoring.start("w1", MonitoringRequest(interval_s=7))
    await monitor.scheduler.modify("worker-metrics-w1", {"policy": {"jitter_s": 2}})
    rhythm = await rhythms.of("w1", now)
    assert rhythm is not None
    assert (rhythm.interval_s, rhythm.is_paused) == (9, False)


async def test_a_worker_gets_an_id_when_it_has_none(monitor: Monitor) -> None:
    made = await monitor.registry.register(WorkerRequest(name="x", provider="scripted", labels={"env": "prod"}))
    assert made.id.startswith("w-")
    found = await monitor.registry.get(made.id)
    assert (found.labels, found.monitoring, found.last_sample, found.status) == ({"env": "prod"}, None, None, "unknown")


async def test_a_provider_that_is_not_there_is_refused_and_those_that_are_named(monitor: Monitor) -> None:
    with pytest.raises(ProviderNotSupported, match=r"'aws' is not supported .* Supported: local, scripted") as caught:
        await monitor.registry.register(WorkerRequest(id="i-1", name="x", provider="aws", region="eu-west-1"))
    assert caught.value.status == 422
    with pytest.raises(WorkerNotFound):
        await monitor.registry.get("i-1")


async def test_the_same_id_twice_is_refused(monitor: Monitor) -> None:
    with pytest.raises(WorkerExists) as caught:
        await monitor.add("w1")
    assert caught.value.status == 409


async def test_workers_are_listed_with_what_is_known_of_them(monitor: Monitor) -> None:
    await monitor.add("w2")
    await monitor.monitoring.start("w2")
    await monitor.feed(5, 0.5, "w2")
    first = await monitor.registry.list(limit=1)
    rest = await monitor.registry.list(limit=1, cursor=first.next_cursor or "")
    (one,), (two,) = first.items, rest.items
    assert (one.id, one.monitoring, one.last_sample) == ("w1", None, None)
    assert two.monitoring is not None
    assert two.last_sample is not None
    assert two.last_sample.metrics.cpu_utilization == 0.5
    assert rest.next_cursor is None
    assert two.model_dump(mode="json")["monitoring"]["job_id"] == "worker-metrics-w2"


async def test_changing_a_worker(monitor: Monitor) -> None:
    changed = await monitor.registry.change("w1", WorkerPatch(name="web", labels={"env": "prod"}))
    assert (changed.name, changed.labels) == ("web", {"env": "prod"})
    with pytest.raises(WorkerNotFound):
        await monitor.registry.change("w9", WorkerPatch(name="x"))
    await monitor.registry.change("w1", WorkerPatch(labels={f"l{n}": "x" for n in range(63)}))
    with pytest.raises(InvalidWorker, match="labels") as caught:
        await monitor.registry.change("w1", WorkerPatch(labels={"one": "x", "two": "x"}))
    assert caught.value.status == 422


async def test_removing_a_worker_takes_its_monitoring_along(monitor: Monitor, site: Site) -> None:
    await monitor.monitoring.start("w1")
    await monitor.registry.remove("w1")
    assert (await monitor.scheduler.list_tasks()).items == []
    assert (await site.topics("worker")) == ["worker.registered", "worker.removed"]
    for _ in range(2):
        with pytest.raises(WorkerNotFound):
            await monitor.registry.remove("w1")
    await monitor.add("w1")
    assert (await monitor.registry.get("w1")).monitoring is None


async def test_samples_in_pages(monitor: Monitor) -> None:
    for ago in (50, 40, 30, 20, 10):
        await monitor.feed(ago, ago / 100)
    since = await monitor.workers.now() - timedelta(seconds=60)
    first = await monitor.registry.samples("w1", since, limit=3)
    rest = await monitor.registry.samples("w1", limit=3, cursor=first.next_cursor or "")
    shown = [one.metrics.cpu_utilization for one in [*first.items, *rest.items]]
    assert shown == [0.5, 0.4, 0.3, 0.2, 0.1]
    assert rest.next_cursor is None
    last = await monitor.registry.samples("w1", limit=2)
    assert [one.metrics.cpu_utilization for one in last.items] == [0.2, 0.1]
    assert last.next_cursor is None


async def test_samples_that_cannot_be_asked_for(monitor: Monitor) -> None:
    now = datetime.now(UTC)
    bad: list[dict[str, Any]] = [
        {"limit": 0},
        {"limit": 10_001},
        {"since": now.replace(tzinfo=None)},
        {"until": now.replace(tzinfo=None)},
        {"since": now, "until": now - timedelta(seconds=1)},
        {"cursor": "yesterday"},
    ]
    for query in bad:
        with pytest.raises(InvalidQuery) as caught:
            await monitor.registry.samples("w1", **query)
        assert caught.value.status == 422
    with pytest.raises(WorkerNotFound):
        await monitor.registry.samples("w9")
    with pytest.raises(InvalidQuery):
        await monitor.registry.list(limit=0)
