"""Notifications for tests of what sends them."""

from datetime import UTC, datetime
from typing import Any

from domain.monitoring.notification import Notification

AT = datetime(2026, 11, 22, 8, tzinfo=UTC)


def notification(kind: str = "firing", worker_id: str = "w1", **facts: Any) -> Notification:
    """Return one about the CPU of a worker."""
    at = facts.pop("at", AT)
    made = {
        "kind": kind,
        "alert_id": f"{facts.get('rule_id', 'cpu')}@{worker_id}@1",
        "rule_id": "cpu",
        "worker_id": worker_id,
        "severity": "warning",
        "metric": "cpu_utilization",
        "value": 0.95,
        "at": at,
        "fired_at": at,
        "reason": "> 0.9",
        **facts,
    }
    return Notification.model_validate(made)
