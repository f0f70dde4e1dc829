"""How the workers of a provider's region can be looked at: what tells a region that is down from workers that are."""

from abc import abstractmethod
from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from domain.monitoring.observation import Reach

SEPARATOR = "~"
"""Is in no worker's id: tells a provider's region from a worker."""


def group_of(provider: str, region: str | None) -> str:
    """Return the id of a provider's region: what its alerts are about, as those of workers are about a worker."""
    return f"{provider}{SEPARATOR}{region or ''}"


class Looks(Protocol):
    """Looks that succeeded and failed. Storing a sample counts as a success by itself.

    Every method raises ``StoreUnavailable`` when the store does not answer.
    """

    @abstractmethod
    async def failed(self, worker_id: str, group: str, at: datetime) -> bool:
        """Note that a look at a worker failed; False when one that began later succeeded, or the worker is gone."""

    @abstractmethod
    async def forget(self, worker_id: str, group: str) -> None:
        """Count a worker no more: it is paused, or no longer monitored."""

    @abstractmethod
    async def reach(self, now: datetime) -> Mapping[str, Reach]:
        """Return how the regions are reached in which looks fail, or failed until they were settled."""

    @abstractmethod
    async def settle(self, group: str) -> None:
        """Look at a region no more until a look fails in it again; it stays when one does by now."""
