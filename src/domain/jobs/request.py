"""What somebody says to submit a job."""

import hashlib
import json
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from domain.jobs.queue import Priority, QueueName
from domain.scheduling.policy import YEAR_S, UtcDatetime

Key = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,200}$")]
"""Visible ASCII without spaces, as a header carries it."""


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("it has characters that cannot be printed, such as line breaks")
    return text


Correlation = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_printable)]
"""What travels with a job, as events carry it."""
Person = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(_printable)
]
Duration = Annotated[float, Field(gt=0, le=YEAR_S, allow_inf_nan=False, strict=True)]


class JobRequest(BaseModel):
    """A one-shot job as it is asked for.

    ``task`` is the job class's name and ``params`` its data. ``priority`` holds within the queue. ``expires_in_s``:
    when nobody started it so long after it was due, it expires. ``user_id`` and ``team_id`` are the caller's words for
    whom it is for; an idempotency key belongs to them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Annotated[str, Field(min_length=1, max_length=200, description="The name of the job's class.")]
    params: dict[str, Any] = Field(
        default_factory=dict,
        description="Its data fields; 262144 bytes of JSON at most. Send a reference to what is larger.",
    )
    queue: QueueName | None = Field(default=None, description="One of those in the settings; the default one without.")
    priority: Priority = Field(default=0, description="Within the queue; a step is worth a time of waiting.")
    scheduled_at: UtcDatetime | None = Field(default=None, description="Not before this time; now without.")
    expires_in_s: Duration | None = Field(
        default=None, description="Seconds after it was due; whoever nobody started by then ends as `expired`."
    )
    max_retries: Annotated[int, Field(ge=0, le=1000, strict=True)] | None = Field(
        default=None, description="Tries after a failure; as the job's class says without."
    )
    timeout_s: Duration | None = Field(default=None, description="Seconds that one attempt may take.")
    correlation_id: Correlation | None = Field(
        default=None, description="Travels to the run, its logs and its events; of the request's own trace without."
    )
    user_id: Person | None = Field(default=None, description="For whom it is, in your words.")
    team_id: Person | None = Field(default=None, description="For which team or customer it is, in your words.")
    idempotency_key: Key | None = Field(
        default=None, description="The same key with the same request is the same job. It belongs to team and user."
    )

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
        wish = self.model_dump(mode="json", exclude={"idempotency_key", "correlation_id"}, exclude_defaults=True)
        return hashlib.blake2b(json.dumps(wish, sort_keys=True).encode(), digest_size=16).hexdigest()
