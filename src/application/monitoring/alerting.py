"""The alert engine: feeds samples, failed looks and endings to the alerts of a worker, in order, whoever nudges it."""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime

from application.monitoring.alert_book import AlertBook, WorkerAlerts
from application.monitoring.catching_up import CatchingUp
from application.monitoring.evaluation import Evaluation, Subject
from application.monitoring.looks import SEPARATOR, Looks, group_of
from application.monitoring.policy import Policies
from application.monitoring.rhythm import Rhythms
from application.monitoring.stores import Samples, Workers
from application.runs.asking import Note
from domain.monitoring.errors import AlertsChangedMeanwhile
from domain.monitoring.observation import Closing, Failure, Glance, Observation
from domain.monitoring.record import former_rule
from domain.monitoring.rule import AlertRule
from domain.monitoring.sample import MetricSample
from domain.monitoring.worker import Worker

log = logging.getLogger(__name__)

TRIES = 20


class AlertEngine:
    """Evaluate rules. Every method may be called by many instances at once: who comes second finds it done.

    A worker's states are read, stepped and committed together; a commit on states that others changed meanwhile, or
    under rules and silences that changed, is refused, and the step is made again on what is there now.
    """

    def __init__(
        self,
        workers: Workers,
        samples: Samples,
        book: AlertBook,
        rhythms: Rhythms,
        policies: Policies,
        looks: Looks,
    ) -> None:
        self._workers = workers
        self._samples = samples
        self._book = book
        self._rhythms = rhythms
        self._policies = policies
        self._looks = looks
        self._catching_up = CatchingUp(book, rhythms, self._evaluation, self.close)

    async def catch_up(self, worker_id: str) -> int:
        """Evaluate all samples after the last evaluated one, in order; return how many. Nothing new changes nothing."""
        return await self._catching_up.of(worker_id)

    async def evaluate(self, stored: Mapping[str, MetricSample]) -> list[str]:
        """Do so with the workers of samples that were just stored, in one round; return who has nothing left."""
        return await self._catching_up.at_once(stored)

    async def stop(self) -> None:
        """End what catches up; twice is fine. It begins again with the next nudge."""
        await self._catching_up.stop()

    async def look_failed(self, worker_id: str, at: datetime) -> bool:
        """Note that a look at a worker failed, and step its status rules; False when that is old news."""
        worker = await self._workers.get(worker_id)
        if worker is None or not await self._looks.failed(worker_id, group_of(worker.provider, worker.region), at):
            return False
        rhythm = await self._rhythms.of(worker_id, at)
        if rhythm is None:
            return False
        await self.observe(worker, lambda _: Failure(at, rhythm.interval_s))
        return True

    async def look_again(self, worker_id: str) -> None:
        """Let time alone do what it does: repeats, escalations, and what a silence or an outage held back."""
        worker = await self._workers.get(worker_id)
        if worker is None:
            await self.close(worker_id, "the worker was removed", is_removed=True)
        else:
            await self.observe(worker, lambda alerts: Glance(alerts.now), always=True)

    async def observe(
        self, worker: Worker, see: Callable[[WorkerAlerts], Observation], *, always: bool = False
    ) -> Evaluation:
        """Step all alerts of a worker over what ``see`` makes of them; commit it, if there is news or ``always``."""
        for _ in range(TRIES):
            alerts = await self._book.read(worker.id)
            evaluation = await self._evaluation(alerts, worker)
            evaluation.observe(see(alerts))
            if not (evaluation.has_news or always) or await self._book.commit(evaluation.step()) != "stale":
                return evaluation
        raise AlertsChangedMeanwhile(worker_id=worker.id, tries=TRIES)

    async def close(
        self, worker_id: str, reason: str, *, worker_name: str | None = None, is_removed: bool = False
    ) -> int:
        """End all alerts of a worker, resolving what was told; return how many were open. Twice is fine.

        Samples up to now will not be evaluated any more. ``is_removed`` forgets the worker altogether. A resolve that
        a silence holds back goes into the outbox at once, not to be sent before the silence has ended.
        """
        worker = await self._workers.get(worker_id)
        if worker is not None:
            await self._looks.forget(worker_id, group_of(worker.provider, worker.region))
        subject = Subject.of(worker) if worker else Subject(worker_id, worker_name or worker_id)
        for _ in range(TRIES):
            alerts = await self._book.read(worker_id)
            policy = await self._policies.at(alerts.policy)
            evaluation = Evaluation(alerts, subject, [], policy, await self._former(alerts, policy.by_id))
            evaluation.observe(Closing(alerts.now, reason))
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

    async def change(self, worker_id: str, act: Callable[[Evaluation, WorkerAlerts], Note | None]) -> None:
        """Let ``act`` change something of a worker's alerts, with a note of it, under the same comparison.

        ``act`` may be called again when somebody else was faster, and raises to change nothing.
        """
        worker = None if SEPARATOR in worker_id else await self._workers.get(worker_id)
        for _ in range(TRIES):
            alerts = await self._book.read(worker_id)
            evaluation = await (self._evaluation(alerts, worker) if worker else self._of_group(alerts))
            note = act(evaluation, alerts)
            if await self._book.commit(evaluation.step(), note) == "done":
                return
        raise AlertsChangedMeanwhile(worker_id=worker_id, tries=TRIES)

    async def step_group(self, group: str, see: Observation) -> bool:
        """Step the alerts of a provider's region; tell whether one is open, pending or owed a resolve."""
        for _ in range(TRIES):
            alerts = await self._book.read(group)
            evaluation = await self._of_group(alerts)
            evaluation.observe(see)
            step = evaluation.step()
            if not evaluation.has_news or await self._book.commit(step) == "done":
                return not step.is_at_rest
        raise AlertsChangedMeanwhile(worker_id=group, tries=TRIES)

    async def _evaluation(self, alerts: WorkerAlerts, worker: Worker) -> Evaluation:
        policy = await self._policies.at(alerts.policy)
        rules = [rule for rule in policy.rules if rule.selects(worker)]
        return Evaluation(alerts, Subject.of(worker), rules, policy, await self._former(alerts, policy.by_id))

    async def _of_group(self, alerts: WorkerAlerts) -> Evaluation:
        policy = await self._policies.at(alerts.policy)
        former = await self._former(alerts, policy.by_id)
        return Evaluation(alerts, Subject.of_group(alerts.worker_id), policy.for_providers, policy, former)

    async def _former(self, alerts: WorkerAlerts, rules: dict[str, AlertRule]) -> dict[str, AlertRule]:
        """Return rules that are no longer there but have states, as far as those and their open records tell."""
        gone = {rule_id: state for rule_id, state in alerts.states.items() if rule_id not in rules}
        found = {rule_id: await self._book.find_open(state.episode or "") for rule_id, state in gone.items()}
        return {rule_id: former_rule(state, found[rule_id]) for rule_id, state in gone.items()}
