"""The engine on a real store against the machine alone: several instances, silences, acks, restarts, two workers."""

import asyncio
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from application.monitoring.views import MonitoringRequest
from domain.monitoring.notification import Notification
from domain.monitoring.silence import AckRequest, Matchers, SilenceRequest
from infrastructure.redis.embedded import EmbeddedValkey
from integration.monitoring_kit import Monitor, Site, reads_at
from support import examples
from unit.monitoring.plays import LONGEST_S, Act, Play, Span, perform, plays, tail
from unit.monitoring.test_alert_invariants import check_stream
from unit.monitoring.waveforms import START, sample

played = settings(
    deadline=None,
    max_examples=examples(8),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

Event = tuple[float, str, Act | Span]
"""When, about which worker, and what."""


@dataclass
class Stage:
    """Some instances whose clock the play moves; what it shows lies two hours back, so that samples are taken."""

    site: Site
    plays: dict[str, Play]
    base: datetime = START
    now_s: float = 0.0
    monitors: list[Monitor] = field(default_factory=list)
    sent_at: list[tuple[float, Notification]] = field(default_factory=list)

    @property
    def now(self) -> datetime:
        return self.base + timedelta(seconds=self.now_s)

    async def open(self, instances: int) -> None:
        """Start the instances, and monitor the workers."""
        self.monitors = [await self.start() for _ in range(instances)]
        for worker_id in self.plays:
            await self.monitors[0].add(worker_id)
            await self.monitors[0].monitoring.start(worker_id, MonitoringRequest(interval_s=10))

    async def start(self) -> Monitor:
        """Start one more instance, under the clock of the play."""
        rules = [play.rule.model_copy(update={"id": f"cpu-{name}"}) for name, play in self.plays.items()]
        rules = [rule.model_copy(update={"labels": {}}) for rule in rules]
        monitor = await self.site.start(rules, executes=False, handles=False, sends=False)
        if self.base == START:
            real = await monitor.workers.now()
            self.base = (real - timedelta(hours=2)).replace(microsecond=0)
        self._set_clock(monitor)
        return monitor

    def _set_clock(self, monitor: Monitor) -> None:
        due = monitor.book.due
        real_now, woken_from = monitor.workers.now, self.base + timedelta(hours=1)

        async def due_now(now: datetime, limit: int) -> list[str]:
            """What a change of policy made due is due by the store's own clock, two hours ahead of the play's."""
            key, real = monitor.store.key("mon", "alerts_due"), await real_now()
            span = round(woken_from.timestamp() * 1000), round(real.timestamp() * 1000)
            woken = await monitor.store.command.zrangebyscore(key, *span)
            return sorted({*await due(now, limit), *map(str, woken)})

        async def now() -> datetime:
            return self.now

        reads_at(monitor, lambda _: self.now)
        setattr(monitor.book, "due", due_now)  # noqa: B010 - as below
        setattr(monitor.workers, "now", now)  # noqa: B010 - a method is replaced, which mypy rightly does not like

    async def send(self) -> None:
        """Let all instances send what is due, and note when it went out."""
        before = len(self.site.channel.sent)
        while sum(await asyncio.gather(*(monitor.sender.send_due() for monitor in self.monitors))):
            pass
        self.sent_at += [(self.now_s, one) for one in self.site.channel.sent[before:]]

    def told(self, worker_id: str) -> list[Notification]:
        """Return what was sent of a worker's own rule."""
        return [one for one in self.site.channel.sent if one.lane == f"cpu-{worker_id}@{worker_id}"]

    async def happen(self, worker_id: str, what: Act | Span, nudged: list[Monitor]) -> None:
        """Let one thing happen, and the instances that are nudged hear of it."""
        rule_id = f"cpu-{worker_id}"
        if isinstance(what, Span):
            matchers = Matchers(rule_ids=(rule_id,), severities=what.severities)
            wish = SilenceRequest(matchers=matchers, for_s=what.end - what.start, reason="a play")
            await self.monitors[0].container.silences().create(wish)
        elif what.what == "ack":
            for record in await self.monitors[0].book.open():
                if record.rule_id == rule_id and record.worker_id == worker_id:
                    wish_ack = AckRequest(for_s=what.ack[0], severity=what.ack[1])
                    await self.monitors[0].container.alert_acks().acknowledge(record.id, wish_ack)
        elif what.what == "restart":
            gone = self.monitors.pop()
            await gone.stop()
            self.monitors.insert(0, await self.start())
        elif what.what == "glance":
            await asyncio.gather(*(monitor.watch.check_due() for monitor in nudged))
        elif what.what in ("old", "sample"):
            await asyncio.gather(*(monitor.alerts.catch_up(worker_id) for monitor in nudged))
        else:
            one = sample(self.base + timedelta(seconds=what.at_s), what.cpu, worker_id)
            assert await self.monitors[0].samples.append(one) == "stored"
            await asyncio.gather(*(monitor.alerts.catch_up(worker_id) for monitor in nudged))


def timeline(plays_of: dict[str, Play]) -> list[Event]:
    """Return what happens in all plays, in order; of one moment, what silences comes first, then by worker."""
    events: list[Event] = []
    for worker_id, play in plays_of.items():
        events += [(act.at_s, worker_id, act) for act in play.acts]
        events += [(span.start, worker_id, span) for span in play.silences]
    return sorted(events, key=lambda event: (event[0], isinstance(event[2], Act), event[1]))


def alone(worker_id: str, plays_of: dict[str, Play]) -> list[tuple[str, str, int, float]]:
    """Return what the machine alone tells of a worker. Who looks at what is due looks at that of all workers."""
    play = plays_of[worker_id]
    acts = [
        what
        for _, name, what in timeline(plays_of)
        if isinstance(what, Act) and (name == worker_id or what.what == "glance")
    ]
    found = perform(Play(play.rule, tuple(acts), play.silences))
    return [(one.kind, one.severity, one.number, (one.at - START).total_seconds()) for one in found.told]


def whole(play: Play) -> Play:
    """Return a play as the store can take it: silences in whole ms, none that outlasts it, an end that is calm."""
    silences = tuple(Span(round(span.start), round(span.end), span.severities) for span in play.silences)
    return tail(Play(play.rule, play.acts, silences), "calm")


@given(plays(), plays())
@played
def test_k_instances_in_any_interleaving_tell_what_the_machine_alone_tells(
    valkey: EmbeddedValkey, one: Play, other: Play
) -> None:
    """All three instances are nudged at once by everything: each key is sent once, and workers do not mix."""
    plays_of = {"w1": whole(one), "w2": whole(other)}

    async def perform_all() -> None:
        async with Site(valkey.url, f"t{uuid.uuid4().hex[:10]}") as site:
            stage = Stage(site, plays_of)
            await stage.open(instances=3)
            for at_s, worker_id, what in timeline(plays_of):
                stage.now_s = at_s
                await stage.happen(worker_id, what, stage.monitors)
                await stage.send()
            for worker_id in plays_of:
                told = stage.told(worker_id)
                shown = [(one.kind, one.severity, one.number, (one.at - stage.base).total_seconds()) for one in told]
                assert shown == alone(worker_id, plays_of)
                check_stream(told)
            for at_s, sent in stage.sent_at:
                if sent.lane in ("cpu-w1@w1", "cpu-w2@w2"):
                    assert sent.severity not in plays_of[sent.worker_id].outlook(at_s).silenced

    asyncio.run(perform_all())


@given(plays(), st.lists(st.integers(0, 3), min_size=1, max_size=40), st.sampled_from(["calm", "breach"]))
@played
def test_whoever_is_nudged_or_sends_when_it_ends_as_it_is(
    valkey: EmbeddedValkey, play: Play, nudges: list[int], end: str
) -> None:
    """Events are lost, instances lag and nobody sends for a while: the stream is sound, and its end is true."""
    play = whole(play)

    async def perform_all() -> None:
        async with Site(valkey.url, f"t{uuid.uuid4().hex[:10]}") as site:
            stage = Stage(site, {"w1": play})
            await stage.open(instances=3)
            for index, (at_s, worker_id, what) in enumerate(timeline(stage.plays)):
                stage.now_s = at_s
                nudged = stage.monitors[: nudges[index % len(nudges)]]
                await stage.happen(worker_id, what, nudged)
                if nudges[index % len(nudges)] == 2:
                    await stage.send()
            stage.now_s = max(LONGEST_S, play.end_s + 1)
            for _ in range(10):
                stage.now_s += 10
                act = Act(stage.now_s, end, 0.5 if end == "calm" else 0.99)
                await stage.happen("w1", act, stage.monitors)
            await asyncio.gather(*(monitor.watch.check_due() for monitor in stage.monitors))
            await stage.send()
            told = stage.told("w1")
            check_stream(told)
            assert len({one.key for one in site.channel.sent}) == len(site.channel.sent)
            last = told[-1].kind if told else "resolved"
            assert (last == "resolved") == (end == "calm")

    asyncio.run(perform_all())
