"""What is asked of the store about many workers at once, or about one in a single round trip."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from domain.monitoring.backoff import Failures
from domain.monitoring.worker import Worker


@dataclass(frozen=True, slots=True)
class Watched:
    """A worker that is about to be looked at, at the store's time ``now``; ``failures`` is None after a good look."""

    worker: Worker
    now: datetime
    failures: Failures | None = None


class Fleet(Protocol):
    """The workers together. Every method raises ``StoreUnavailable`` when the store does not answer."""

    @abstractmethod
    async def watched(self, worker_id: str) -> Watched | None:
        """Return a worker with the failures of its looks, in one round trip; None when it is not registered."""

    @abstractmethod
    async def workers(self, worker_ids: Sequence[str]) -> dict[str, Worker]:
        """Return those of some workers that are registered, by id, in one round trip."""

    @abstractmethod
    async def expect(self, worker_ids: Sequence[str], since: datetime) -> None:
        """Count the silence of workers from ``since`` on, unless they were heard of later; forget their failures."""

    @abstractmethod
    async def failures(self, worker_ids: Sequence[str]) -> list[Failures | None]:
        """Return the failures of each, in one round trip."""

    @abstractmethod
    async def note(self, worker_id: str, failures: Failures) -> None:
        """Remember the failures of a worker."""

    @abstractmethod
    async def forget(self, worker_id: str) -> None:
        """Forget the failures of a worker; twice is fine."""
