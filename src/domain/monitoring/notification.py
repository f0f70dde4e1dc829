"""What people are told of an alert, and what was told."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from domain.monitoring.sample import FRACTIONS
from domain.monitoring.severity import Severity

NotificationKind = Literal["firing", "repeat", "escalated", "resolved"]


class Told(BaseModel):
    """A firing that was handed to sending and not yet taken back.

    ``severity`` and ``at`` are of the last word about it, ``number`` counts the words after the first.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    alert_id: str
    fired_at: datetime
    severity: Severity
    at: datetime | None = None
    number: int = 0

    @property
    def last_at(self) -> datetime:
        """When it was told last; before versions that repeated, that was when it fired."""
        return self.at or self.fired_at


class Notification(BaseModel):
    """One message about one alert. ``alert_id`` matches a resolve, repeats and escalations to their firing.

    ``number`` counts repeats and escalations of one alert. ``text`` are the rule's own words, if it has any.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: NotificationKind
    alert_id: str
    number: int = 0
    rule_id: str
    worker_id: str
    worker_name: str = ""
    severity: Severity
    metric: str
    value: float | None = None
    subject: str | None = None
    at: datetime
    fired_at: datetime
    reason: str
    text: str | None = None
    provider: str = ""
    region: str = ""
    labels: dict[str, str] = {}
    """Of the worker, for routes and groups."""
    not_before: datetime | None = None
    """It does not go out before; what comes after it in its group waits behind it."""

    @property
    def key(self) -> str:
        """Tell this message from all others; a receiver that sees it twice has one message."""
        return f"{self.alert_id}/{self.kind}" + (f"/{self.number}" if self.number else "")

    @property
    def lane(self) -> str:
        """Name what must arrive in order: the messages of one rule about one worker."""
        return f"{self.rule_id}@{self.worker_id}"

    @property
    def summary(self) -> str:
        """Say it in one line."""
        return f"{self.rule_id} on {self.worker_id} {self.kind}: {self._what}"

    @property
    def about(self) -> str:
        """Say the same for who tells the kind himself: in the rule's own words, if it has any."""
        return self.text or f"{self.rule_id} on {self.worker_id}: {self._what}"

    @property
    def _what(self) -> str:
        return f"{describe_value(self.metric, self.value, self.subject)} ({self.reason})"


def describe_value(metric: str, value: float | None, subject: str | None) -> str:
    """Return a metric with its value as a person reads it: ``cpu_utilization 97 %``, ``no_data 35 s``."""
    name = metric.partition(".")[0]
    where = f" {subject}" if subject else ""
    if value is None:
        return f"{metric}{where}"
    if name == "no_data":
        return f"no sample for {value:.0f} s" if value else "samples again"
    if name == "status":
        return f"status{where}"
    if name == "provider_down":
        return f"{value:.0f} workers cannot be looked at" if value else "workers can be looked at"
    shown = f"{value * 100:.1f} %" if name in FRACTIONS else f"{value:g}"
    return f"{name}{where} {shown}"
