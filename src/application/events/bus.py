"""The event bus as its users see it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from domain.events.event import Event

EventHandler = Callable[[Event], Awaitable[None]]


class Subscription(Protocol):
    """A running subscription; closing it twice is fine."""

    async def close(self) -> None:
        """Stop delivery; a handler in mid-call is awaited."""
        ...


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

    def subscribe(self, topics: Sequence[str], handler: EventHandler, *, group: str | None = None) -> Subscription:
        """Deliver the events that match ``topics`` (exact, ``job.*`` or ``*``) to ``handler``.

        With a ``group`` each event goes to one member among all instances, at least once: it is acknowledged after the
        handler returns, reclaimed from a member that died, and parked after too many failed tries. Without one every
        instance sees every event from now on.
        """
        ...

    def read(self, topics: Sequence[str], *, after: str | None = None) -> AsyncIterator[tuple[str, Event | None]]:
        """Yield ``(cursor, event)`` from ``after`` on (None: from now on), for ever; ``(cursor, None)`` marks a gap.

        ``cursor`` is opaque and resumes a later call. A gap means that events after ``after`` were trimmed.
        """
        ...
