"""Samples of whole periods, minutes late and minutes apart: what alert rules make of them."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from application.monitoring.views import MonitoringRequest
from domain.monitoring.rule import AlertRule
from integration.monitoring_kit import Monitor, Site
from unit.monitoring.waveforms import sample

SILENT = AlertRule(id="silent", metric="no_data")
BUSY = AlertRule(id="busy", metric="cpu_utilization", fire=0.9, for_s=600)


@pytest.fixture
async def site(redis_url: str, namespace: str) -> AsyncIterator[Site]:
    async with Site(redis_url, namespace) as made:
        yield made


async def watched(site: Site, *rules: AlertRule) -> Monitor:
    """Return an instance that watches a worker every minute, and looks at nothing by itself."""
    monitor = await site.start(rules, executes=False, handles=False, sends=False)
    await monitor.add()
    await monitor.monitoring.start("w1", MonitoringRequest(interval_s=60, paused=True))
    await monitor.monitoring.start("w1", MonitoringRequest(paused=False))
    await monitor.store.command.delete(monitor.store.key("mon", "heard"))
    await monitor.store.command.hset(monitor.store.key("mon", "meta"), mapping={"watching_since": "0"})
    return monitor


async def feed(monitor: Monitor, ended_s: float, collected_s: float, period_s: float | None, cpu: float = 0.95) -> None:
    now = await monitor.workers.now()
    one = sample(now - timedelta(seconds=ended_s), cpu)
    facts = {"period_s": period_s, "collected_at": now - timedelta(seconds=collected_s)}
    assert await monitor.samples.append(one.model_copy(update=facts)) == "stored"


@pytest.mark.parametrize(
    ("collected_s", "period_s", "is_silent"),
    [(290, 300.0, False), (590, 300.0, True), (290, None, True)],
    ids=["no newer one could be had", "a newer one was due long ago", "a momentary look"],
)
async def test_silence_counts_from_when_a_newer_sample_could_be_had(
    site: Site, collected_s: float, period_s: float | None, is_silent: bool
) -> None:
    monitor = await watched(site, SILENT)
    await feed(monitor, collected_s + 130, collected_s, period_s)
    await monitor.alerts.catch_up("w1")
    await monitor.store.command.hset(
        monitor.store.key("mon", "meta"), "watched_at", str(round((await monitor.workers.now()).timestamp() * 1000))
    )
    await monitor.watch.check_silence()
    firing = [record.rule_id for record in await monitor.book.open()]
    assert firing == (["silent"] if is_silent else [])


@pytest.mark.parametrize(("period_s", "fires"), [(300.0, True), (None, False)], ids=["periods", "gaps"])
async def test_periods_that_follow_each_other_are_no_gaps(site: Site, period_s: float | None, fires: bool) -> None:
    """Looked at every minute, values five minutes apart are unbroken where they are of five minutes each."""
    monitor = await watched(site, BUSY)
    for ended_s in (1_200, 900, 600, 300):
        await feed(monitor, ended_s, ended_s - 130, period_s)
    await monitor.alerts.catch_up("w1")
    states = [record.state for record in await monitor.book.open()]
    assert states == (["firing"] if fires else ["pending"])
