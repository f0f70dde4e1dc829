"""Rules of the store: made, changed and deleted at run time, over all instances; the settings' own are fixed."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest

from application.monitoring import policy as policy_module
from application.monitoring.alert_rules import AlertRules
from application.monitoring.views import MonitoringRequest
from application.runs.asking import Note
from application.scheduling.deeds import Deed
from domain.monitoring.errors import (
    AlertRuleChangedMeanwhile,
    AlertRuleFromSettings,
    AlertRuleNotFound,
    InvalidRule,
    TooManyRules,
)
from integration.monitoring_kit import CPU_RULE, Monitor, Site

LOAD: dict[str, Any] = {"metric": "load_1m", "fire": 8}
HOT: dict[str, Any] = {"metric": "cpu_utilization", "fire": 0.5, "severity": "critical"}


@pytest.fixture
async def site(redis_url: str, namespace: str) -> AsyncIterator[Site]:
    async with Site(redis_url, namespace) as made:
        yield made


async def by_hand(site: Site) -> tuple[Monitor, AlertRules]:
    monitor = await site.start([CPU_RULE], executes=False, handles=False, sends=False)
    return monitor, monitor.container.alert_rules()


async def watched(monitor: Monitor, *worker_ids: str) -> None:
    for worker_id in worker_ids:
        await monitor.add(worker_id, labels={"env": "prod"})
        await monitor.monitoring.start(worker_id, MonitoringRequest(interval_s=10))


async def told(monitor: Monitor, site: Site) -> list[str]:
    while await monitor.sender.send_due():
        pass
    return site.channel.kinds


async def test_a_rule_is_made_changed_and_deleted(site: Site) -> None:
    monitor, rules = await by_hand(site)
    made = await rules.put("load", LOAD)
    assert (made.is_new, made.view.source, made.view.revision, made.view.changed_by) == (True, "store", 1, "program")
    same = await rules.put("load", LOAD)
    assert (same.is_new, same.view.revision) == (False, 1), "asking the same again changes nothing"
    changed = await rules.put("load", {**LOAD, "fire": 9})
    assert (changed.is_new, changed.view.revision, changed.view.rule.fire) == (False, 2, 9)
    assert [(view.rule.id, view.source) for view in await rules.list()] == [("cpu", "settings"), ("load", "store")]
    assert await rules.get("load") == changed.view
    await rules.delete("load")
    with pytest.raises(AlertRuleNotFound, match="no alert rule 'load'"):
        await rules.get("load")
    with pytest.raises(AlertRuleNotFound):
        await rules.delete("load")
    events = await site.events("alert")
    assert [(event["topic"], event["rule_id"], event["rule"].get("fire")) for event in events] == [
        ("alert.rule.changed", "load", 8),
        ("alert.rule.changed", "load", 9),
        ("alert.rule.removed", "load", 9),
    ]
    assert monitor.book is not None


async def test_rules_of_the_settings_are_fixed(site: Site) -> None:
    _, rules = await by_hand(site)
    assert (await rules.get("cpu")).source == "settings"
    for act in (rules.put("cpu", HOT), rules.delete("cpu")):
        with pytest.raises(AlertRuleFromSettings, match="'cpu' is from the settings"):
            await act


async def test_all_that_is_wrong_with_a_rule_is_named_at_once(site: Site) -> None:
    _, rules = await by_hand(site)
    bad = {
        "metric": "cpu_utilization",
        "fire": 90,
        "severity": "bad",
        "message": "{worker.name} {nobody}",
        "silent_min_s": 3,
        "escalate": [{"severity": "info", "fire": 0.1}],
    }
    with pytest.raises(InvalidRule) as caught:
        await rules.put("x", bad)
    for what in (
        "severity: ",
        "fire: 90 is not between 0 and 1",
        "no placeholder '{worker.name}'",
        "no placeholder '{nobody}'",
        "silent_min_s: only a no_data rule has it",
    ):
        assert what in str(caught.value)
    assert len(await rules.list()) == 1


async def test_a_change_of_what_somebody_else_changed_is_refused(site: Site) -> None:
    _, rules = await by_hand(site)
    await rules.put("load", LOAD, revision=0)
    with pytest.raises(AlertRuleChangedMeanwhile, match="revision 1, not 0"):
        await rules.put("load", {**LOAD, "fire": 9}, revision=0)
    await rules.put("load", {**LOAD, "fire": 9}, revision=1)
    with pytest.raises(AlertRuleChangedMeanwhile, match="revision 2, not 1"):
        await rules.delete("load", revision=1)
    await rules.delete("load", revision=2)


async def test_many_changes_at_once_leave_one_of_them_and_count_all(site: Site) -> None:
    first, _ = await by_hand(site)
    second, _ = await by_hand(site)
    both = [first.container.alert_rules(), second.container.alert_rules()]
    await asyncio.gather(*(both[n % 2].put("load", {**LOAD, "fire": n + 1}) for n in range(8)))
    view = await both[0].get("load")
    assert view.revision == 8
    assert await both[1].get("load") == view


async def test_there_are_not_endless_rules(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("application.monitoring.alert_rules.MAX_RULES", 2)
    _, rules = await by_hand(site)
    await rules.put("a", LOAD)
    await rules.put("b", LOAD)
    with pytest.raises(TooManyRules, match="2 alert rules in the store already, and more than 2"):
        await rules.put("c", LOAD)
    await rules.put("b", {**LOAD, "fire": 9})
    assert policy_module.MAX_RULES == 1_000


async def test_a_new_rule_holds_on_all_instances_with_the_next_sample(site: Site) -> None:
    monitor, rules = await by_hand(site)
    other, _ = await by_hand(site)
    await watched(monitor, "w1")
    await monitor.feed(30, 0.7)
    await other.alerts.catch_up("w1")
    assert await told(monitor, site) == []
    await rules.put("hot", HOT)
    await monitor.feed(20, 0.7)
    await other.alerts.catch_up("w1")
    assert await told(monitor, site) == ["firing hot w1"]


async def test_the_alerts_of_a_deleted_rule_are_closed_without_a_sample(site: Site) -> None:
    monitor, rules = await by_hand(site)
    await watched(monitor, "w1")
    await rules.put("hot", HOT)
    await monitor.feed(30, 0.7)
    await monitor.alerts.catch_up("w1")
    await rules.delete("hot")
    assert await monitor.watch.check_due() == 1
    assert await told(monitor, site) == ["firing hot w1", "resolved hot w1"]
    assert site.channel.sent[1].reason == "the rule no longer applies to this worker"
    assert site.channel.sent[1].severity == "critical"
    assert await monitor.watch.check_due() == 0


async def test_a_rule_that_watches_something_else_begins_anew(site: Site) -> None:
    monitor, rules = await by_hand(site)
    await watched(monitor, "w1")
    await rules.put("hot", HOT)
    await monitor.feed(30, 0.7)
    await monitor.alerts.catch_up("w1")
    await rules.put("hot", LOAD)
    await monitor.watch.check_due()
    assert await told(monitor, site) == ["firing hot w1", "resolved hot w1"]
    assert site.channel.sent[1].reason == "the rule watches something else now"


async def test_a_rule_with_other_levels_goes_on_in_the_same_episode(site: Site) -> None:
    monitor, rules = await by_hand(site)
    await watched(monitor, "w1")
    await rules.put("hot", HOT)
    await monitor.feed(30, 0.7)
    await monitor.alerts.catch_up("w1")
    await rules.put("hot", {**HOT, "fire": 0.8})
    await monitor.watch.check_due()
    assert await told(monitor, site) == ["firing hot w1"], "the next sample decides, nothing else"
    await monitor.feed(20, 0.7)
    await monitor.alerts.catch_up("w1")
    assert await told(monitor, site) == ["firing hot w1", "resolved hot w1"]


async def test_a_change_is_noted_with_who_and_what(site: Site) -> None:
    monitor, _ = await by_hand(site)
    deeds: list[Deed] = []

    def write_down(deed: Deed) -> Note | None:
        deeds.append(deed)
        return Note(("test", "log"), (100, 1_000_000, deed.action, deed.target, "ann", "{}"))

    rules = AlertRules(monitor.container.policies(), monitor.container.policy_book(), monitor.workers.now, write_down)
    await rules.put("load", LOAD)
    await rules.delete("load")
    assert [(deed.action, deed.target, deed.before is None, deed.after is None) for deed in deeds] == [
        ("alert.rule.changed", "load", True, False),
        ("alert.rule.removed", "load", False, True),
    ]
    entries = await site.redis.command.xrange(site.redis.key("test", "log"))
    assert [fields["a"] for _, fields in entries or []] == ["alert.rule.changed", "alert.rule.removed"]


async def test_a_rule_that_cannot_be_read_does_not_count_and_is_told(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    monitor, rules = await by_hand(site)
    key = monitor.store.key("mon", "alert_rules")
    await site.redis.command.hset(key, "later", '{"rule": {"id": "later", "metric": "of_a_newer_version"}}')
    assert [view.rule.id for view in await rules.list()] == ["cpu"]
    assert "StoredRule later in the store cannot be read and does not count" in caplog.text


async def test_the_settings_win_over_a_rule_of_the_store(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    other = await site.start([], executes=False, handles=False, sends=False)
    await other.container.alert_rules().put("cpu", HOT)
    monitor, rules = await by_hand(site)
    (view,) = await rules.list()
    assert (view.source, view.rule.fire) == ("settings", CPU_RULE.fire)
    assert "those of the store with these ids do not count" in caplog.text
    assert isinstance(await monitor.workers.now(), datetime)
