"""Alert rules that are tried on samples that are there: what they would have told, with nobody told anything."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from application.monitoring import rehearsal
from application.monitoring.rehearsal import Rehearsal
from application.monitoring.views import MonitoringRequest
from domain.monitoring.errors import RuleNotRehearsed, WorkerNotFound
from domain.monitoring.rule import AlertRule
from integration.monitoring_kit import CPU_RULE, Monitor, Site

CALM, WRONG = 0.1, 0.95


@pytest.fixture
async def monitor(redis_url: str, namespace: str) -> AsyncIterator[Monitor]:
    """An instance with a worker that is looked at every ten seconds, and no alert rules."""
    async with Site(redis_url, namespace) as site:
        made = await site.start([], executes=False, handles=False, sends=False)
        await made.add(labels={"role": "db"})
        await made.monitoring.start("w1", MonitoringRequest(interval_s=10))
        yield made


def rule(**facts: Any) -> AlertRule:
    return AlertRule.model_validate({**CPU_RULE.model_dump(exclude_defaults=True), **facts})


async def measured(monitor: Monitor, *levels: float | None) -> list[datetime]:
    """Store samples ten seconds apart, the last of just now; None is a look that is missing."""
    first = 10 * len(levels)
    return [
        (await monitor.feed(first - 10 * n, level)).observed_at for n, level in enumerate(levels) if level is not None
    ]


async def played(monitor: Monitor, wanted: AlertRule, **more: Any) -> Rehearsal:
    return await monitor.container.rehearsals().rehearse(wanted, "w1", **more)


def said(found: Rehearsal) -> list[str]:
    return [one.kind for one in found.messages]


async def test_a_rule_tells_what_it_would_have_told_and_nothing_is_stored(monitor: Monitor) -> None:
    times = await measured(monitor, CALM, WRONG, WRONG, WRONG, CALM, WRONG)
    found = await played(monitor, rule(for_s=20, message="{worker} is at {value}"))
    assert [(one.kind, one.at) for one in found.messages] == [("firing", times[3]), ("resolved", times[4])]
    assert found.messages[0].about == "w1 is at 0.95"
    assert (found.samples, found.since, found.until) == (6, times[0], times[5])
    assert (found.phase, found.pending, found.is_about_worker) == ("pending", 2, True)
    assert await monitor.book.open() == []
    assert await monitor.book.resolved(10) == []
    assert await monitor.sender.send_due() == 0


async def test_it_may_be_about_a_part_of_the_time(monitor: Monitor) -> None:
    times = await measured(monitor, WRONG, CALM, WRONG, CALM, WRONG)
    found = await played(monitor, rule(), since=times[1], until=times[3])
    assert (said(found), found.since, found.until) == (["firing", "resolved"], times[1], times[3])
    assert said(await played(monitor, rule(), since=times[4] + timedelta(seconds=1))) == []


async def test_repeats_and_escalations_come_in_their_time_between_samples(monitor: Monitor) -> None:
    times = await measured(monitor, WRONG, WRONG, WRONG, CALM)
    found = await played(monitor, rule(repeat_s=4, escalate=[{"severity": "critical", "after_s": 15}]))
    after = [(one.kind, (one.at - times[0]).total_seconds()) for one in found.messages]
    assert [kind for kind, _ in after][:5] == ["firing", "repeat", "repeat", "repeat", "escalated"]
    assert [round(at) for _, at in after][:5] == [0, 4, 8, 12, 15]
    assert after[-1][0] == "resolved"


async def test_silence_is_noticed_between_samples_and_after_the_last(monitor: Monitor) -> None:
    silent = AlertRule(id="quiet", metric="no_data", silent_min_s=30)
    times = await measured(monitor, CALM, None, None, None, CALM, None, None, None, None)
    found = await played(monitor, silent)
    assert [(one.kind, one.at) for one in found.messages] == [
        ("firing", times[0] + timedelta(seconds=30)),
        ("resolved", times[1]),
        ("firing", times[1] + timedelta(seconds=30)),
    ]
    assert found.phase == "firing"
    await monitor.monitoring.start("w1", MonitoringRequest(paused=True))
    assert said(await played(monitor, silent)) == ["firing", "resolved"], "a worker that rests is not silent now"


async def test_a_rule_that_is_not_about_the_worker_says_so(monitor: Monitor) -> None:
    await measured(monitor, WRONG)
    found = await played(monitor, rule(labels={"role": "web"}))
    assert (found.is_about_worker, found.samples, found.messages) == (False, 0, [])
    assert said(await played(monitor, rule(labels={"role": ["web", "db"]}))) == ["firing"]


async def test_a_rule_that_never_ends_telling_is_cut(monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "MOST_MESSAGES", 5)
    monkeypatch.setattr(rehearsal, "BATCH", 2)
    await measured(monitor, WRONG, WRONG, WRONG, WRONG, WRONG)
    whole = await played(monitor, rule())
    assert (len(whole.messages), whole.samples) == (1, 5), "read in parts, as one"
    found = await played(monitor, rule(repeat_s=1))
    assert (len(found.messages), found.is_cut) == (5, True)


async def test_what_samples_cannot_say_is_refused(monitor: Monitor) -> None:
    with pytest.raises(RuleNotRehearsed, match="one worker's samples say nothing"):
        await played(monitor, AlertRule(id="down", metric="provider_down"))
    with pytest.raises(WorkerNotFound, match="no worker 'nobody'"):
        await monitor.container.rehearsals().rehearse(rule(), "nobody")
    await measured(monitor)
    assert (await played(monitor, rule())).samples == 0


async def test_a_worker_that_is_no_longer_monitored_can_be_tried_on(monitor: Monitor) -> None:
    await measured(monitor, WRONG, WRONG)
    await monitor.monitoring.stop("w1")
    found = await played(monitor, rule(for_s=10))
    assert (said(found), found.interval_s) == (["firing"], 60)
