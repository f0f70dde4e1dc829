"""Silences and acknowledgements: what keeps people from being told of what they know."""

from datetime import datetime, timedelta
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from domain.monitoring.selector import Patterns, Selector, fits_one, has_all
from domain.monitoring.severity import Severity, rank
from domain.scheduling.policy import UtcDatetime

LONGEST_SILENCE = timedelta(days=366)
LONGEST_ACK = timedelta(days=30)
DEFAULT_ACK = timedelta(hours=4)
LATE = timedelta(minutes=1)
"""A beginning that is longer ago than clocks differ is a mistake: nothing can be silenced that was."""

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class Matchers(BaseModel):
    """What a silence is about: every condition that is given must hold; within one, any of its values.

    ``rule_ids`` and ``worker_ids`` know ``*`` and ``?``. Without any condition it would be about everything; that is
    asked for with ``worker_ids: ["*"]``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule_ids: Patterns = ()
    worker_ids: Patterns = ()
    severities: Annotated[tuple[Severity, ...], Field(max_length=3)] = ()
    labels: Selector = {}

    @model_validator(mode="after")
    def _about_something(self) -> "Matchers":
        if not (self.rule_ids or self.worker_ids or self.severities or self.labels):
            raise ValueError(
                'name what to silence by rule_ids, worker_ids, severities or labels; all: worker_ids = ["*"]'
            )
        return self

    def match(self, rule_id: str, worker_id: str, severity: Severity, labels: dict[str, str]) -> bool:
        """Tell whether an alert is meant."""
        return (
            (not self.severities or severity in self.severities)
            and fits_one(rule_id, self.rule_ids)
            and fits_one(worker_id, self.worker_ids)
            and has_all(labels, self.labels)
        )


class SilenceRequest(BaseModel):
    """What somebody says to silence alerts: until ``ends_at``, or for ``for_s`` seconds; from now on or later."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    matchers: Matchers
    starts_at: UtcDatetime | None = None
    ends_at: UtcDatetime | None = None
    for_s: Annotated[float, Field(gt=0, le=LONGEST_SILENCE.total_seconds(), allow_inf_nan=False)] | None = None
    reason: Text
    author: Name | None = None

    def problems(self, now: datetime) -> list[str]:
        """Return all that is wrong with its times."""
        start = self.starts_at or now
        end = self.end(now)
        found = []
        if (self.ends_at is None) == (self.for_s is None):
            found.append("ends_at: give either ends_at or for_s")
        if start < now - LATE:
            found.append("starts_at: it is past already; leave it out to begin now")
        if end is not None and end <= start:
            found.append("ends_at: it must be after starts_at")
        if end is not None and end <= now:
            found.append("ends_at: it is past already")
        if end is not None and end - start > LONGEST_SILENCE:
            found.append(f"ends_at: a silence lasts {LONGEST_SILENCE.days} days at most; switch the rule off instead")
        return found

    def end(self, now: datetime) -> datetime | None:
        """Return when it would end."""
        if self.ends_at is not None or self.for_s is None:
            return self.ends_at
        return (self.starts_at or now) + timedelta(seconds=self.for_s)


class Silence(BaseModel):
    """A time in which nothing is told of the alerts it matches. It mutes sending and changes no alert.

    It holds in [starts_at, ends_at). Ending it early sets ``ends_at``.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    matchers: Matchers
    starts_at: UtcDatetime
    ends_at: UtcDatetime
    reason: str
    author: str
    created_at: UtcDatetime

    def is_active(self, now: datetime) -> bool:
        """Tell whether it holds now."""
        return self.starts_at <= now < self.ends_at

    def state(self, now: datetime) -> str:
        """Return ``scheduled``, ``active`` or ``expired``."""
        if now < self.starts_at:
            return "scheduled"
        return "active" if now < self.ends_at else "expired"


class Ack(BaseModel):
    """Somebody knows of one episode of an alert: no repeats and no escalation up to ``severity``, before ``until``."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    by: str
    note: str = ""
    at: UtcDatetime
    until: UtcDatetime
    severity: Severity

    def covers(self, severity: Severity, now: datetime) -> bool:
        """Tell whether it holds now for an alert of this severity."""
        return now < self.until and rank(severity) <= rank(self.severity)


AckNote = Annotated[str, StringConstraints(strip_whitespace=True, max_length=500)]
AckSeconds = Annotated[float, Field(gt=0, le=LONGEST_ACK.total_seconds(), allow_inf_nan=False)]


class AckRequest(BaseModel):
    """What somebody says to acknowledge an alert, until ``until`` or for ``for_s`` seconds; for four hours without.

    ``severity`` is the worst that is known: what rises above it is told again; left out, it is the present one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    note: AckNote = ""
    for_s: AckSeconds | None = None
    until: UtcDatetime | None = None
    severity: Severity | None = None
    by: Name | None = None

    def problems(self, now: datetime) -> list[str]:
        """Return all that is wrong with its times."""
        found = []
        if self.until is not None and self.for_s is not None:
            found.append("until: give either until or for_s")
        if self.until is not None and self.until <= now:
            found.append("until: it is past already")
        if self.until is not None and self.until - now > LONGEST_ACK:
            found.append(f"until: an acknowledgement lasts {LONGEST_ACK.days} days at most; silence what lasts longer")
        return found

    def end(self, now: datetime) -> datetime:
        """Return when it would end."""
        return self.until or now + (timedelta(seconds=self.for_s) if self.for_s else DEFAULT_ACK)
