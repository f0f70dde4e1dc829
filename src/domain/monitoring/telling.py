"""What people are told, and when: derived from the state, never from an edge.

As long as what was told differs from what is, the next step tells it. So a silence, a lost message or a restart
cannot lose a resolve.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from domain.monitoring.notification import Notification, NotificationKind, Told
from domain.monitoring.rule import AlertRule
from domain.monitoring.severity import Severity, rank
from domain.monitoring.state import OPEN, AlertPhase, AlertState


@dataclass(frozen=True, slots=True)
class Outlook:
    """What else decides on telling: the time it is, silences by severity with their ends, and what hides the alert.

    ``hidden_by`` names what is wrong above it: then nothing is told but a resolve.
    """

    now: datetime
    silenced: Mapping[Severity, datetime] = field(default_factory=dict)
    hidden_by: str | None = None

    def silenced_until(self, severity: Severity) -> datetime | None:
        """Return until when nothing is told of this severity; None when it may be."""
        until = self.silenced.get(severity)
        return until if until is not None and self.now < until else None


def worsen(state: AlertState, rule: AlertRule, now: datetime) -> AlertState:
    """Raise the severity of what fires, as its value and its age say; it never falls before the episode ends."""
    if state.phase is not AlertPhase.FIRING or state.fired_at is None:
        return state
    reached = rule.severity_at(state.value, (now - state.fired_at).total_seconds())
    if state.severity is not None and rank(reached) <= rank(state.severity):
        return state
    return state.model_copy(update={"severity": reached})


def tell(
    state: AlertState, at: datetime, rule: AlertRule, outlook: Outlook, closed: str | None = None
) -> tuple[AlertState, list[Notification]]:
    """Bring what was told in line with what is: take back what is over, tell what is open, worse, or still so.

    ``closed`` says why nothing will be observed any more: a resolve that a silence holds back is then handed out at
    once, to be sent when the silence has ended.
    """
    notifications: list[Notification] = []
    if state.told is not None and state.told.alert_id != _current(state):
        until = outlook.silenced_until(state.told.severity)
        if until is not None and closed is None:
            return _mute(state, until, None), []
        notifications.append(_notification("resolved", state.told, state, at, rule, closed, until))
        state = state.model_copy(update={"told": None})
    kind = _owed(state, rule, outlook)
    until = outlook.silenced_until(state.severity or rule.severity) if state.phase in OPEN else None
    state = _mute(state, until, outlook.hidden_by if state.phase in OPEN else None)
    if kind is None or until is not None or outlook.hidden_by is not None:
        return state, notifications
    told = _told(kind, state, rule, outlook.now)
    return state.model_copy(update={"told": told}), [*notifications, _notification(kind, told, state, at, rule)]


def next_look(state: AlertState, rule: AlertRule, outlook: Outlook) -> datetime | None:
    """Return when time alone may change what is told or how bad it is; None when only an observation can."""
    moments = [state.silenced_until] if state.silenced_until is not None else []
    if state.phase is AlertPhase.FIRING and state.fired_at is not None:
        moments += [
            state.fired_at + timedelta(seconds=step.after_s)
            for step in rule.escalate
            if step.after_s is not None and rank(step.severity) > rank(state.severity or rule.severity)
        ]
        moments += _next_word(state, rule, outlook)
    return min(moments, default=None)


def _next_word(state: AlertState, rule: AlertRule, outlook: Outlook) -> list[datetime]:
    """Return when the next repeat, or an escalation that an acknowledgement holds back, may be told."""
    if state.told is None or state.hidden_by is not None or state.silenced_until is not None:
        return []
    severity = state.severity or rule.severity
    acked_until = state.ack.until if state.ack is not None and state.ack.covers(severity, outlook.now) else None
    moments = [] if acked_until is None or state.told.severity == severity else [acked_until]
    if rule.repeat_s is not None:
        due = state.told.last_at + timedelta(seconds=rule.repeat_s)
        moments.append(due if acked_until is None else max(due, acked_until))
    return moments


def _current(state: AlertState) -> str | None:
    return state.episode if state.phase in OPEN else None


def _mute(state: AlertState, until: datetime | None, hidden_by: str | None) -> AlertState:
    if (state.silenced_until, state.hidden_by) == (until, hidden_by):
        return state
    return state.model_copy(update={"silenced_until": until, "hidden_by": hidden_by})


def _owed(state: AlertState, rule: AlertRule, outlook: Outlook) -> NotificationKind | None:
    """Return what is to be told now of an open alert, if nothing mutes it."""
    if _current(state) is None or state.fired_at is None:
        return None
    if state.told is None:
        return "firing"
    severity = state.severity or rule.severity
    if state.ack is not None and state.ack.covers(severity, outlook.now):
        return None
    if state.phase is not AlertPhase.FIRING:
        return None
    if rank(severity) > rank(state.told.severity):
        return "escalated"
    if rule.repeat_s is None:
        return None
    return "repeat" if outlook.now - state.told.last_at >= timedelta(seconds=rule.repeat_s) else None


def _told(kind: NotificationKind, state: AlertState, rule: AlertRule, now: datetime) -> Told:
    severity = state.severity or rule.severity
    if state.told is None:
        return Told(alert_id=state.episode or "", fired_at=state.fired_at or now, severity=severity, at=now)
    number = state.told.number + 1
    return state.told.model_copy(update={"severity": severity, "at": now, "number": number})


def _notification(
    kind: NotificationKind,
    told: Told,
    state: AlertState,
    at: datetime,
    rule: AlertRule,
    closed: str | None = None,
    not_before: datetime | None = None,
) -> Notification:
    return Notification(
        kind=kind,
        alert_id=told.alert_id,
        number=told.number if kind in ("repeat", "escalated") else 0,
        rule_id=state.rule_id,
        worker_id=state.worker_id,
        severity=told.severity,
        metric=rule.metric,
        value=state.value,
        subject=state.subject,
        at=at,
        fired_at=told.fired_at,
        reason=closed or reason(kind, state, rule),
        not_before=not_before,
    )


def reason(kind: NotificationKind, state: AlertState, rule: AlertRule) -> str:
    """Say in the rule's words why it is told."""
    text = _resolved(rule) if kind == "resolved" else _wrong(rule)
    if kind == "escalated":
        return f"{text}; now {state.severity or rule.severity}"
    return f"{text}; still so" if kind == "repeat" else text


def _wrong(rule: AlertRule) -> str:
    held = f" for {rule.for_s:g} s" if rule.for_s else ""
    match rule.kind:
        case "no_data":
            return "nothing is heard of the worker"
        case "status":
            return f"its status or a check is not as it should be{held}"
        case "provider_down":
            return f"no worker of the region can be looked at{held}"
        case _:
            return f"{rule.comparison} {_level(rule.fire)}{held}"


def _resolved(rule: AlertRule) -> str:
    held = f" for {rule.keep_firing_for_s:g} s" if rule.keep_firing_for_s else ""
    match rule.kind:
        case "no_data":
            return "the worker is heard again"
        case "status":
            return f"its status and checks are well again{held}"
        case "provider_down":
            return f"workers of the region can be looked at again{held}"
        case _:
            return f"no longer {rule.comparison} {_level(rule.clear_level)}{held}"


def _level(level: float | None) -> str:
    return "?" if level is None else f"{level:g}"
