"""Silences and acknowledgements on a real store: they keep messages back, and change no alert."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from application.monitoring.alert_book import AlertStep
from application.monitoring.views import MonitoringRequest
from application.runs.asking import Actor, asked_by
from domain.monitoring.errors import (
    AlertNotFound,
    AlertNotOpen,
    InvalidAck,
    InvalidSilence,
    SilenceNotFound,
    TooManySilences,
)
from domain.monitoring.rule import AlertRule, Escalation
from domain.monitoring.silence import AckRequest, SilenceRequest
from integration.monitoring_kit import CPU_RULE, Monitor, Site, before_commits, reads_at

REPEATING = CPU_RULE.model_copy(update={"repeat_s": 60.0})
GROWING = CPU_RULE.model_copy(update={"escalate": (Escalation(severity="critical", fire=0.98),)})


@pytest.fixture
async def site(redis_url: str, namespace: str) -> AsyncIterator[Site]:
    async with Site(redis_url, namespace) as made:
        yield made


async def by_hand(site: Site, rule: AlertRule = CPU_RULE, **facts: object) -> Monitor:
    monitor = await site.start([rule], executes=False, handles=False, sends=False)
    await monitor.add(**facts)
    await monitor.monitoring.start("w1", MonitoringRequest(interval_s=10))
    return monitor


async def told(monitor: Monitor, site: Site) -> list[str]:
    while await monitor.sender.send_due():
        pass
    return [kind.partition(" ")[0] for kind in site.channel.kinds]


async def see(monitor: Monitor, ago_s: float, cpu: float) -> None:
    await monitor.feed(ago_s, cpu)
    await monitor.alerts.catch_up("w1")


def later(monitor: Monitor, monkeypatch: pytest.MonkeyPatch, by_s: float) -> None:
    """Let this instance find the store's clock further on."""
    now = monitor.workers.now
    reads_at(monitor, lambda moment: moment + timedelta(seconds=by_s))

    async def now_later() -> datetime:
        return await now() + timedelta(seconds=by_s)

    monkeypatch.setattr(monitor.workers, "now", now_later)


def silence(**given: Any) -> SilenceRequest:
    facts = {"matchers": {"worker_ids": ["w*"]}, "for_s": 3600, "reason": "we patch it", **given}
    return SilenceRequest.model_validate(facts)


async def test_a_silence_mutes_sending_and_no_state_and_its_end_tells_what_is_wrong(site: Site) -> None:
    monitor = await by_hand(site)
    silences = monitor.container.silences()
    made = await silences.create(silence(author="ann"))
    assert (made.state, made.author) == ("active", "ann")
    await see(monitor, 30, 0.95)
    assert await told(monitor, site) == []
    (record,) = (await monitor.container.alert_list().list("firing")).items
    assert record.silenced_until == made.ends_at
    await silences.expire(made.id)
    assert await monitor.watch.check_due() == 1
    assert await told(monitor, site) == ["firing"]
    (record,) = (await monitor.container.alert_list().list("firing")).items
    assert record.silenced_until is None
    assert await site.topics("alert") == ["alert.silence.created", "alert.firing", "alert.silence.ended"]


async def test_a_resolve_that_a_silence_held_back_is_told_at_its_end(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = await by_hand(site)
    await see(monitor, 30, 0.95)
    await monitor.container.silences().create(silence())
    await see(monitor, 20, 0.1)
    assert await told(monitor, site) == ["firing"]
    await monitor.watch.check_due()
    assert await told(monitor, site) == ["firing"], "the silence goes on"
    later(monitor, monkeypatch, 3600)
    assert await monitor.watch.check_due() == 1, "nobody has to end it by hand"
    assert await told(monitor, site) == ["firing", "resolved"]
    assert await monitor.watch.check_due() == 0


async def test_a_silence_that_begins_between_looking_and_deciding_holds(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = await by_hand(site)
    silences = [silence()]

    async def overtake(step: AlertStep) -> None:
        if silences:
            await monitor.container.silences().create(silences.pop())

    before_commits(monitor, monkeypatch, overtake)
    await see(monitor, 30, 0.95)
    assert await told(monitor, site) == []
    assert [record.silenced_until is not None for record in await monitor.book.open()] == [True]


async def test_what_came_and_went_in_a_silence_is_never_told(site: Site) -> None:
    monitor = await by_hand(site)
    made = await monitor.container.silences().create(silence())
    await see(monitor, 30, 0.95)
    await see(monitor, 20, 0.1)
    await monitor.container.silences().expire(made.id)
    await monitor.watch.check_due()
    assert await told(monitor, site) == []


async def test_a_worker_that_is_removed_in_a_silence_is_resolved_after_it(site: Site) -> None:
    monitor = await by_hand(site)
    await see(monitor, 30, 0.95)
    made = await monitor.container.silences().create(silence())
    await monitor.registry.remove("w1")
    assert await told(monitor, site) == ["firing"]
    entries = [key async for key in site.redis.command.scan_iter(match=f"{site.redis.prefix}:mon:outbox:*")]
    (message,) = await site.redis.command.lrange(entries[0], 0, -1)  # type: ignore[misc] # redis-py types it as both
    assert f'"not_before":"{made.ends_at.isoformat().replace("+00:00", "Z")}"' in message
    assert await monitor.watch.check_due() == 0, "the worker is forgotten: the outbox alone keeps what is owed"


async def test_a_silence_is_about_what_its_matchers_say(site: Site) -> None:
    monitor = await by_hand(site, labels={"env": "prod", "role": "db"})
    for matchers, is_meant in [
        ({"rule_ids": ["mem*"]}, False),
        ({"rule_ids": ["c?u"]}, True),
        ({"severities": ["critical"]}, False),
        ({"labels": {"env": ["test", "prod"], "role": "db"}}, True),
        ({"labels": {"env": "prod", "role": "web"}}, False),
        ({"worker_ids": ["w1"], "severities": ["warning"]}, True),
    ]:
        made = await monitor.container.silences().create(silence(matchers=matchers))
        policy = await monitor.container.policies().load()
        found = policy.silenced("cpu", "w1", {"env": "prod", "role": "db"}, await monitor.workers.now())
        assert ("warning" in found) == is_meant, matchers
        await monitor.container.silences().expire(made.id)


async def test_silences_that_make_no_sense_are_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = await by_hand(site)
    silences = monitor.container.silences()
    past = datetime(2020, 1, 1, tzinfo=UTC)
    for given, why in [
        ({"for_s": None}, "give either ends_at or for_s"),
        ({"ends_at": past, "for_s": None}, "it is past already"),
        ({"starts_at": datetime(2030, 1, 2, tzinfo=UTC), "ends_at": datetime(2030, 1, 1, tzinfo=UTC)}, "either"),
        ({"ends_at": datetime(2099, 1, 1, tzinfo=UTC), "for_s": None}, "lasts 366 days at most"),
        ({"starts_at": past, "for_s": 86_400 * 366}, "starts_at: it is past already; leave it out"),
    ]:
        with pytest.raises(InvalidSilence, match=why):
            await silences.create(silence(**given))
    with pytest.raises(ValidationError, match=r'all: worker_ids = \["\*"\]'):
        silence(matchers={})
    for call in (silences.get("nobody"), silences.expire("nobody")):
        with pytest.raises(SilenceNotFound, match="no silence 'nobody'"):
            await call
    monkeypatch.setattr("application.monitoring.silences.MAX_SILENCES", 1)
    await silences.create(silence())
    with pytest.raises(TooManySilences, match="1 silences already, and more than 1"):
        await silences.create(silence())


async def test_silences_are_listed_ended_twice_and_forgotten(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = await by_hand(site)
    silences = monitor.container.silences()
    now = await monitor.workers.now()
    with asked_by(Actor("bob", "api")):
        first = await silences.create(silence())
    planned = await silences.create(silence(starts_at=now + timedelta(hours=1), for_s=60))
    assert first.author == "bob"
    assert [(view.id, view.state) for view in await silences.list()] == [
        (first.id, "active"),
        (planned.id, "scheduled"),
    ]
    ended = await silences.expire(first.id)
    assert ended.state == "expired"
    assert await silences.expire(first.id) == ended
    assert (await silences.expire(planned.id)).starts_at <= ended.ends_at + timedelta(seconds=60)
    assert await silences.list() == []
    assert len(await silences.list(include_expired=True)) == 2
    assert await silences.purge() == 0
    later(monitor, monkeypatch, 8 * 86_400)
    assert await monitor.container.silences().purge() == 0, "made before the clock moved: it keeps its own"
    fresh = type(silences)(monitor.container.policies(), monitor.container.policy_book(), monitor.workers.now)
    assert await fresh.purge() == 2
    assert await fresh.list(include_expired=True) == []


async def test_what_fires_is_repeated_without_a_sample(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = await by_hand(site, REPEATING)
    await see(monitor, 30, 0.95)
    assert await monitor.watch.check_due() == 0
    for n in (1, 2):
        later(monitor, monkeypatch, 61)
        assert await monitor.watch.check_due() == 1
        assert await told(monitor, site) == ["firing"] + ["repeat"] * n
        assert await monitor.watch.check_due() == 0
    keys = [one.key for one in site.channel.sent]
    assert len(set(keys)) == 3
    assert site.channel.sent[-1].alert_id == site.channel.sent[0].alert_id


async def test_an_acknowledged_alert_is_not_repeated_until_that_expires(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = await by_hand(site, REPEATING)
    await see(monitor, 30, 0.95)
    (record,) = (await monitor.container.alert_list().list("firing")).items
    acked = await monitor.container.alert_acks().acknowledge(record.id, AckRequest(for_s=600, note="on it", by="ann"))
    assert acked.ack is not None
    assert (acked.ack.by, acked.ack.note, acked.ack.severity) == ("ann", "on it", "warning")
    later(monitor, monkeypatch, 300)
    await monitor.watch.check_due()
    assert await told(monitor, site) == ["firing"]
    later(monitor, monkeypatch, 301)
    assert await monitor.watch.check_due() == 1
    assert await told(monitor, site) == ["firing", "repeat"]
    await see(monitor, 611, 0.1)
    assert await told(monitor, site) == ["firing", "repeat", "resolved"]
    assert await site.topics("alert") == ["alert.firing", "alert.acknowledged", "alert.resolved"]
    with pytest.raises(AlertNotOpen, match="no open alert"):
        await monitor.container.alert_acks().acknowledge(record.id, AckRequest())


async def test_taking_an_acknowledgement_back_lets_repeats_go_on(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = await by_hand(site, REPEATING)
    await see(monitor, 30, 0.95)
    (record,) = (await monitor.container.alert_list().list("firing")).items
    acks = monitor.container.alert_acks()
    await acks.acknowledge(record.id, AckRequest())
    later(monitor, monkeypatch, 61)
    assert (await acks.take_back(record.id)).ack is None
    assert await told(monitor, site) == ["firing", "repeat"]


async def test_what_becomes_worse_than_was_acknowledged_is_told(site: Site) -> None:
    monitor = await by_hand(site, GROWING)
    await see(monitor, 30, 0.95)
    (record,) = (await monitor.container.alert_list().list("firing")).items
    await monitor.container.alert_acks().acknowledge(record.id, AckRequest())
    await see(monitor, 20, 0.99)
    assert await told(monitor, site) == ["firing", "escalated"]
    assert site.channel.sent[1].severity == "critical"
    (record,) = (await monitor.container.alert_list().list("firing")).items
    assert record.severity == "critical"
    assert await site.topics("alert") == ["alert.firing", "alert.acknowledged", "alert.escalated"]


async def test_an_acknowledgement_of_the_worst_keeps_escalation_back_too(site: Site) -> None:
    monitor = await by_hand(site, GROWING)
    await see(monitor, 30, 0.95)
    (record,) = (await monitor.container.alert_list().list("firing")).items
    await monitor.container.alert_acks().acknowledge(record.id, AckRequest(severity="critical"))
    await see(monitor, 20, 0.99)
    assert await told(monitor, site) == ["firing"]
    await see(monitor, 10, 0.1)
    assert await told(monitor, site) == ["firing", "resolved"]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (
            {"for_s": 60, "until": "2099-01-01T00:00:00Z"},
            "give either until or for_s; until: an acknowledgement lasts 30",
        ),
        ({"until": "2020-01-01T00:00:00Z"}, "until: it is past already"),
    ],
)
async def test_acknowledgements_that_make_no_sense_are_refused(site: Site, given: Any, why: str) -> None:
    monitor = await by_hand(site)
    await see(monitor, 30, 0.95)
    (record,) = (await monitor.container.alert_list().list("firing")).items
    acks = monitor.container.alert_acks()
    with pytest.raises(InvalidAck, match=why):
        await acks.acknowledge(record.id, AckRequest.model_validate(given))
    with pytest.raises(AlertNotFound, match="no alert 'nobody'"):
        await acks.acknowledge("nobody", AckRequest())
    assert (await acks.take_back(record.id)).ack is None, "there was none, and that is fine"
    assert await site.topics("alert") == ["alert.firing"]
