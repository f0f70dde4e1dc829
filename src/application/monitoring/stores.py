"""What monitoring needs from the store. Every method raises ``StoreUnavailable`` when it does not answer."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from application.runs.asking import Note
from domain.monitoring.sample import MetricSample
from domain.monitoring.worker import Worker


@dataclass(frozen=True)
class Page:
    """Some workers in the order of their ids; ``next_cursor`` asks for what follows, None at the end."""

    items: list[Worker]
    next_cursor: str | None


def no_note(before: Worker, after: Worker) -> None:
    """Write nothing down: nobody asked."""


class Workers(Protocol):
    """The registered workers. Each change and its event are one step."""

    @abstractmethod
    async def now(self) -> datetime:
        """Return the store's time: what samples and alerts are timed by."""

    @abstractmethod
    async def create(self, worker: Worker, note: Note | None = None) -> None:
        """Register a worker (``worker.registered``); raises ``WorkerExists``. ``note`` is written down with it."""

    @abstractmethod
    async def get(self, worker_id: str) -> Worker | None:
        """Return a worker, or None."""

    @abstractmethod
    async def page(self, limit: int, cursor: str = "") -> Page:
        """Return workers whose ids sort after ``cursor``."""

    @abstractmethod
    async def change(
        self, worker_id: str, step: Callable[[Worker], Worker], note: Callable[[Worker, Worker], Note | None] = no_note
    ) -> Worker:
        """Replace a worker by what ``step`` makes of it; a new status is told (``worker.status.changed``).

        ``step`` is pure and may be asked again when somebody else was faster. Raises ``WorkerNotFound``, and
        ``WorkerChangedMeanwhile`` when others were faster too often. ``note`` makes of before and after what is
        written down.
        """

    @abstractmethod
    async def remove(
        self, worker_id: str, reason: str, note: Callable[[Worker], Note | None] = lambda _: None
    ) -> Worker | None:
        """Take a worker and its samples away (``worker.removed``); return what it was, None when it is not there."""

    @abstractmethod
    async def orphans(self) -> list[str]:
        """Return the ids of removed workers whose alerts nobody has closed."""

    @abstractmethod
    async def facts(self) -> dict[str, str]:
        """Return what monitoring remembers about itself, over restarts."""

    @abstractmethod
    async def remember(self, facts: Mapping[str, str]) -> None:
        """Add to what ``facts`` returns."""


Appended = Literal["stored", "late", "ahead", "gone"]


@dataclass(frozen=True, eq=False)
class Arrival:
    """A sample that is to be stored."""

    sample: MetricSample
    correlation_id: str | None = None


@dataclass(frozen=True)
class Silence:
    """Who was not heard of lately. ``quiet_since`` is by worker id; before ``watching_since`` nobody looked."""

    now: datetime
    watching_since: datetime
    quiet_since: Mapping[str, datetime]


class Samples(Protocol):
    """One series a worker, of the last 24 hours, oldest first."""

    async def append(self, sample: MetricSample, correlation_id: str | None = None) -> Appended:
        """Store one sample; raise what ``append_all`` returns as an error."""
        (verdict,) = await self.append_all([Arrival(sample, correlation_id)])
        if isinstance(verdict, Exception):
            raise verdict
        return verdict

    @abstractmethod
    async def append_all(self, arrivals: Sequence[Arrival]) -> Sequence[Appended | Exception]:
        """Store samples and tell them (``worker.metrics.collected``), in one round trip, each for itself.

        ``late``: not newer than the last, so sending one twice is harmless. ``ahead``: more than a minute ahead of the
        store's clock; storing it would keep out every true one. ``gone``: there is no such worker.
        """

    @abstractmethod
    async def between(
        self, worker_id: str, since: datetime | None, until: datetime | None, limit: int
    ) -> list[MetricSample]:
        """Return up to ``limit`` samples in [since, until]: the first ones of that time, without ``since`` the last."""

    @abstractmethod
    async def after(self, worker_id: str, time_ms: int, limit: int) -> list[MetricSample]:
        """Return the first samples that are newer than ``time_ms``."""

    @abstractmethod
    async def last(self, worker_ids: Sequence[str]) -> list[MetricSample | None]:
        """Return the newest sample of each."""

    @abstractmethod
    async def silence(self, longest_pause_s: float, quiet_s: float, limit: int) -> Silence:
        """Look for workers not heard of for ``quiet_s``; after a pause of all watching, ``watching_since`` is anew."""

    @abstractmethod
    async def expect(self, worker_id: str, since: datetime) -> None:
        """Count the silence of a worker from ``since`` on, unless it was heard of later."""

    @abstractmethod
    async def ignore(self, worker_ids: Sequence[str]) -> None:
        """Stop counting the silence of workers."""
