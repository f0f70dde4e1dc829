"""The worker: a machine that is watched, and the machine of its statuses."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from domain.scheduling.policy import UtcDatetime

WorkerId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:\-]{0,127}$")]

WorkerName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]

ProviderName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_\-]{0,31}$")]

ProviderId = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255)]
"""What a provider calls a region or an instance."""

LabelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.\-/]{0,62}$")]

LabelValue = Annotated[str, StringConstraints(max_length=255)]

MAX_LABELS = 64

Labels = Annotated[dict[LabelName, LabelValue], Field(max_length=MAX_LABELS)]


class WorkerStatus(StrEnum):
    """How a worker stands. The middle six are EC2's."""

    UNKNOWN = "unknown"
    PENDING = "pending"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    SHUTTING_DOWN = "shutting_down"
    TERMINATED = "terminated"
    UNREACHABLE = "unreachable"


_LIVE = frozenset(WorkerStatus) - {WorkerStatus.UNKNOWN}

TRANSITIONS: dict[WorkerStatus, frozenset[WorkerStatus]] = {
    WorkerStatus.UNKNOWN: _LIVE,
    WorkerStatus.PENDING: _LIVE - {WorkerStatus.PENDING},
    WorkerStatus.RUNNING: _LIVE - {WorkerStatus.RUNNING},
    WorkerStatus.STOPPING: _LIVE - {WorkerStatus.STOPPING},
    WorkerStatus.STOPPED: _LIVE - {WorkerStatus.STOPPED},
    WorkerStatus.UNREACHABLE: _LIVE - {WorkerStatus.UNREACHABLE},
    WorkerStatus.SHUTTING_DOWN: frozenset({WorkerStatus.TERMINATED}),
    WorkerStatus.TERMINATED: frozenset(),
}
"""Status → what it may become. A worker is looked at now and then, so steps between may be missed; what never happens
is a way back from shutting down, or out of terminated."""


class Worker(BaseModel):
    """One watched machine.

    ``provider`` says who measures it; ``region`` and ``instance_id`` are the provider's words for it, ``account`` is
    the name of one of its accounts in the settings. ``labels`` are for people and for the selectors of alert rules.
    Changed by making another: ``change`` and ``observe`` return it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: WorkerId
    name: WorkerName
    provider: ProviderName
    account: ProviderId | None = None
    region: ProviderId | None = None
    instance_id: ProviderId | None = None
    labels: Labels = {}
    status: WorkerStatus = WorkerStatus.UNKNOWN
    status_reason: str = "not looked at yet"
    status_since: UtcDatetime
    created_at: UtcDatetime

    @classmethod
    def register(cls, request: "WorkerRequest", worker_id: str, now: datetime) -> "Worker":
        """Return the worker that ``request`` asks for, not looked at yet."""
        facts = request.model_dump(exclude={"id"})
        return cls(id=worker_id, created_at=now, status_since=now, **facts)

    def change(self, patch: "WorkerPatch") -> "Worker":
        """Return the worker with ``patch`` applied: what it leaves out stays; a label of null goes."""
        given = patch.model_dump(exclude_unset=True)
        if patch.labels is not None and "labels" in given:
            merged = {**self.labels, **patch.labels}
            given["labels"] = {name: value for name, value in merged.items() if value is not None}
        return Worker.model_validate({**self.model_dump(), **given})

    def observe(self, status: WorkerStatus, reason: str, now: datetime) -> "Worker":
        """Return the worker as it was just seen; itself, when its status stays or the change is none that happens."""
        if status not in TRANSITIONS[self.status]:
            return self
        return self.model_copy(update={"status": status, "status_reason": reason[:500], "status_since": now})

    @property
    def said(self) -> dict[str, Any]:
        """What people say of it, as JSON values; how it does is not their doing."""
        names = {"name", "provider", "account", "region", "instance_id", "labels"}
        return self.model_dump(mode="json", include=names, exclude_none=True)

    def is_selected_by(self, labels: dict[str, str]) -> bool:
        """Tell whether every label of a selector is there with that value; an empty one selects all workers."""
        return all(self.labels.get(name) == value for name, value in labels.items())


class WorkerRequest(BaseModel):
    """What somebody says to register a worker; without an ``id`` it gets one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: WorkerId | None = None
    name: WorkerName
    provider: ProviderName
    account: ProviderId | None = None
    region: ProviderId | None = None
    instance_id: ProviderId | None = None
    labels: Labels = {}


class WorkerPatch(BaseModel):
    """What somebody says to change a worker. Id and provider are fixed: register another worker instead."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: WorkerName | None = None
    account: ProviderId | None = None
    region: ProviderId | None = None
    instance_id: ProviderId | None = None
    labels: dict[LabelName, LabelValue | None] | None = None

    @model_validator(mode="before")
    @classmethod
    def _nulls(cls, given: Any) -> Any:
        """Refuse null where it would take away what every worker has."""
        if isinstance(given, dict):
            for field in ("name", "labels"):
                if field in given and given[field] is None:
                    raise ValueError(f"{field} cannot be null; leave it out to keep it")
        return given
