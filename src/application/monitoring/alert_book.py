"""The alerts in the store. Every method raises ``StoreUnavailable`` when it does not answer."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, Protocol

from application.runs.asking import Note
from domain.monitoring.alert import AlertState
from domain.monitoring.notification import Notification
from domain.monitoring.record import AlertRecord, Change
from domain.monitoring.sample import MetricSample
from domain.monitoring.worker import Worker

EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True)
class WorkerAlerts:
    """The alerts of one worker, or of a provider's region, as they were read.

    ``cursor_ms`` is the newest sample that was evaluated, ``now`` the store's time. ``policy`` is the version of the
    rules and silences, and of which regions are down: those in ``down``.
    """

    worker_id: str
    version: str
    cursor_ms: int
    states: Mapping[str, AlertState]
    now: datetime = field(default=EPOCH, compare=False)
    policy: str = "0"
    down: frozenset[str] = frozenset()


@dataclass
class AlertStep:
    """What is to be stored of a worker's alerts; ``states`` by rule, None for a rule that no longer applies.

    ``look_at`` is when time alone may change something; ``is_at_rest`` says that nothing is open or owed.
    ``is_closing`` is the last step of a worker that is gone. ``is_down`` is said of a provider's region alone.
    """

    before: WorkerAlerts
    cursor_ms: int | None = None
    states: dict[str, AlertState | None] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    notifications: list[Notification] = field(default_factory=list)
    is_closing: bool = False
    look_at: datetime | None = None
    is_at_rest: bool = True
    is_down: bool | None = None


@dataclass(frozen=True, slots=True)
class Backlog:
    """What is to be evaluated of a worker, as it was at one moment: its first samples after the last evaluated one.

    ``has_more``: there may be further ones. ``interval_s`` is how often it is looked at; None where that takes more
    than a glance at its schedule, or where there is none. Without samples the rest does not matter and is not read.
    """

    alerts: WorkerAlerts
    samples: Sequence[MetricSample]
    has_more: bool = False
    worker: Worker | None = None
    interval_s: float | None = None


NONE_AT_HAND: Mapping[str, MetricSample] = {}
Committed = Literal["done", "stale", "gone"]


class AlertBook(Protocol):
    """The alerts: states by worker and rule, open episodes, the last resolved ones."""

    @abstractmethod
    async def read(self, worker_id: str) -> WorkerAlerts:
        """Return a worker's alerts; without any, an empty set that can be committed on."""

    @abstractmethod
    async def backlog(
        self, worker_ids: Sequence[str], at_hand: Mapping[str, MetricSample] = NONE_AT_HAND
    ) -> Sequence[Backlog | Exception]:
        """Return what is to be evaluated of some workers, in their order, in one round trip.

        ``at_hand`` are samples that the caller has just stored: one that is all that is new of a worker is not read.
        Where there is much, of the first of them only. What cannot be read of one is an error in its place.
        """

    @abstractmethod
    async def commit(self, step: AlertStep, note: Note | None = None) -> Committed:
        """Store a step with its events and messages, whole or not at all; ``note`` is written down with it.

        ``stale``: somebody else was faster, or rules, silences or what is down changed; read again. ``gone``: the
        worker is, and only a closing step is taken.
        """

    @abstractmethod
    async def commit_all(self, steps: Sequence[AlertStep]) -> Sequence[Committed]:
        """Store steps of several workers in one round trip; each is stored or refused for itself."""

    @abstractmethod
    async def due(self, now: datetime, limit: int) -> list[str]:
        """Return workers of whose alerts time alone may change something by now, the longest due first."""

    @abstractmethod
    async def unmonitored(self, offset: int, limit: int) -> tuple[int, Sequence[str]]:
        """Look at workers with alerts that are open, or of which a resolve is owed, from some place in their order.

        Return how many those were, and which of them are not monitored.
        """

    @abstractmethod
    async def find_open(self, alert_id: str) -> AlertRecord | None:
        """Return one open episode."""

    @abstractmethod
    async def find_resolved(self, alert_id: str) -> AlertRecord | None:
        """Return one episode of those that were resolved last."""

    @abstractmethod
    async def open(self) -> list[AlertRecord]:
        """Return the episodes that are pending, firing or recovering, the oldest first."""

    @abstractmethod
    async def resolved(self, limit: int) -> list[AlertRecord]:
        """Return the last resolved episodes, newest first."""
