"""An alert as everybody may see it: in lists, in events, in the history."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from domain.monitoring.notification import describe_value
from domain.monitoring.rule import AlertRule
from domain.monitoring.severity import Severity
from domain.monitoring.silence import Ack
from domain.monitoring.state import OPEN, AlertPhase, AlertState

AlertTopic = Literal[
    "alert.pending",
    "alert.firing",
    "alert.escalated",
    "alert.acknowledged",
    "alert.unacknowledged",
    "alert.resolved",
]
RecordState = Literal["pending", "firing", "recovering", "resolved"]


class AlertRecord(BaseModel):
    """One episode of one rule on one worker. ``state`` is its phase, or ``resolved``. ``value`` is the last one seen.

    ``ack`` is who knows of it; ``silenced_until`` and ``hidden_by`` say why it is not told, ``told_at`` when it was
    told last, if it was.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    rule_id: str
    worker_id: str
    worker_name: str
    state: RecordState
    severity: Severity
    metric: str
    value: float | None = None
    subject: str | None = None
    fire: float | None = None
    clear: float | None = None
    opened_at: datetime
    fired_at: datetime | None = None
    resolved_at: datetime | None = None
    updated_at: datetime
    reason: str | None = None
    ack: Ack | None = None
    silenced_until: datetime | None = None
    hidden_by: str | None = None
    told_at: datetime | None = None
    summary: str


class Change(BaseModel):
    """What one step did to an episode: its record, and the event to publish if it changed its phase notably.

    ``record`` is None where nothing is open. ``is_over`` says that the episode ended with this step; one that never
    fired ends without an event.
    """

    model_config = ConfigDict(frozen=True)

    record: AlertRecord | None = None
    topic: AlertTopic | None = None
    is_over: bool = False


def compare(
    before: AlertState, after: AlertState, rule: AlertRule, worker_name: str, at: datetime, reason: str | None = None
) -> Change:
    """Return what ``step`` changed between two states of one rule and worker."""
    if after.phase is AlertPhase.OK:
        return _ended(before, after, rule, worker_name, at, reason)
    record = _record(after, after.value, rule, worker_name, at, _STATES[after.phase])
    if after.phase is AlertPhase.FIRING and before.fired_at is None:
        return Change(record=record, topic="alert.firing")
    if after.phase is AlertPhase.PENDING and before.phase is AlertPhase.OK:
        return Change(record=record, topic="alert.pending")
    if after.severity != before.severity and before.severity is not None:
        return Change(record=record, topic="alert.escalated")
    if after.ack != before.ack:
        return Change(record=record, topic="alert.acknowledged" if after.ack else "alert.unacknowledged")
    return Change(record=record)


_STATES: dict[AlertPhase, RecordState] = {
    AlertPhase.PENDING: "pending",
    AlertPhase.FIRING: "firing",
    AlertPhase.RECOVERING: "recovering",
}


def _ended(
    before: AlertState, after: AlertState, rule: AlertRule, worker_name: str, at: datetime, reason: str | None
) -> Change:
    if before.phase is AlertPhase.OK:
        return Change()
    record = _record(before, after.value, rule, worker_name, at, "resolved")
    record = record.model_copy(update={"resolved_at": at, "reason": reason})
    return Change(record=record, topic="alert.resolved" if before.phase in OPEN else None, is_over=True)


def _record(
    state: AlertState, value: float | None, rule: AlertRule, worker_name: str, at: datetime, shown: RecordState
) -> AlertRecord:
    what = describe_value(rule.metric, value, state.subject)
    return AlertRecord(
        id=state.episode or "",
        rule_id=state.rule_id,
        worker_id=state.worker_id,
        worker_name=worker_name,
        state=shown,
        severity=state.severity or rule.severity,
        metric=rule.metric,
        value=value,
        subject=state.subject,
        fire=rule.fire,
        clear=rule.clear_level,
        opened_at=state.opened_at or at,
        fired_at=state.fired_at,
        updated_at=at,
        ack=state.ack,
        silenced_until=state.silenced_until,
        hidden_by=state.hidden_by,
        told_at=state.told.last_at if state.told else None,
        summary=f"{rule.id} on {worker_name}: {what}",
    )


def former_rule(state: AlertState, record: AlertRecord | None) -> AlertRule:
    """Return what a state and its open record tell of a rule that is gone: enough to close it."""
    told = state.told.severity if state.told else None
    return AlertRule.model_construct(
        id=state.rule_id,
        metric=record.metric if record else state.metric or "?",
        fire=record.fire if record else None,
        clear=record.clear if record else None,
        severity=state.severity or told or (record.severity if record else "warning"),
    )
