"""The alert engine: feeds samples, silence and endings to the alerts of a worker, in order, whoever nudges it."""

import logging
from collections.abc import Sequence

from application.monitoring.alert_book import AlertBook, WorkerAlerts
from application.monitoring.evaluation import Evaluation
from application.monitoring.rhythm import Rhythms
from application.monitoring.stores import Samples, Silence, Workers
from domain.monitoring.errors import AlertsChangedMeanwhile
from domain.monitoring.observation import Closing, Reading, Tick
from domain.monitoring.record import former_rule
from domain.monitoring.rule import AlertRule, check_rules
from domain.monitoring.worker import Worker

log = logging.getLogger(__name__)

BATCH = 200
"""Samples evaluated in one step, when there is a backlog."""
TRIES = 20
SILENT_AT_ONCE = 10_000
SHORTEST_SILENCE_S = 1.0
LONGEST_PAUSE_S = 60.0
"""When nobody looked for silence for longer than this, the silence of that time is nobody's fault but ours."""


class AlertEngine:
    """Evaluate rules. Every method may be called by many instances at once: who comes second finds it done.

    A worker's states are read, stepped and committed together; a commit on states that others changed meanwhile is
    refused, and the step is made again on what is there now.
    """

    def __init__(
        self, workers: Workers, samples: Samples, book: AlertBook, rhythms: Rhythms, rules: Sequence[AlertRule]
    ) -> None:
        self._workers = workers
        self._samples = samples
        self._book = book
        self._rhythms = rhythms
        self.rules = check_rules(rules)

    async def catch_up(self, worker_id: str) -> int:
        """Evaluate all samples after the last evaluated one, in order; return how many. Nothing new changes nothing."""
        evaluated, refused = 0, 0
        while refused < TRIES:
            alerts = await self._book.read(worker_id)
            samples = await self._samples.after(worker_id, alerts.cursor_ms, BATCH)
            worker = await self._workers.get(worker_id)
            if not samples or worker is None:
                return evaluated
            rhythm = await self._rhythms.of(worker_id, samples[-1].observed_at)
            if rhythm is None:
                await self.close(worker_id, "its monitoring was stopped")
                return evaluated
            evaluation = Evaluation(alerts, worker.name, self._rules_for(worker), await self._known_rules(alerts))
            for sample in samples:
                evaluation.observe(Reading(sample, sample.apart_s(rhythm.interval_s)))
            verdict = await self._book.commit(evaluation.step(samples[-1].time_ms))
            if verdict == "gone":
                return evaluated
            if verdict == "done":
                evaluated, refused = evaluated + len(samples), 0
            else:
                refused += 1
        raise AlertsChangedMeanwhile(worker_id=worker_id, tries=TRIES)

    async def close(
        self, worker_id: str, reason: str, *, worker_name: str | None = None, is_removed: bool = False
    ) -> int:
        """End all alerts of a worker, resolving what was told; return how many were open. Twice is fine.

        Samples up to now will not be evaluated any more. ``is_removed`` forgets the worker altogether.
        """
        for _ in range(TRIES):
            alerts = await self._book.read(worker_id)
            evaluation = Evaluation(alerts, worker_name or worker_id, (), await self._known_rules(alerts))
            evaluation.observe(Closing(await self._workers.now(), reason))
            (last,) = await self._samples.last([worker_id])
            cursor_ms = last.time_ms if last else None
            if not alerts.states and cursor_ms in (None, alerts.cursor_ms) and not is_removed:
                return 0
            verdict = await self._book.commit(evaluation.step(cursor_ms, is_closing=is_removed))
            if verdict == "gone":
                is_removed = True
            elif verdict == "done":
                return sum(change.is_over for change in evaluation.changes)
        raise AlertsChangedMeanwhile(worker_id=worker_id, tries=TRIES)

    async def check_silence(self) -> list[str]:
        """Tick the no-data rules of the workers that were not heard of; return those that are monitored and silent."""
        shortest = min((rule.silent_min_s for rule in self.rules if rule.is_no_data), default=None)
        if shortest is None:
            return []
        silence = await self._samples.silence(LONGEST_PAUSE_S, max(shortest, SHORTEST_SILENCE_S), SILENT_AT_ONCE)
        return [worker_id for worker_id in silence.quiet_since if await self._tick(worker_id, silence)]

    async def close_the_abandoned(self) -> int:
        """Close the alerts of workers that were removed or are no longer monitored; return how many were open."""
        closed = 0
        for worker_id in await self._workers.orphans():
            closed += await self.close(worker_id, "the worker was removed", is_removed=True)
        for worker_id in sorted({record.worker_id for record in await self._book.open()}):
            if await self._rhythms.of(worker_id, await self._workers.now()) is None:
                closed += await self.close(worker_id, "its monitoring was stopped or has ended")
        return closed

    async def _tick(self, worker_id: str, silence: Silence) -> bool:
        worker = await self._workers.get(worker_id)
        rhythm = await self._rhythms.of(worker_id, silence.now)
        if worker is None or rhythm is None:
            await self._samples.ignore([worker_id])
            return False
        if rhythm.is_paused:
            await self._samples.expect(worker_id, silence.now)
            return False
        quiet_since = max(silence.quiet_since[worker_id], silence.watching_since)
        tick = Tick(silence.now, quiet_since, rhythm.interval_s)
        for _ in range(TRIES):
            alerts = await self._book.read(worker_id)
            evaluation = Evaluation(alerts, worker.name, self._rules_for(worker), await self._known_rules(alerts))
            evaluation.observe(tick)
            if not evaluation.has_news or await self._book.commit(evaluation.step()) != "stale":
                return True
        raise AlertsChangedMeanwhile(worker_id=worker_id, tries=TRIES)

    def _rules_for(self, worker: Worker) -> list[AlertRule]:
        return [rule for rule in self.rules if rule.selects(worker)]

    async def _known_rules(self, alerts: WorkerAlerts) -> dict[str, AlertRule]:
        """Return all rules by id; those that are no longer there but have states as far as their open records tell."""
        rules = {rule.id: rule for rule in self.rules}
        former = alerts.states.keys() - rules.keys()
        if former:
            for record in await self._book.open():
                if record.worker_id == alerts.worker_id and record.rule_id in former:
                    rules[record.rule_id] = former_rule(record)
        return rules
