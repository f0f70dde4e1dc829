"""The outbox: messages that are to be sent, each until it arrives."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Protocol

from domain.monitoring.notification import Notification


@dataclass(frozen=True)
class Sending:
    """A leased message: ``lane`` and ``token`` are its lease, ``tries`` counts this one."""

    lane: str
    token: str
    tries: int
    channel: str
    notification: Notification


class Outbox(Protocol):
    """Messages that are to be sent, in order within a lane: one rule, one worker, one channel."""

    @abstractmethod
    async def take(self, limit: int, lease_s: float) -> list[Sending]:
        """Lease the next message of each lane that is due; no other instance gets it before the lease ends."""

    @abstractmethod
    async def done(self, sending: Sending) -> bool:
        """Take a message out; False when its lease was no longer this one."""

    @abstractmethod
    async def again(self, sending: Sending, delay_s: float) -> bool:
        """Try a message again later; False when its lease was no longer this one."""

    @abstractmethod
    async def waiting(self) -> int:
        """Return how many lanes have something to send."""
