"""The job as who follows it sees it: a one-shot run with its queue."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from domain.runs.run import PastAttempt, RunStatus


class Job(BaseModel):
    """A job and how it stands. ``progress`` is in percent; ``result`` is there when it succeeded.

    ``attempts`` are those before the present one. ``parked`` says why it was set aside and waits for a person.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    task: str
    status: RunStatus
    queue: str | None = None
    """None: it came by the task bus, and waits in no queue."""
    priority: int = 0
    created_at: datetime
    scheduled_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    attempt: int = 0
    progress: float | None = None
    message: str | None = None
    error: str | None = None
    result: Any = None
    parked: str | None = None
    instance_id: str | None = None
    user_id: str | None = None
    team_id: str | None = None
    correlation_id: str | None = None
    attempts: tuple[PastAttempt, ...] = ()
