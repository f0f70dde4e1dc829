"""The outbox: messages that are to be sent, each until it arrives, and what became of them."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Literal, Protocol

from application.monitoring.channel import Answer
from domain.monitoring.message import Message, make_message
from domain.monitoring.notification import Notification

How = Literal["sent", "again", "split", "refused", "expired"]
"""How a try ended: it arrived; it is tried again; half of it is tried alone; the receiver will never take it; it was
tried for too long."""


@dataclass(frozen=True)
class Sending:
    """What was leased of a lane, to go out as one message. ``tries`` counts this one; ``token`` is the lease."""

    channel: str
    lane: str
    token: str
    tries: int
    notifications: tuple[Notification, ...]

    @cached_property
    def message(self) -> Message:
        """The message; the same in every try."""
        return make_message(self.channel, self.lane, self.notifications)

    @property
    def oldest(self) -> datetime:
        """When the first of it happened, or might go out: a silence may have held it back for days."""
        return min(max(one.at, one.not_before or one.at) for one in self.notifications)


@dataclass(frozen=True)
class Ending:
    """How a try ended, and what follows. ``delay_s`` is for its lane, ``hold_s`` for the whole channel.

    ``opens`` tells that one such failure is enough to leave the channel alone.
    """

    how: How
    why: str = ""
    delay_s: float = 0.0
    hold_s: float = 0.0
    opens: bool = False
    answer: Answer = field(default_factory=Answer)


@dataclass(frozen=True)
class Backlog:
    """What waits for a channel: messages of alerts, and for how long the first has."""

    messages: int = 0
    oldest_s: float = 0.0


CircuitState = Literal["closed", "open", "half_open"]


@dataclass(frozen=True)
class Circuit:
    """How a channel is, as all instances see it. Closed: it works. Open: it is left alone until ``until``. Half open:
    one message is on its way to see whether it works again."""

    state: CircuitState = "closed"
    failures: int = 0
    failing_since: datetime | None = None
    until: datetime | None = None
    why: str = ""
    sent_at: datetime | None = None
    given_up_at: datetime | None = None
    given_up: str = ""
    """Why the last message was given up, until one arrives."""


class Outbox(Protocol):
    """Messages that are to be sent, in order within a lane: one group of alerts on one channel."""

    @abstractmethod
    async def take(self, channel: str, lanes: int, lease_s: float) -> list[Sending]:
        """Lease the next messages of each lane that is due; no other instance gets them before the lease ends.

        Whoever takes a lane again before it was settled gets the same messages, and no more.
        """

    @abstractmethod
    async def settle_all(self, endings: Sequence[tuple[Sending, Ending]]) -> list[bool]:
        """Take messages out or put them off, and keep what became of them; False where the lease was no longer this."""

    async def settle(self, sending: Sending, ending: Ending) -> bool:
        """Do so with one lane."""
        (is_mine,) = await self.settle_all([(sending, ending)])
        return is_mine

    @abstractmethod
    async def backlogs(self) -> dict[str, Backlog]:
        """Return what waits, by channel; channels for which nothing does are not there."""

    @abstractmethod
    async def circuits(self, channels: Iterable[str]) -> Mapping[str, Circuit]:
        """Return how each of the channels is."""
