"""Workers that are not heard of: told once, taken back when they are; and never for what was our own doing."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from application.monitoring.seeding import MonitoringSeed
from application.monitoring.views import MonitoringRequest
from domain.monitoring.errors import CollectionFailed
from domain.monitoring.rule import AlertRule
from integration.monitoring_kit import CPU_RULE, Monitor, Site
from support import wait_until

SILENT = AlertRule(id="silent", metric="no_data")


@pytest.fixture
async def site(redis_url: str, namespace: str) -> AsyncIterator[Site]:
    async with Site(redis_url, namespace) as made:
        yield made


async def watched(site: Site, interval_s: float = 10, rules: list[AlertRule] | None = None) -> Monitor:
    """Start an instance whose watch has lasted for an hour, with one monitored worker that was silent for long."""
    monitor = await site.start(rules or [SILENT], executes=False, handles=False, sends=False)
    await monitor.add()
    await monitor.monitoring.start("w1", MonitoringRequest(interval_s=interval_s))
    await pretend(monitor, watched_s=1)
    await heard(monitor, 3000)
    return monitor


async def pretend(monitor: Monitor, watched_s: float) -> None:
    """Say when silence was last looked for, and that the watch began an hour before."""
    last = await monitor.workers.now() - timedelta(seconds=watched_s)
    since = last - timedelta(hours=1)
    ms = {name: str(round(at.timestamp() * 1000)) for name, at in (("watched_at", last), ("watching_since", since))}
    await monitor.workers.remember(ms)


async def heard(monitor: Monitor, ago_s: float) -> None:
    """Set the worker's last word back."""
    await monitor.samples.ignore(["w1"])
    await monitor.samples.expect("w1", await monitor.workers.now() - timedelta(seconds=ago_s))


async def told(monitor: Monitor, site: Site) -> list[str]:
    while await monitor.sender.send_due():
        pass
    return site.channel.kinds


async def test_silence_is_told_once_and_taken_back_by_a_sample(site: Site) -> None:
    monitor = await watched(site)
    await heard(monitor, 40)
    for _ in range(3):
        assert await monitor.watch.check_silence() == ["w1"]
    assert await told(monitor, site) == ["firing silent w1"]
    assert 40 <= (site.channel.sent[0].value or 0) < 60
    await monitor.feed(0, 0.1)
    await monitor.alerts.catch_up("w1")
    assert await told(monitor, site) == ["firing silent w1", "resolved silent w1"]
    assert await monitor.watch.check_silence() == []
    assert await site.topics("alert") == ["alert.firing", "alert.resolved"]


async def test_a_worker_was_never_heard_of_later_than_it_was(site: Site) -> None:
    monitor = await watched(site)
    heard_at = (await monitor.workers.now() - timedelta(seconds=40)).replace(microsecond=123_600)
    await monitor.samples.ignore(["w1"])
    await monitor.samples.expect("w1", heard_at)
    silence = await monitor.samples.silence(3600, 0, 10)
    assert silence.quiet_since["w1"] == heard_at.replace(microsecond=123_000), "the store counts whole ms, downwards"


async def test_a_short_silence_is_none(site: Site) -> None:
    monitor = await watched(site)
    await heard(monitor, 10)
    assert await monitor.watch.check_silence() == []
    slow = await site.start([SILENT], executes=False, handles=False, sends=False)
    await slow.monitoring.start("w1", MonitoringRequest(interval_s=60))
    await heard(slow, 150)
    await slow.watch.check_silence()
    assert await told(monitor, site) == [], "three intervals of a minute are not over"
    await heard(slow, 181)
    await slow.watch.check_silence()
    assert await told(monitor, site) == ["firing silent w1"]


async def test_silence_ends_no_other_alert(site: Site) -> None:
    monitor = await watched(site, rules=[SILENT, CPU_RULE])
    await monitor.feed(100, 0.95)
    await monitor.alerts.catch_up("w1")
    await monitor.watch.check_silence()
    assert sorted(await told(monitor, site)) == ["firing cpu w1", "firing silent w1"]


async def test_the_time_when_nobody_watched_is_nobodys_silence(site: Site) -> None:
    """All instances were down for an hour, say over night: the worker is given its time anew."""
    monitor = await watched(site)
    await pretend(monitor, watched_s=3600)
    await monitor.watch.check_silence()
    assert await told(monitor, site) == []
    await pretend(monitor, watched_s=1)
    await monitor.watch.check_silence()
    assert await told(monitor, site) == ["firing silent w1"]


async def test_a_paused_worker_is_expected_to_be_silent(site: Site) -> None:
    monitor = await watched(site)
    await monitor.monitoring.start("w1", MonitoringRequest(paused=True))
    assert await monitor.watch.check_silence() == []
    assert await told(monitor, site) == []
    await monitor.scheduler.resume("worker-metrics-w1")  # not through monitoring: by hand, on its schedule
    assert await monitor.watch.check_silence() == [], "its time began anew when it was last seen paused"
    await heard(monitor, 40)
    await monitor.watch.check_silence()
    assert await told(monitor, site) == ["firing silent w1"]


async def test_resuming_gives_a_worker_its_time(site: Site) -> None:
    monitor = await watched(site)
    await monitor.monitoring.start("w1", MonitoringRequest(paused=True))
    await monitor.monitoring.start("w1", MonitoringRequest(paused=False))
    assert await monitor.watch.check_silence() == []
    assert await told(monitor, site) == []


async def test_a_worker_that_never_said_a_word_is_silent_too(site: Site) -> None:
    monitor = await site.start([SILENT], executes=False, handles=False, sends=False)
    await monitor.add()
    await monitor.monitoring.start("w1")
    await pretend(monitor, watched_s=1)
    found = await monitor.samples.silence(60, 0, 10)
    assert set(found.quiet_since) == {"w1"}


async def test_nobody_waits_for_a_worker_that_is_not_monitored(site: Site) -> None:
    monitor = await watched(site)
    await monitor.scheduler.stop_task("worker-metrics-w1")
    assert await monitor.watch.check_silence() == []
    found = await monitor.samples.silence(60, 0, 10)
    assert found.quiet_since == {}
    assert await told(monitor, site) == []


async def test_without_a_rule_nobody_looks(site: Site) -> None:
    monitor = await watched(site, rules=[CPU_RULE])
    assert await monitor.watch.check_silence() == []


async def test_the_check_runs_by_itself(site: Site) -> None:
    site.provider.errors["w1"] = CollectionFailed(worker_id="w1", why="it says nothing")
    monitor = await site.start([SILENT.model_copy(update={"silent_intervals": 1.0, "silent_min_s": 0.0})])
    await monitor.add()
    await monitor.monitoring.start("w1", MonitoringRequest(interval_s=3000))
    await pretend(monitor, watched_s=1)
    await heard(monitor, 3001)
    seed = MonitoringSeed(
        monitor.workers, monitor.monitoring, monitor.tasks, hostname="x", local_worker=False, silence_check_s=0.1
    )
    await seed.start()
    await wait_until(lambda: site.channel.kinds == ["firing silent w1"], "the alert")
    page = await monitor.scheduler.list_tasks(name="WorkerSilenceCheckJob")
    assert [info.id for info in page.items] == ["monitoring-silence-check"]


async def test_a_silence_of_which_all_is_told_is_ticked_seldom_until_rules_change(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = await watched(site)
    await heard(monitor, 40)
    assert await monitor.watch.check_silence() == ["w1"]
    before = await monitor.book.read("w1")
    assert await monitor.watch.check_silence() == ["w1"]
    assert await monitor.book.read("w1") == before, (
        "ten thousand that are silent must not be written every five seconds"
    )
    await monitor.container.alert_rules().put("quiet", {"metric": "no_data", "silent_min_s": 10})
    await monitor.watch.check_silence()
    assert sorted(await told(monitor, site)) == ["firing quiet w1", "firing silent w1"]
    monkeypatch.setattr("application.monitoring.watch.TICKED_AGAIN_AFTER", timedelta(0))
    await monitor.watch.check_silence()
    after = await monitor.book.read("w1")
    assert after.version != before.version


async def test_of_many_open_alerts_each_check_looks_at_some_for_whether_they_are_abandoned(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("application.monitoring.watch.ABANDONED_AT_ONCE", 2)
    monitor = await site.start([CPU_RULE], executes=False, handles=False, sends=False)
    for n in range(5):
        await monitor.add(f"w{n}")
        await monitor.monitoring.start(f"w{n}")
        await monitor.feed(10, 0.95, f"w{n}")
        await monitor.alerts.catch_up(f"w{n}")
    await monitor.scheduler.stop_task("worker-metrics-w4")
    closed = [await monitor.watch.close_the_abandoned() for _ in range(3)]
    assert sum(closed) == 1
