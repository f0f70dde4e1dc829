"""Alerts on a real store: raised and resolved once, whoever evaluates, in whatever order it is nudged."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from application.monitoring.alert_book import AlertStep, Committed
from application.monitoring.views import MonitoringRequest
from domain.events.event import Event
from domain.monitoring.alert import AlertState
from domain.monitoring.errors import AlertsChangedMeanwhile, InvalidQuery
from domain.monitoring.rule import AlertRule
from domain.monitoring.worker import WorkerPatch
from infrastructure.redis.embedded import EmbeddedValkey
from integration.monitoring_kit import CPU_RULE, Monitor, Site, before_commits
from support import examples, wait_until
from unit.monitoring.waveforms import START, Seen, cpu_rules, drive, sample, waveforms


@pytest.fixture
async def site(redis_url: str, namespace: str) -> AsyncIterator[Site]:
    async with Site(redis_url, namespace) as made:
        yield made


async def by_hand(site: Site, rules: list[AlertRule] | None = None, worker_id: str = "w1", **facts: object) -> Monitor:
    """Start an instance that does nothing by itself, with one monitored worker."""
    monitor = await site.start(rules or [CPU_RULE], executes=False, handles=False, sends=False)
    await monitor.add(worker_id, **facts)
    await monitor.monitoring.start(worker_id, MonitoringRequest(interval_s=10))
    return monitor


async def told(monitor: Monitor, site: Site) -> list[str]:
    """Send what is due and return all that was sent."""
    while await monitor.sender.send_due():
        pass
    return site.channel.kinds


async def states(monitor: Monitor, state: str | None = None) -> list[str]:
    page = await monitor.container.alert_list().list(state)
    return [f"{record.rule_id} {record.state}" for record in page.items]


async def test_a_breach_is_raised_and_resolved_through_the_bus(site: Site) -> None:
    monitor = await site.start([CPU_RULE])
    await monitor.add()
    site.provider.cpu["w1"] = 0.99
    await monitor.monitoring.start("w1", MonitoringRequest(interval_s=0.1))
    await wait_until(lambda: site.channel.kinds == ["firing cpu w1"], "the alert")
    (record,) = (await monitor.container.alert_list().list("firing")).items
    assert (record.rule_id, record.worker_id, record.worker_name, record.value) == ("cpu", "w1", "w1", 0.99)
    assert (record.fire, record.clear, record.severity) == (0.9, 0.8, "warning")
    site.provider.cpu["w1"] = 0.1
    await wait_until(lambda: site.channel.kinds == ["firing cpu w1", "resolved cpu w1"], "the resolve")
    assert await states(monitor) == ["cpu resolved"]
    fired, resolved = await site.events("alert")
    assert (fired["topic"], resolved["topic"]) == ("alert.firing", "alert.resolved")
    assert fired["alert_id"] == resolved["alert_id"] == site.channel.sent[0].alert_id
    assert resolved["resolved_at"] > fired["fired_at"]


async def test_pending_is_told_as_an_event_and_to_nobody(site: Site) -> None:
    monitor = await by_hand(site, [CPU_RULE.model_copy(update={"for_s": 60.0})])
    await monitor.feed(20, 0.95)
    await monitor.alerts.catch_up("w1")
    assert await states(monitor, "pending") == ["cpu pending"]
    assert await site.topics("alert") == ["alert.pending"]
    await monitor.feed(10, 0.1)
    await monitor.alerts.catch_up("w1")
    assert await states(monitor) == []
    assert await site.topics("alert") == ["alert.pending"]
    assert await told(monitor, site) == []


async def test_many_nudges_by_many_instances_raise_one_alert(site: Site) -> None:
    monitors = [await by_hand(site)] + [
        await site.start([CPU_RULE], executes=False, handles=False, sends=False) for _ in range(2)
    ]
    for n in range(30):
        await monitors[0].feed(300 - n * 10, 0.95 if n % 10 < 5 else 0.1)
        await asyncio.gather(*(monitor.alerts.catch_up("w1") for monitor in monitors * 2))
    await asyncio.gather(*(monitor.sender.send_due() for monitor in monitors * 3))
    await told(monitors[0], site)
    assert site.channel.kinds == ["firing cpu w1", "resolved cpu w1"] * 3
    assert await site.topics("alert") == ["alert.firing", "alert.resolved"] * 3
    assert len({notification.key for notification in site.channel.sent}) == 6


async def test_an_alert_survives_its_instance(site: Site) -> None:
    first = await by_hand(site)
    await first.feed(30, 0.95)
    await first.alerts.catch_up("w1")
    await first.stop()
    second = await site.start([CPU_RULE], executes=False, handles=False, sends=False)
    assert await told(second, site) == ["firing cpu w1"], "what the first had not sent is sent by the second"
    await second.feed(20, 0.1)
    await second.alerts.catch_up("w1")
    assert await told(second, site) == ["firing cpu w1", "resolved cpu w1"]
    assert site.channel.sent[0].alert_id == site.channel.sent[1].alert_id


async def test_events_that_come_again_or_make_no_sense_change_nothing(site: Site) -> None:
    monitor = await by_hand(site)
    await monitor.feed(30, 0.95)
    nudge = Event(id="worker-1-0", topic="worker.metrics.collected", time=START, source="x", data={"worker_id": "w1"})
    await monitor.handler.handle(nudge)
    before = await monitor.book.read("w1")
    for data in ({"worker_id": "w1"}, {"worker_id": "gone"}, {"worker_id": 5}, {}):
        await monitor.handler.handle(nudge.model_copy(update={"data": data}))
    assert await monitor.book.read("w1") == before
    assert await told(monitor, site) == ["firing cpu w1"]


async def test_a_backlog_is_evaluated_whole_and_in_order(site: Site) -> None:
    rule = CPU_RULE.model_copy(update={"for_s": 25.0})
    monitor = await by_hand(site, [rule])
    now = await monitor.workers.now()
    levels = [0.95 if n % 50 < 10 else 0.1 for n in range(450)]
    for n, cpu in enumerate(levels):
        assert await monitor.samples.append(sample(now - timedelta(seconds=4500 - 10 * n), cpu)) == "stored"
    assert await monitor.alerts.catch_up("w1") == 450
    assert await told(monitor, site) == ["firing cpu w1", "resolved cpu w1"] * 9
    assert await monitor.alerts.catch_up("w1") == 0


async def test_two_steps_from_one_state_cannot_both_be_stored(site: Site) -> None:
    monitor = await by_hand(site)
    alerts = await monitor.book.read("w1")
    state = AlertState(rule_id="cpu", worker_id="w1")
    assert await monitor.book.commit(AlertStep(alerts, 5, {"cpu": state})) == "done"
    assert await monitor.book.commit(AlertStep(alerts, 6, {"cpu": state})) == "stale"
    found = await monitor.book.read("w1")
    assert (found.cursor_ms, found.states) == (5, {"cpu": state})
    await monitor.workers.remove("w1", "test")
    assert await monitor.book.commit(AlertStep(found, 7)) == "gone"
    assert await monitor.book.commit(AlertStep(found, is_closing=True)) == "done"


async def test_steps_of_one_call_are_stored_or_refused_each_for_itself(site: Site) -> None:
    names = ["w1", "w2", "w3", "w4"]
    monitor = await by_hand(site)
    for name in names[1:]:
        await monitor.add(name)
    steps = []
    for name in names:
        states = {rule_id: AlertState(rule_id=rule_id, worker_id=name) for rule_id in ("cpu", "load")}
        steps.append(AlertStep(await monitor.book.read(name), 5, {**states, "gone": None}))
    await monitor.book.commit(AlertStep(await monitor.book.read("w2"), 3))
    await monitor.workers.remove("w3", "test")
    assert await monitor.book.commit_all(steps) == ["done", "stale", "gone", "done"]
    assert await monitor.book.commit_all([]) == []
    found = [await monitor.book.read(name) for name in names]
    assert [(one.cursor_ms, sorted(one.states)) for one in found] == [
        (5, ["cpu", "load"]),
        (3, []),
        (0, []),
        (5, ["cpu", "load"]),
    ]


@pytest.mark.parametrize("what", ["catch_up", "close", "check_silence"])
async def test_a_step_that_was_overtaken_is_made_again(site: Site, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else commits between reading and committing, twice: nothing of either is lost."""
    silent = AlertRule(id="silent", metric="no_data", silent_min_s=0, silent_intervals=1)
    monitor = await by_hand(site, [CPU_RULE, silent])
    await monitor.feed(300, 0.95)
    if what != "catch_up":
        await monitor.alerts.catch_up("w1")
    now = await monitor.workers.now()
    await monitor.workers.remember({"watching_since": "0", "watched_at": str(round(now.timestamp() * 1000))})
    await monitor.samples.ignore(["w1"])
    await monitor.samples.expect("w1", now - timedelta(seconds=300))
    commit, overtakings = monitor.book.commit, [1, 2]

    async def overtake(step: AlertStep) -> None:
        if overtakings:
            await commit(AlertStep(await monitor.book.read("w1"), 1000 - overtakings.pop()))

    before_commits(monitor, monkeypatch, overtake)
    if what == "catch_up":
        assert await monitor.alerts.catch_up("w1") == 1
    elif what == "close":
        assert await monitor.alerts.close("w1", "test") == 1
    else:
        assert await monitor.watch.check_silence() == ["w1"]
    assert overtakings == []
    expected = {"catch_up": {"cpu"}, "close": set[str](), "check_silence": {"cpu", "silent"}}[what]
    assert {record.rule_id for record in await monitor.book.open()} == expected


async def test_who_is_overtaken_for_ever_says_so(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = await by_hand(site)
    await monitor.feed(30, 0.95)

    async def stale(step: AlertStep) -> Committed:
        return "stale"

    before_commits(monitor, monkeypatch, stale)
    with pytest.raises(AlertsChangedMeanwhile, match="worker 'w1' were changed by others 20 times"):
        await monitor.alerts.catch_up("w1")


async def test_many_workers_that_are_nudged_at_once_are_evaluated_each_for_itself(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one more than a read takes, of one others are faster, one is gone, one cannot be read: the rest is told."""
    monkeypatch.setattr("infrastructure.monitoring.alerts.SAMPLES_TOGETHER", 3)
    names = [f"w{n}" for n in range(9)]
    monitor = await by_hand(site, worker_id=names[0])
    for name in names[1:]:
        await monitor.add(name)
        await monitor.monitoring.start(name, MonitoringRequest(cron="* * * * *") if name == "w7" else None)
    for name in names:
        for ago_s in (30, 20):
            await monitor.feed(ago_s, 0.95, name)
    store, overtaken = monitor.store.command, ["w2"]
    await store.hset(monitor.store.key("mon", "alerts", "w3"), "cpu", "no state")
    await store.hdel(monitor.store.key("mon", "workers"), "w5")
    commit = monitor.book.commit

    async def overtake(step: AlertStep) -> None:
        if step.before.worker_id in overtaken:
            await commit(AlertStep(await monitor.book.read(overtaken.pop()), 1))

    before_commits(monitor, monkeypatch, overtake)
    found = await asyncio.gather(*(monitor.alerts.catch_up(name) for name in names), return_exceptions=True)
    assert isinstance(found.pop(3), ValueError)
    assert found == [2, 2, 2, 2, 0, 2, 2, 2]
    assert overtaken == []
    assert {one.worker_id for one in await monitor.book.open()} == set(names) - {"w3", "w5"}


async def test_stopping_the_monitoring_resolves_and_ignores_what_comes_late(site: Site) -> None:
    monitor = await by_hand(site)
    await monitor.feed(30, 0.95)
    await monitor.alerts.catch_up("w1")
    await monitor.monitoring.stop("w1")
    assert await told(monitor, site) == ["firing cpu w1", "resolved cpu w1"]
    assert site.channel.sent[1].reason == "its monitoring was stopped"
    await monitor.feed(20, 0.95)
    assert await monitor.alerts.catch_up("w1") == 0
    await monitor.monitoring.start("w1")
    assert await monitor.alerts.catch_up("w1") == 0, "what was seen while nobody watched raises nothing afterwards"
    await monitor.feed(10, 0.96)
    assert await monitor.alerts.catch_up("w1") == 1
    assert (await told(monitor, site))[2:] == ["firing cpu w1"]


async def test_removing_the_worker_resolves_and_leaves_nothing_behind(site: Site) -> None:
    monitor = await by_hand(site, name="web one")
    await monitor.feed(30, 0.95)
    await monitor.alerts.catch_up("w1")
    await monitor.registry.remove("w1")
    assert await told(monitor, site) == ["firing cpu w1", "resolved cpu w1"]
    (record,) = (await monitor.container.alert_list().list("resolved")).items
    assert (record.reason, record.worker_name) == ("the worker was removed", "web one")
    left = {key.partition(":mon:")[2] async for key in site.redis.command.scan_iter(match=f"{site.redis.prefix}:mon:*")}
    assert left == {"alert_history", "outbox_token", "deliveries", "delivery_times", "circuit:log"}
    assert await monitor.scheduler.list_tasks() == await monitor.scheduler.list_tasks(name="nothing")


async def test_what_a_crash_left_open_is_closed_by_the_check(site: Site) -> None:
    monitor = await by_hand(site)
    await monitor.feed(30, 0.95)
    await monitor.alerts.catch_up("w1")
    await monitor.workers.remove("w1", "and then the process died")
    assert await monitor.watch.close_the_abandoned() == 1
    assert await monitor.watch.close_the_abandoned() == 0
    assert await told(monitor, site) == ["firing cpu w1", "resolved cpu w1"]
    assert await monitor.workers.orphans() == []


async def test_monitoring_that_ended_by_itself_closes_its_alerts(site: Site) -> None:
    monitor = await by_hand(site)
    await monitor.feed(30, 0.95)
    await monitor.alerts.catch_up("w1")
    await monitor.scheduler.stop_task("worker-metrics-w1")  # as a job that raises JobTerminationException
    assert await monitor.watch.close_the_abandoned() == 1
    assert await told(monitor, site) == ["firing cpu w1", "resolved cpu w1"]


async def test_a_rule_that_is_gone_takes_back_what_it_told(site: Site) -> None:
    monitor = await by_hand(site)
    await monitor.feed(30, 0.95)
    await monitor.alerts.catch_up("w1")
    other = AlertRule(id="load", metric="load_1m", fire=100)
    restarted = await site.start([other], executes=False, handles=False, sends=False)
    await restarted.feed(20, 0.95)
    await restarted.alerts.catch_up("w1")
    assert await told(restarted, site) == ["firing cpu w1", "resolved cpu w1"]
    assert site.channel.sent[1].reason == "the rule no longer applies to this worker"
    (record,) = (await restarted.container.alert_list().list()).items
    assert (record.state, record.metric, record.fire) == ("resolved", "cpu_utilization", 0.9)
    assert set((await restarted.book.read("w1")).states) == {"load"}


async def test_a_rule_that_no_longer_selects_a_worker_takes_back_what_it_told(site: Site) -> None:
    monitor = await by_hand(site, [CPU_RULE.model_copy(update={"labels": {"env": "prod"}})], labels={"env": "prod"})
    await monitor.feed(30, 0.95)
    await monitor.alerts.catch_up("w1")
    await monitor.registry.change("w1", WorkerPatch(labels={"env": "test"}))
    await monitor.feed(20, 0.95)
    await monitor.alerts.catch_up("w1")
    assert await told(monitor, site) == ["firing cpu w1", "resolved cpu w1"]


async def test_alerts_are_listed_open_ones_first_in_pages(site: Site) -> None:
    monitor = await by_hand(site)
    await monitor.add("w2")
    await monitor.monitoring.start("w2")
    for n, cpu in enumerate([0.95, 0.1, 0.95, 0.1, 0.95]):
        await monitor.feed(100 - n, cpu)
    await monitor.feed(50, 0.99, "w2")
    await monitor.alerts.catch_up("w1")
    await monitor.alerts.catch_up("w2")
    alerts = monitor.container.alert_list()
    first = await alerts.list(limit=3)
    rest = await alerts.list(limit=3, cursor=first.next_cursor or "")
    shown = [f"{record.worker_id} {record.state}" for record in [*first.items, *rest.items]]
    assert shown == ["w1 firing", "w2 firing", "w1 resolved", "w1 resolved"]
    assert rest.next_cursor is None
    assert [record.worker_id for record in (await alerts.list(worker_id="w2")).items] == ["w2"]
    for bad in ({"state": "burning"}, {"limit": 0}, {"limit": 1001}, {"cursor": "x"}):
        with pytest.raises(InvalidQuery):
            await alerts.list(**bad)  # type: ignore[arg-type]


@given(cpu_rules, waveforms(), st.lists(st.integers(0, 3), max_size=60))
@settings(
    deadline=None,
    max_examples=examples(15),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_any_interleaving_tells_what_one_alone_would(
    valkey: EmbeddedValkey, rule: AlertRule, wave: list[Seen], nudges: list[int]
) -> None:
    """Samples come in; between them up to three instances are nudged at once, or nobody is. The outcome is the same."""
    expected = [(one.kind, one.value) for one in drive(rule, [seen.reading for seen in wave]).told]

    async def play() -> None:
        async with Site(valkey.url, f"t{uuid.uuid4().hex[:10]}") as site:
            monitors = [await by_hand(site, [rule])] + [
                await site.start([rule], executes=False, handles=False, sends=False) for _ in range(2)
            ]
            start = await monitors[0].workers.now() - timedelta(hours=1)
            for index, seen in enumerate(wave):
                await monitors[0].samples.append(sample(start + timedelta(seconds=seen.at_s), seen.cpu))
                nudged = monitors[: nudges[index] if index < len(nudges) else 0]
                await asyncio.gather(*(monitor.alerts.catch_up("w1") for monitor in nudged))
            await asyncio.gather(*(monitor.alerts.catch_up("w1") for monitor in monitors))
            await asyncio.gather(*(monitor.sender.send_due() for monitor in monitors))
            await told(monitors[0], site)
            assert [(one.kind, one.value) for one in site.channel.sent] == expected

    asyncio.run(play())
