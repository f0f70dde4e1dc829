"""Try an alert rule on what was measured: what would it have told, and when? Nothing is stored, nobody is told."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from application.monitoring.evaluation import Subject, complete
from application.monitoring.rhythm import Rhythms
from application.monitoring.stores import Samples, Workers
from domain.monitoring.alert import step
from domain.monitoring.errors import RuleNotRehearsed, WorkerNotFound
from domain.monitoring.notification import Notification
from domain.monitoring.observation import Glance, Observation, Reading, Tick
from domain.monitoring.rule import PROVIDER_DOWN, AlertRule
from domain.monitoring.sample import MetricSample
from domain.monitoring.state import AlertPhase, AlertState
from domain.monitoring.telling import Outlook, next_look
from domain.monitoring.worker import Worker

BATCH = 200
"""Samples between two of which others get the event loop."""
MOST_MESSAGES = 1_000
"""A rule that would tell more is not the rule that anybody wants."""
USUAL_INTERVAL_S = 60.0
"""Between samples of a worker that is no longer monitored."""

Phase = Literal["ok", "pending", "firing", "recovering"]


@dataclass
class Rehearsal:
    """What a rule would have told of one worker. ``since`` and ``until`` are of the first and last sample that counted.

    ``is_about_worker`` is False where its labels do not select the worker: then it tells nothing. ``is_cut`` says that
    it told too much to go on. ``pending`` counts how often it began to wait for ``for_s``.
    """

    rule: AlertRule
    worker: Worker
    is_about_worker: bool
    interval_s: float
    samples: int = 0
    since: datetime | None = None
    until: datetime | None = None
    pending: int = 0
    is_cut: bool = False
    messages: list[Notification] = field(default_factory=list)
    state: AlertState = field(init=False)

    def __post_init__(self) -> None:
        """Begin with nothing known."""
        self.state = AlertState(rule_id=self.rule.id, worker_id=self.worker.id)

    @property
    def phase(self) -> Phase:
        """Return where the alert was at the end."""
        return self.state.phase.value

    def see(self, sample: MetricSample) -> None:
        """Go on to a sample: first what time alone did since the last one, then what it says."""
        self._wait(sample.collected_at)
        if self.is_cut:
            return
        self._step(Reading(sample, sample.apart_s(self.interval_s)), sample.collected_at)
        self.samples += 1
        self.since, self.until = self.since or sample.collected_at, sample.collected_at

    def end(self, now: datetime) -> None:
        """Let the time after the last sample pass."""
        self._wait(now)

    def _wait(self, until: datetime) -> None:
        """Let repeats and escalations come in their time, and silence be noticed."""
        for seen in self._moments(until):
            self._step(seen, seen.at)
            if len(self.messages) >= MOST_MESSAGES:
                self.is_cut = True
                return

    def _moments(self, until: datetime) -> Iterator[Observation]:
        """Yield what time alone brings before ``until``, each after the last was seen."""
        last = heard = self.until
        if last is None or heard is None:
            return
        silent_at = heard + timedelta(seconds=self.rule.silence_s(self.interval_s)) if self.rule.is_no_data else None
        while True:
            look = next_look(self.state, self.rule, Outlook(last))
            moments = [one for one in (look, silent_at) if one is not None and last < one < until]
            if not moments:
                return
            last = min(moments)
            if last == silent_at:
                yield Tick(last, heard, self.interval_s)
            else:
                yield Glance(last)

    def _step(self, seen: Observation, now: datetime) -> None:
        before = self.state.phase
        self.state, told = step(self.state, seen, self.rule, Outlook(now))
        self.pending += before is AlertPhase.OK and self.state.phase is AlertPhase.PENDING
        subject = Subject.of(self.worker)
        self.messages += [complete(one, self.rule, subject) for one in told]


class Rehearsals:
    """Try rules on the stored samples of a worker."""

    def __init__(self, workers: Workers, samples: Samples, rhythms: Rhythms) -> None:
        self._workers = workers
        self._samples = samples
        self._rhythms = rhythms

    async def rehearse(
        self, rule: AlertRule, worker_id: str, since: datetime | None = None, until: datetime | None = None
    ) -> Rehearsal:
        """Return what a rule would have told of a worker by its samples in [since, until]; of all without.

        It begins with nothing known, so what was wrong already when the samples begin counts from there. Silences,
        acknowledgements, alerts that hide others and looks that failed are not in samples, and left out. Raises
        ``WorkerNotFound``, ``RuleNotRehearsed`` and ``StoreUnavailable``.
        """
        worker = await self._workers.get(worker_id)
        if worker is None:
            raise WorkerNotFound(worker_id=worker_id)
        if rule.kind == PROVIDER_DOWN:
            raise RuleNotRehearsed(rule_id=rule.id)
        now = await self._workers.now()
        rhythm = await self._rhythms.of(worker_id, now)
        is_watched = rhythm is not None and not rhythm.is_paused
        interval_s = rhythm.interval_s if rhythm else USUAL_INTERVAL_S
        played = Rehearsal(rule, worker, rule.selects(worker), interval_s)
        if played.is_about_worker:
            await self._play(played, since, until)
            if is_watched and not played.is_cut:
                played.end(min(now, until or now))
        return played

    async def _play(self, played: Rehearsal, since: datetime | None, until: datetime | None) -> None:
        cursor = round(since.timestamp() * 1000) - 1 if since else 0
        while not played.is_cut:
            samples = await self._samples.after(played.worker.id, cursor, BATCH)
            for sample in samples:
                if until is not None and sample.observed_at > until:
                    return
                played.see(sample)
            if len(samples) < BATCH:
                return
            cursor = samples[-1].time_ms
