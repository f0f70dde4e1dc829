"""One step of a worker's alerts: all rules that apply, over some observations."""

from collections.abc import Mapping, Sequence

from application.monitoring.alert_book import AlertStep, WorkerAlerts
from domain.monitoring.alert import AlertState, step
from domain.monitoring.notification import Notification
from domain.monitoring.observation import Closing, Observation, Tick
from domain.monitoring.record import Change, compare
from domain.monitoring.rule import AlertRule


class Evaluation:
    """Collect what observations do to the alerts of one worker. Pure: it reads nothing and writes nothing."""

    def __init__(
        self, before: WorkerAlerts, worker_name: str, rules: Sequence[AlertRule], known: Mapping[str, AlertRule]
    ) -> None:
        """``rules`` are those that apply; ``known`` are all whose states may have to be closed, by id."""
        self._before = before
        self._worker_name = worker_name
        self._known = known
        self._rules = {rule.id: rule for rule in rules}
        self._states: dict[str, AlertState] = dict(before.states)
        self._gone: set[str] = set()
        self.changes: list[Change] = []
        self._notifications: list[Notification] = []
        self.has_news = False

    def observe(self, seen: Observation) -> None:
        """Step every alert; those whose rule no longer applies are closed first."""
        reason = seen.reason if isinstance(seen, Closing) else "the rule no longer applies to this worker"
        for rule_id in list(self._states):
            if rule_id not in self._rules:
                self._close(rule_id, Closing(seen.at, reason))
        for rule in self._rules.values():
            if rule.is_no_data or not isinstance(seen, Tick):
                self._step(rule, seen)

    def step(self, cursor_ms: int | None = None, *, is_closing: bool = False) -> AlertStep:
        """Return what is to be committed: the states that changed, and what is told."""
        changed: dict[str, AlertState | None] = {
            rule_id: state for rule_id, state in self._states.items() if state != self._before.states.get(rule_id)
        }
        return AlertStep(
            before=self._before,
            cursor_ms=cursor_ms,
            states=changed | dict.fromkeys(self._gone),
            changes=self.changes,
            notifications=self._notifications,
            is_closing=is_closing,
        )

    def _close(self, rule_id: str, closing: Closing) -> None:
        rule = self._known.get(rule_id)
        if rule is not None:
            self._step(rule, closing)
        del self._states[rule_id]
        self._gone.add(rule_id)
        self.has_news = True

    def _step(self, rule: AlertRule, seen: Observation) -> None:
        before = self._states.get(rule.id) or AlertState(rule_id=rule.id, worker_id=self._before.worker_id)
        after, notifications = step(before, seen, rule)
        if after == before:
            return
        reason = seen.reason if isinstance(seen, Closing) else None
        change = compare(before, after, rule, self._worker_name, seen.at, reason)
        self._states[rule.id] = after
        self._notifications += notifications
        if change.record is not None:
            self.changes.append(change)
        self.has_news = True
