"""The event bus as its users see it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from domain.events.event import Event, Gap
from domain.events.parked import ParkedEvent

EventHandler = Callable[[Event], Awaitable[None]]
GapHandler = Callable[[Gap], Awaitable[None]]


class Subscription(Protocol):
    """A running subscription; closing it twice is fine."""

    async def ready(self) -> None:
        """Return when it has its place in the streams: what is published from then on is delivered.

        With a store that is down this waits until it is back.
        """
        ...

    async def close(self) -> None:
        """Stop delivery; a handler in mid-call gets a grace to end in. What it did not get to goes to other members."""
        ...


@runtime_checkable  # containers check what they are given
class EventBus(Protocol):
    """Carry JSON facts between all instances that share the store.

    The adapter is a hosted service: subscriptions made before its start begin with it, later ones at once.
    """

    async def publish(
        self,
        topic: str,
        payload: Mapping[str, Any],
        *,
        correlation_id: str | None = None,
        traceparent: str | None = None,
    ) -> Event:
        """Append one event to its family's stream and return it as stored.

        Raises ``InvalidTopic`` for a malformed or unknown topic family, ``InvalidPayload`` for what is not JSON or is
        too large, ``StoreUnavailable`` when the store did not answer (the event may or may not be there).
        """
        ...

    def subscribe(
        self,
        topics: Sequence[str],
        handler: EventHandler,
        *,
        group: str | None = None,
        from_start: bool = False,
        on_gap: GapHandler | None = None,
        at_once: int = 1,
    ) -> Subscription:
        """Deliver the events that match ``topics`` (exact, ``job.*`` or ``*``) to ``handler``, one after the other.

        With a ``group`` each event goes to one member among all instances, at least once: it is acknowledged after the
        handler returns; after an error it is tried again later, while the following ones go on; it is reclaimed from a
        member that died, and parked after too many tries. All members of a group name the same topics. A new group
        begins now, or with what the streams still hold (``from_start``). With ``at_once`` a member handles up to so
        many at the same moment, in any order: for handlers that wait for the store, and to which order is no matter.

        Without a group every instance sees every event from now on, once; an error is logged and counted.

        ``on_gap`` hears that events were trimmed unread; it is logged and counted anyway. Raises ``InvalidTopic``,
        ``InvalidGroup``, and ``GroupTaken`` for a second subscription of one group in one process.
        """
        ...

    def read(self, topics: Sequence[str], *, after: str | None = None) -> AsyncIterator[tuple[str, Event | None]]:
        """Yield ``(cursor, event)`` from ``after`` on (None: from now on), for ever; ``(cursor, None)`` marks a gap.

        ``cursor`` is opaque and resumes a later call. A gap means that events after ``after`` were trimmed. Ends when
        the bus stops. Raises ``InvalidTopic``, ``InvalidCursor`` and ``BusNotRunning``, at once.
        """
        ...

    async def place(self, topics: Sequence[str]) -> str:
        """Return the cursor that stands for now: what is published from here on is behind it.

        Raises ``InvalidTopic`` and ``StoreUnavailable``.
        """
        ...

    async def parked(
        self, *, group: str | None = None, before: str | None = None, limit: int = 100
    ) -> Sequence[ParkedEvent]:
        """Return parked events, the newest first, older than the one with the id ``before``."""
        ...

    async def requeue(self, parked_id: str) -> None:
        """Deliver a parked event to its group again, with all its tries, and to no other; raises ``NotParked``.

        It keeps its event id. Two people who requeue the same one cause one delivery; the second gets ``NotParked``.
        """
        ...
