"""The alerts in the store. Every method raises ``StoreUnavailable`` when it does not answer."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from domain.monitoring.alert import AlertState
from domain.monitoring.notification import Notification
from domain.monitoring.record import AlertRecord, Change


@dataclass(frozen=True)
class WorkerAlerts:
    """The alerts of one worker as they were read; ``cursor_ms`` is the newest sample that was evaluated."""

    worker_id: str
    version: str
    cursor_ms: int
    states: Mapping[str, AlertState]


@dataclass
class AlertStep:
    """What is to be stored of a worker's alerts; ``states`` by rule, None for a rule that no longer applies."""

    before: WorkerAlerts
    cursor_ms: int | None = None
    states: dict[str, AlertState | None] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    notifications: list[Notification] = field(default_factory=list)
    is_closing: bool = False


Committed = Literal["done", "stale", "gone"]


class AlertBook(Protocol):
    """The alerts: states by worker and rule, open episodes, the last resolved ones."""

    @abstractmethod
    async def read(self, worker_id: str) -> WorkerAlerts:
        """Return a worker's alerts; without any, an empty set that can be committed on."""

    @abstractmethod
    async def commit(self, step: AlertStep) -> Committed:
        """Store a step with its events and messages, whole or not at all.

        ``stale``: somebody else was faster; read again. ``gone``: the worker is, and only a closing step is taken.
        """

    @abstractmethod
    async def open(self) -> list[AlertRecord]:
        """Return the episodes that are pending, firing or recovering, the oldest first."""

    @abstractmethod
    async def resolved(self, limit: int) -> list[AlertRecord]:
        """Return the last resolved episodes, newest first."""
