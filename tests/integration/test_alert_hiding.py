"""What is hidden by what is above it: values of a worker that is down, workers of a provider's region that is down."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from application.monitoring.alert_book import AlertStep, Committed
from application.monitoring.views import MonitoringRequest
from domain.monitoring.errors import CollectionFailed
from domain.monitoring.rule import AlertRule, Escalation
from domain.monitoring.sample import CheckStatus
from infrastructure.monitoring.looks import COUNTS_MS
from integration.monitoring_kit import CPU_RULE, Monitor, Site, before_commits
from support import wait_until

REPEATING = CPU_RULE.model_copy(update={"repeat_s": 60.0})
DOWN = AlertRule(id="down", metric="provider_down", severity="critical")
SILENT = AlertRule(id="silent", metric="no_data")
AWAY = AlertRule.model_validate({"id": "away", "metric": "status", "statuses": ["unreachable"]})


@pytest.fixture
async def site(redis_url: str, namespace: str) -> AsyncIterator[Site]:
    async with Site(redis_url, namespace) as made:
        yield made


async def fleet(site: Site, rules: list[AlertRule], *worker_ids: str) -> Monitor:
    monitor = await site.start(rules, executes=False, handles=False, sends=False)
    for worker_id in worker_ids:
        await monitor.add(worker_id)
        await monitor.monitoring.start(worker_id, MonitoringRequest(interval_s=10))
    return monitor


async def fail(monitor: Monitor, *worker_ids: str) -> None:
    for worker_id in worker_ids:
        assert await monitor.alerts.look_failed(worker_id, await monitor.workers.now())


async def see(monitor: Monitor, ago_s: float, cpu: float, worker_id: str = "w1") -> None:
    await monitor.feed(ago_s, cpu, worker_id)
    await monitor.alerts.catch_up(worker_id)


async def be_quiet(monitor: Monitor, *worker_ids: str) -> None:
    """Let the workers be silent for an hour, under a watch that lasts for longer."""
    now = await monitor.workers.now()
    ms = {
        name: str(round((now - timedelta(seconds=ago_s)).timestamp() * 1000))
        for name, ago_s in (("watched_at", 1), ("watching_since", 7200))
    }
    await monitor.workers.remember(ms)
    await monitor.samples.ignore(worker_ids)
    for worker_id in worker_ids:
        await monitor.samples.expect(worker_id, now - timedelta(seconds=3600))


async def told(monitor: Monitor, site: Site) -> list[str]:
    while await monitor.sender.send_due():
        pass
    return site.channel.kinds


async def test_a_failed_look_is_a_status_and_a_sample_takes_it_back(site: Site) -> None:
    monitor = await fleet(site, [AWAY], "w1")
    await fail(monitor, "w1")
    assert await told(monitor, site) == ["firing away w1"]
    assert site.channel.sent[0].subject == "unreachable"
    assert "status unreachable" in site.channel.sent[0].summary
    await see(monitor, 0, 0.1)
    assert await told(monitor, site) == ["firing away w1", "resolved away w1"]


async def test_a_failed_look_that_is_told_late_changes_nothing(site: Site) -> None:
    monitor = await fleet(site, [AWAY, DOWN], "w1", "w2")
    failed_at = await monitor.workers.now()
    await see(monitor, 0, 0.1)
    assert not await monitor.alerts.look_failed("w1", failed_at - timedelta(milliseconds=10))
    assert not await monitor.alerts.look_failed("nobody", failed_at)
    await monitor.monitoring.stop("w2")
    assert not await monitor.alerts.look_failed("w2", failed_at + timedelta(seconds=1))
    assert await told(monitor, site) == []


async def test_looks_that_fail_reach_the_alerts_through_the_bus(site: Site) -> None:
    site.provider.errors["w1"] = CollectionFailed(worker_id="w1", why="nobody answers")
    monitor = await site.start([AWAY])
    await monitor.add()
    await monitor.monitoring.start("w1", MonitoringRequest(interval_s=0.2))
    await wait_until(lambda: site.channel.kinds == ["firing away w1"], "the alert")
    del site.provider.errors["w1"]
    await wait_until(lambda: site.channel.kinds == ["firing away w1", "resolved away w1"], "the resolve")


async def test_a_worker_that_is_down_hides_its_values_until_it_is_back(site: Site) -> None:
    monitor = await fleet(site, [SILENT, REPEATING.model_copy(update={"for_s": 5.0})], "w1")
    await see(monitor, 40, 0.95)
    await be_quiet(monitor, "w1")
    await monitor.watch.check_silence()
    assert await told(monitor, site) == ["firing silent w1"]
    await see(monitor, 20, 0.95)
    await see(monitor, 10, 0.95)
    assert sorted((await told(monitor, site))[1:]) == ["firing cpu w1", "resolved silent w1"]


async def test_what_was_told_of_a_value_is_not_repeated_while_its_worker_is_down(site: Site) -> None:
    monitor = await fleet(site, [AWAY, REPEATING], "w1")
    await see(monitor, 40, 0.95)
    assert await told(monitor, site) == ["firing cpu w1"]
    await fail(monitor, "w1")
    (record,) = [one for one in await monitor.book.open() if one.rule_id == "cpu"]
    assert record.hidden_by == "away"
    assert (await monitor.book.read("w1")).states["cpu"].hidden_by == "away"
    assert await told(monitor, site) == ["firing cpu w1", "firing away w1"]
    await see(monitor, 0, 0.1)
    assert sorted((await told(monitor, site))[2:]) == ["resolved away w1", "resolved cpu w1"]


async def test_a_failed_check_hides_no_values(site: Site) -> None:
    check = AlertRule.model_validate({"id": "check", "metric": "status", "checks": ["system"]})
    monitor = await fleet(site, [check, CPU_RULE], "w1")
    one = await monitor.feed(40, 0.1)
    for n, cpu in ((10, 0.1), (20, 0.95)):
        later = {
            "observed_at": one.observed_at + timedelta(seconds=n),
            "collected_at": one.collected_at + timedelta(seconds=n),
            "status_checks": one.status_checks.model_copy(update={"system": CheckStatus.IMPAIRED}),
            "metrics": one.metrics.model_copy(update={"cpu_utilization": cpu}),
        }
        assert await monitor.samples.append(one.model_copy(update=later)) == "stored"
        await monitor.alerts.catch_up("w1")
        await told(monitor, site)
    assert await told(monitor, site) == ["firing check w1", "firing cpu w1"]
    (record,) = [one for one in await monitor.book.open() if one.rule_id == "check"]
    assert record.subject == "check system"


async def test_a_region_that_is_down_is_told_once_and_hides_its_workers(site: Site) -> None:
    monitor = await fleet(site, [DOWN, AWAY, SILENT], "w1", "w2", "w3")
    for worker_id in ("w1", "w2", "w3"):
        await see(monitor, 60, 0.1, worker_id)
    await monitor.alerts.look_failed("w1", await monitor.workers.now())
    assert await told(monitor, site) == ["firing away w1"], "one worker alone is one worker"
    await fail(monitor, "w2", "w3")
    assert await monitor.watch.check_providers() == ["scripted~"]
    await be_quiet(monitor, "w1", "w2", "w3")
    assert len(await monitor.watch.check_silence()) == 3
    found = await told(monitor, site)
    assert found[:1] + found[-1:] == ["firing away w1", "firing down scripted~"]
    assert "silent" not in " ".join(found)
    assert site.channel.sent[-1].provider == "scripted"
    hidden = {record.hidden_by for record in await monitor.book.open() if record.rule_id == "silent"}
    assert hidden == {"scripted~ is down"}


async def test_what_a_region_hid_is_told_when_it_is_back_without_a_sample_of_its_own(site: Site) -> None:
    monitor = await fleet(site, [DOWN, SILENT], "w1", "w2")
    await fail(monitor, "w1", "w2")
    await monitor.watch.check_providers()
    await be_quiet(monitor, "w1", "w2")
    await monitor.watch.check_silence()
    assert await told(monitor, site) == ["firing down scripted~"]
    await see(monitor, 0, 0.1, "w2")
    assert await monitor.watch.check_providers() == []
    assert await monitor.watch.check_due() >= 1
    assert (await told(monitor, site))[1:] == ["resolved down scripted~", "firing silent w1"]
    assert await monitor.watch.check_providers() == [], "w1 still fails, alone"


async def test_a_region_is_told_worse_and_again_like_any_alert(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = DOWN.model_copy(update={"severity": "warning", "escalate": (Escalation(severity="critical", after_s=0.05),)})
    monitor = await fleet(site, [rule], "w1", "w2")
    await fail(monitor, "w1", "w2")
    await monitor.watch.check_providers()

    async def again() -> bool:
        await monitor.watch.check_providers()
        return len(await told(monitor, site)) == 2

    await wait_until(again, "the escalation")
    assert await told(monitor, site) == ["firing down scripted~", "escalated down scripted~"]


async def test_workers_that_are_gone_or_paused_keep_no_region_down_or_up(site: Site) -> None:
    monitor = await fleet(site, [DOWN], "w1", "w2", "w3", "w4")
    for worker_id in ("w3", "w4"):
        await see(monitor, 60, 0.1, worker_id)
    await fail(monitor, "w1", "w2")
    assert await monitor.watch.check_providers() == [], "two others can be looked at"
    await monitor.registry.remove("w3")
    await monitor.monitoring.start("w4", MonitoringRequest(paused=True))
    await be_quiet(monitor, "w4")
    await monitor.watch.check_silence()
    silent = await site.start([DOWN, SILENT], executes=False, handles=False, sends=False)
    await be_quiet(monitor, "w4")
    await silent.watch.check_silence()
    assert await monitor.watch.check_providers() == ["scripted~"]
    await monitor.monitoring.stop("w1")
    assert await monitor.watch.check_providers() == ["scripted~"], "one still fails"
    await monitor.registry.remove("w2")
    assert await monitor.watch.check_providers() == []
    assert await told(monitor, site) == ["firing down scripted~", "resolved down scripted~"]
    left = {key.partition(":mon:")[2] async for key in site.redis.command.scan_iter(match=f"{site.redis.prefix}:mon:*")}
    assert not {key for key in left if key.startswith(("looks", "failed_in", "regions"))}
    assert COUNTS_MS > 60_000


async def test_without_its_rule_a_region_that_was_down_is_taken_back(site: Site) -> None:
    monitor = await site.start([], executes=False, handles=False, sends=False)
    rules = monitor.container.alert_rules()
    await rules.put("down", {"metric": "provider_down", "min_workers": 1})
    await monitor.add("w1")
    await monitor.monitoring.start("w1", MonitoringRequest(interval_s=10))
    await fail(monitor, "w1")
    assert await monitor.watch.check_providers() == ["scripted~"]
    await rules.delete("down")
    assert await monitor.watch.check_providers() == []
    assert await told(monitor, site) == ["firing down scripted~", "resolved down scripted~"]
    assert (await monitor.book.read("w1")).down == frozenset()


async def test_one_worker_that_others_always_change_first_keeps_no_other_waiting(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monitor = await fleet(site, [SILENT, CPU_RULE], "w1", "w2")
    for worker_id in ("w1", "w2"):
        await see(monitor, 60, 0.95, worker_id)
    await be_quiet(monitor, "w1", "w2")
    await monitor.container.alert_rules().put("any", {"metric": "load_1m", "fire": 5})

    async def stale_for_one(step: AlertStep) -> Committed | None:
        return "stale" if step.before.worker_id == "w1" else None

    before_commits(monitor, monkeypatch, stale_for_one)
    assert sorted(await monitor.watch.check_silence()) == ["w1", "w2"]
    assert await monitor.watch.check_due() == 1, "w2 was looked at when it was found silent"
    assert {record.worker_id for record in await monitor.book.open() if record.rule_id == "silent"} == {"w2"}
    assert "worker 'w1' were changed by others" in caplog.text


async def test_who_was_not_looked_at_for_an_hour_keeps_no_region_up(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = await fleet(site, [DOWN], "w1", "w2", "w3")
    await see(monitor, 60, 0.1, "w3")
    await fail(monitor, "w1", "w2")
    assert await monitor.watch.check_providers() == []
    monkeypatch.setattr("infrastructure.monitoring.looks.COUNTS_MS", -1_000)
    assert await monitor.watch.check_providers() == ["scripted~"]
