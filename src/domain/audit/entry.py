"""What was done because a person or a program asked for it."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class FieldChange(BaseModel):
    """A field before and after; null where there was, or is, none. A secret is shown as ``(hidden)`` on both sides."""

    model_config = ConfigDict(frozen=True)

    before: Any = None
    after: Any = None


class AuditEntry(BaseModel):
    """One change that took effect: who asked for it, when, and what it made different.

    What the program does by itself, such as fires, retries and parking, is no entry: that is the history of runs.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    at: datetime
    action: str
    """Past tense and dotted, such as ``schedule.paused``."""
    target: str
    """The id of what it was done to: of a schedule, a one-shot or a worker."""
    actor: str
    """The name of an API key, ``user@host`` of a command line, ``api``, the id of an instance, or of a job."""
    via: str
    """``api``, ``cli``, ``program`` (code in a process) or ``job`` (the body of one)."""
    client: str | None = None
    """What the caller said of itself, unchecked."""
    instance: str
    """The process that did it."""
    reason: str | None = None
    run_id: str | None = None
    """The run whose body asked."""
    changes: dict[str, FieldChange] = Field(default_factory=dict)
    facts: dict[str, Any] = Field(default_factory=dict)
    """What else is known, such as the runs that were cancelled and the status each had."""
