"""One step of a worker's alerts: all rules that apply, over some observations."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from application.monitoring.alert_book import AlertStep, WorkerAlerts
from application.monitoring.looks import SEPARATOR, group_of
from application.monitoring.policy import Policy
from domain.monitoring.alert import stay_well, step
from domain.monitoring.notification import Notification
from domain.monitoring.observation import CHECK, Closing, Glance, Observation
from domain.monitoring.record import Change, compare
from domain.monitoring.rule import PROVIDER_DOWN, AlertRule
from domain.monitoring.silence import Ack
from domain.monitoring.state import OPEN, AlertPhase, AlertState
from domain.monitoring.telling import Outlook, next_look
from domain.monitoring.wording import render
from domain.monitoring.worker import Worker

FIRST = {"provider_down": 0, "no_data": 1, "status": 2, "metric": 3}
"""What hides others is stepped before them."""
DOWN = frozenset({AlertPhase.PENDING, AlertPhase.FIRING})
"""Phases of a provider's alert that hide those of its workers: also while it is not yet sure."""


@dataclass(frozen=True)
class Subject:
    """What alerts are about: a worker, or a provider's region."""

    id: str
    name: str
    provider: str = ""
    region: str = ""
    labels: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, worker: Worker) -> "Subject":
        """Return a worker as what alerts are about."""
        return cls(worker.id, worker.name, worker.provider, worker.region or "", dict(worker.labels))

    @classmethod
    def of_group(cls, group: str) -> "Subject":
        """Return a provider's region as what alerts are about."""
        provider, _, region = group.partition(SEPARATOR)
        return cls(group, f"{provider} in {region}" if region else provider, provider, region)

    @property
    def group(self) -> str:
        """Return the provider's region that it is in."""
        return group_of(self.provider, self.region)


class Evaluation:
    """Collect what observations do to the alerts of one worker. Pure: it reads nothing and writes nothing."""

    def __init__(
        self,
        before: WorkerAlerts,
        subject: Subject,
        rules: list[AlertRule],
        policy: Policy,
        former: Mapping[str, AlertRule] | None = None,
    ) -> None:
        """``rules`` are those that apply; ``former`` are rules that no longer are, but whose states must be closed."""
        self._before = before
        self._subject = subject
        self._policy = policy
        self._former = former or {}
        self._rules = {rule.id: rule for rule in sorted(rules, key=lambda rule: FIRST[rule.kind])}
        self._states: dict[str, AlertState] = dict(before.states)
        self._gone: set[str] = set()
        self.changes: list[Change] = []
        self._notifications: list[Notification] = []
        self.has_news = False

    def observe(self, seen: Observation) -> None:
        """Step every alert; those whose rule no longer applies, or watches something else now, are closed first."""
        reason = seen.reason if isinstance(seen, Closing) else "the rule no longer applies to this worker"
        for rule_id, state in list(self._states.items()):
            rule = self._rules.get(rule_id)
            if rule is None:
                self._close(rule_id, Closing(seen.at, reason))
            elif state.metric not in (None, rule.metric):
                self._close(rule_id, Closing(seen.at, "the rule watches something else now"))
        for rule in self._rules.values():
            self._step(rule, seen)

    @property
    def is_silence_told(self) -> bool:
        """Tell whether every alert that silence can raise fires."""
        rules = [rule for rule in self._rules.values() if rule.is_no_data]
        return all(rule.id in self._states and self._states[rule.id].phase is AlertPhase.FIRING for rule in rules)

    def acknowledge(self, alert_id: str, ack: Ack | None) -> AlertState | None:
        """Note who knows of an open episode, or take that back; return what it was, None when it is not open."""
        for rule_id, state in self._states.items():
            if state.episode == alert_id and rule_id in self._rules:
                self._states[rule_id] = state.model_copy(update={"ack": ack})
                self._step(self._rules[rule_id], Glance(self._before.now), was=state)
                return state
        return None

    def step(self, cursor_ms: int | None = None, *, is_closing: bool = False) -> AlertStep:
        """Return what is to be committed: the states that changed, what is told, and when to look again."""
        changed: dict[str, AlertState | None] = {
            rule_id: state for rule_id, state in self._states.items() if state is not self._before.states.get(rule_id)
        }
        return AlertStep(
            before=self._before,
            cursor_ms=cursor_ms,
            states=changed | {rule_id: None for rule_id in self._gone if rule_id not in self._states},
            changes=self.changes,
            notifications=self._notifications,
            is_closing=is_closing,
            look_at=self._look_at(),
            is_at_rest=all(state.is_at_rest for state in self._states.values()),
            is_down=self._is_down(),
        )

    def _look_at(self) -> datetime | None:
        moments = [
            moment
            for rule in self._rules.values()
            if (state := self._states.get(rule.id)) is not None
            and not state.is_at_rest
            and (moment := next_look(state, rule, self._outlook(rule))) is not None
        ]
        return min(moments, default=None)

    def _is_down(self) -> bool | None:
        """Tell whether the alerts of the region's workers are hidden; None of a worker."""
        if SEPARATOR not in self._subject.id:
            return None
        return any(
            self._states[rule.id].phase in DOWN
            for rule in self._rules.values()
            if rule.kind == PROVIDER_DOWN and rule.id in self._states
        )

    def _close(self, rule_id: str, closing: Closing) -> None:
        rule = self._policy.by_id.get(rule_id) or self._former.get(rule_id)
        if rule is not None:
            self._step(rule, closing)
        del self._states[rule_id]
        self._gone.add(rule_id)
        self.has_news = True

    def _step(self, rule: AlertRule, seen: Observation, was: AlertState | None = None) -> None:
        found = self._states.get(rule.id) or AlertState(rule_id=rule.id, worker_id=self._before.worker_id)
        before = was or found
        well = None if was else stay_well(found, seen, rule)
        if well is found:
            return
        if well is not None:
            self._states[rule.id], self.has_news = well, True
            return
        after, notifications = step(found, seen, rule, self._outlook(rule))
        if after == before:
            return
        reason = seen.reason if isinstance(seen, Closing) else None
        change = compare(before, after, rule, self._subject.name, seen.at, reason)
        self._states[rule.id] = after
        self._notifications += [complete(one, rule, self._subject) for one in notifications]
        if change.record is not None:
            self.changes.append(change)
        self.has_news = True

    def _outlook(self, rule: AlertRule) -> Outlook:
        subject, now = self._subject, self._before.now
        silenced = self._policy.silenced(rule.id, subject.id, subject.labels, now)
        return Outlook(now, silenced, self._hidden_by(rule))

    def _hidden_by(self, rule: AlertRule) -> str | None:
        """Return what is wrong above an alert and tells more: its provider's region, or that its worker is down."""
        if rule.kind == PROVIDER_DOWN:
            return None
        if self._subject.group in self._before.down:
            return f"{self._subject.group} is down"
        if rule.kind != "metric":
            return None
        hiding = (one for one in self._rules.values() if one.kind in ("no_data", "status"))
        return next((one.id for one in hiding if self._says_down(one)), None)

    def _says_down(self, rule: AlertRule) -> bool:
        """Tell whether an open alert says that the worker itself is down; a check that failed does not."""
        state = self._states.get(rule.id)
        return state is not None and state.phase in OPEN and not (state.subject or "").startswith(CHECK)


def complete(one: Notification, rule: AlertRule, subject: Subject) -> Notification:
    """Add what is known of what a message is about, and the rule's own words."""
    facts = {
        "worker_name": subject.name,
        "provider": subject.provider,
        "region": subject.region,
        "labels": subject.labels,
    }
    one = one.model_copy(update=facts)
    return one if rule.message is None else one.model_copy(update={"text": render(rule.message, words(one))})


def words(one: Notification) -> dict[str, str]:
    """Return what templates may name of a message."""
    return {
        "rule": one.rule_id,
        "severity": one.severity,
        "kind": one.kind,
        "worker": one.worker_name or one.worker_id,
        "worker_id": one.worker_id,
        "provider": one.provider,
        "region": one.region,
        "labels": ", ".join(f"{name}={value}" for name, value in sorted(one.labels.items())),
        "metric": one.metric,
        "value": "" if one.value is None else f"{one.value:g}",
        "subject": one.subject or "",
        "reason": one.reason,
        "summary": one.summary,
        "since": one.fired_at.isoformat(timespec="seconds"),
    }
