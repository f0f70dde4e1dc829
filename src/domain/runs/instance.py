"""The instance: one process of the program, as the others know it."""

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel


class InstanceStatus(StrEnum):
    """Whether an instance is heard of."""

    ALIVE = "alive"
    SILENT = "silent"
    """It did not announce itself for more than a lease: it is busy, frozen, cut off, or dead."""
    GONE = "gone"


class Departure(StrEnum):
    """How an instance left."""

    STOPPED = "stopped"
    """It said goodbye."""
    VANISHED = "vanished"
    """It was silent for ten leases."""


class Instance(BaseModel):
    """One process of the program: what it last said of itself, and when."""

    id: str
    role: str
    version: str
    host: str
    pid: int
    started_at: datetime
    last_seen_at: datetime
    status: InstanceStatus
    gone_at: datetime | None = None
    why: Departure | None = None
    clock_offset_s: float | None = None
    """Its host's clock minus the store's; None until it has been measured."""
    claimed: int = 0
    """Runs that it holds."""
    lanes: list[str] = []
    """What it executes; nothing in an API-only process."""
    loop_blocked: bool = False


class InstancePage(BaseModel):
    """Some instances; ``next_cursor`` asks for what follows, None at the end."""

    items: list[Instance]
    next_cursor: str | None = None


def heard_status(silent_ms: int, lease_ms: int) -> InstanceStatus:
    """Return the status of an instance that has not left, last heard of ``silent_ms`` ago."""
    return InstanceStatus.SILENT if silent_ms > lease_ms else InstanceStatus.ALIVE
