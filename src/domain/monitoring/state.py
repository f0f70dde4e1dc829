"""What the alert machine remembers."""

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from domain.monitoring.notification import Told
from domain.monitoring.observation import Verdict
from domain.monitoring.severity import Severity
from domain.monitoring.silence import Ack


class AlertPhase(StrEnum):
    """Where an alert is."""

    OK = "ok"
    PENDING = "pending"
    FIRING = "firing"
    RECOVERING = "recovering"


OPEN = frozenset({AlertPhase.FIRING, AlertPhase.RECOVERING})
"""Phases in which people are to know that something is wrong."""


class AlertState(BaseModel):
    """Everything the machine remembers of one rule and one worker; plain JSON.

    ``run`` is the verdict that every observation since ``run_since`` gave, without a gap; None after an undecided
    one. ``heard_at`` is the newest sample, ``ticked_at`` the newest tick: what is not newer changes nothing.
    ``episode`` names what is between leaving ``ok`` and returning to it; ``metric`` is what its rule watched when it
    began, ``severity`` the worst that it has reached, ``ack`` who knows of it. ``told`` is the firing that was told
    and not yet taken back. ``silenced_until`` and ``hidden_by`` say what keeps it from being told.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    rule_id: str
    worker_id: str
    phase: AlertPhase = AlertPhase.OK
    phase_since: datetime | None = None
    run: Verdict | None = None
    run_since: datetime | None = None
    heard_at: datetime | None = None
    ticked_at: datetime | None = None
    episode: str | None = None
    opened_at: datetime | None = None
    fired_at: datetime | None = None
    value: float | None = None
    subject: str | None = None
    metric: str | None = None
    severity: Severity | None = None
    ack: Ack | None = None
    told: Told | None = None
    silenced_until: datetime | None = None
    hidden_by: str | None = None

    @property
    def is_at_rest(self) -> bool:
        """Tell whether nothing is wrong and nothing is owed."""
        return self.phase is AlertPhase.OK and self.told is None
