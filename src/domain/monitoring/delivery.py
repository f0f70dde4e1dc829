"""What became of a message: when it was tried, how often, and what the other side said."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from domain.monitoring.notification import Notification

MOST_ALERTS = 50
"""Alerts that a delivery names; ``alerts_total`` counts all."""

Outcome = Literal["sent", "retrying", "split", "given_up"]


class DeliveredAlert(BaseModel):
    """One alert of a message."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    alert_id: str
    kind: str
    rule_id: str
    worker_id: str
    severity: str

    @classmethod
    def of(cls, notification: Notification) -> "DeliveredAlert":
        """Return what is kept of a notification."""
        return cls(
            alert_id=notification.alert_id,
            kind=notification.kind,
            rule_id=notification.rule_id,
            worker_id=notification.worker_id,
            severity=notification.severity,
        )


class Delivery(BaseModel):
    """The delivery of one message to one channel. ``id`` is the key that the receiver sees."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    channel: str
    outcome: Outcome
    tries: int
    title: str
    alerts: tuple[DeliveredAlert, ...] = ()
    alerts_total: int = 0
    is_test: bool = False
    status: int | None = None
    answer: str = ""
    why: str = ""
    instance: str = ""


class DatedDelivery(Delivery):
    """A delivery with its times, which the store gives it."""

    first_tried_at: datetime
    tried_at: datetime


def alerts_of(notifications: Sequence[Notification]) -> tuple[DeliveredAlert, ...]:
    """Return the alerts that a delivery names."""
    return tuple(DeliveredAlert.of(one) for one in notifications[:MOST_ALERTS])
