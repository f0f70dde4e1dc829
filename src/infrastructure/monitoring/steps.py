"""A step of a worker's alerts, as ``commit_alerts`` takes it: states, records, events and messages are opaque texts."""

import json

from application.monitoring.alert_book import AlertStep
from application.scheduling.moments import milliseconds
from domain.monitoring.notification import Notification
from domain.monitoring.record import AlertRecord
from domain.monitoring.routing import Routing

FAR_AHEAD_MS = 2**53
"""When an alert is looked at again that only an observation changes; a change of rules or silences comes before."""


def words_of(step: AlertStep, routing: Routing) -> list[str | int]:
    """Return the arguments of one step."""
    before = step.before
    words: list[str | int] = [
        before.worker_id,
        before.version,
        before.policy,
        "" if step.cursor_ms is None else step.cursor_ms,
        "1" if step.is_closing else "",
        _look_at(step),
        "" if step.is_down is None else "down" if step.is_down else "up",
        _told(step, routing) if step.changes or step.notifications else "",
        len(step.states),
    ]
    for rule_id, state in step.states.items():
        words += (rule_id, state.model_dump_json(exclude_defaults=True) if state else "")
    return words


def _look_at(step: AlertStep) -> str | int:
    if step.is_down is not None or step.is_at_rest or step.is_closing:
        return ""
    return FAR_AHEAD_MS if step.look_at is None else milliseconds(step.look_at)


def _told(step: AlertStep, routing: Routing) -> str:
    """Return what others see of a step, which most have nothing of."""
    records = [(change, change.record) for change in step.changes if change.record is not None]
    return json.dumps(
        {
            "open": [(record.id, "" if change.is_over else record.model_dump_json()) for change, record in records],
            "history": [record.model_dump_json() for change, record in records if change.is_over and record.fired_at],
            "events": [(change.topic, _payload(record)) for change, record in records if change.topic],
            "outbox": [_letter(notification, routing) for notification in step.notifications],
            "wait_ms": round(routing.grouping.wait_s * 1000),
            "interval_ms": round(routing.grouping.interval_s * 1000),
        }
    )


def _letter(notification: Notification, routing: Routing) -> tuple[str, str, str, int, list[tuple[str, str]]]:
    """Return one message for the outbox: whose it is, whether it is the last, where it goes."""
    before = notification.not_before
    return (
        notification.alert_id,
        "1" if notification.kind == "resolved" else "",
        notification.model_dump_json(),
        round(before.timestamp() * 1000) if before else 0,
        list(routing.lanes(notification).items()),
    )


def _payload(record: AlertRecord) -> str:
    facts = record.model_dump(mode="json")
    return json.dumps({"alert_id": facts.pop("id"), **facts})
