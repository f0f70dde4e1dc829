"""What somebody says to submit a job."""

import hashlib
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from domain.jobs.queue import Priority, QueueName
from domain.scheduling.policy import YEAR_S, UtcDatetime

Person = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Key = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,200}$")]
"""Visible ASCII without spaces, as a header carries it."""


class JobRequest(BaseModel):
    """A one-shot job as it is asked for.

    ``task`` is the job class's name and ``params`` its data. ``priority`` holds within the queue. ``expires_in_s``:
    when nobody started it so long after it was due, it expires. ``user_id`` and ``team_id`` are the caller's words for
    whom it is for; an idempotency key belongs to them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Annotated[str, Field(min_length=1, max_length=200)]
    params: dict[str, Any] = Field(default_factory=dict)
    queue: QueueName | None = None
    priority: Priority = 0
    scheduled_at: UtcDatetime | None = None
    expires_in_s: Annotated[float, Field(gt=0, le=YEAR_S, allow_inf_nan=False)] | None = None
    max_retries: Annotated[int, Field(ge=0, le=1000, strict=True)] | None = None
    timeout_s: Annotated[float, Field(gt=0, le=YEAR_S, allow_inf_nan=False)] | None = None
    correlation_id: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    user_id: Person | None = None
    team_id: Person | None = None
    idempotency_key: Key | None = None

    @property
    def scoped_key(self) -> str:
        """Return the idempotency key with whose it is; '' without one."""
        if self.idempotency_key is None:
            return ""
        whose = hashlib.blake2b(f"{self.team_id or ''}\n{self.user_id or ''}".encode(), digest_size=8).hexdigest()
        return f"{whose}:{self.idempotency_key}"

    @property
    def digest(self) -> str:
        """Return what tells this request from another one: the same for the same wish, whatever else its trace is."""
        wish = self.model_dump_json(exclude={"idempotency_key", "correlation_id"}, exclude_defaults=True)
        return hashlib.blake2b(wish.encode(), digest_size=16).hexdigest()
