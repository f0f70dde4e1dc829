"""The event bus in memory: every event is kept, and delivered before the kit does anything else."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from application.events.bus import EventBus, EventHandler, GapHandler
from application.scheduling.moments import at
from domain.events.errors import GroupTaken, NotParked
from domain.events.event import Event
from domain.events.parked import ParkedEvent
from domain.events.topics import TopicFilter, check_topic, family
from infrastructure.events.wire import Entry, decode, encode
from testing.clock import KitClock


@dataclass(eq=False)
class MemorySubscription:
    """A handler and what it has yet to hear."""

    wanted: TopicFilter
    handler: EventHandler
    group: str | None
    waiting: deque[Event] = field(default_factory=deque)
    closed: bool = False

    async def ready(self) -> None:
        """Return: it has its place at once."""

    async def close(self) -> None:
        """Stop delivery."""
        self.closed = True
        self.waiting.clear()


class MemoryEventBus(EventBus):
    """Implements ``application.events.bus.EventBus`` for one process. Events are encoded and checked as in the program.

    A handler that raises fails the test at the kit's next step: nothing is tried again, and nothing is parked.
    """

    def __init__(self, clock: KitClock, source: str) -> None:
        self._clock = clock
        self._source = source
        self.events: list[Event] = []
        """All events so far, oldest first."""
        self._subscriptions: list[MemorySubscription] = []
        self._news = asyncio.Event()

    async def publish(
        self,
        topic: str,
        payload: Mapping[str, Any],
        *,
        correlation_id: str | None = None,
        traceparent: str | None = None,
    ) -> Event:
        """Append one event; see the port."""
        return self.append(check_topic(topic), payload, correlation_id, traceparent)

    def append(
        self, topic: str, payload: Mapping[str, Any], correlation_id: str | None, traceparent: str | None
    ) -> Event:
        """Append one event, as a script of the real store does."""
        texts = [text.encode() for text in encode(topic, payload, self._source, correlation_id, traceparent)]
        number = len(self.events)
        entry = Entry(
            (self._clock.now, number),
            f"{self._clock.now}-{number}".encode(),
            dict(zip(texts[::2], texts[1::2], strict=True)),
        )
        event = decode(family(topic), entry)
        self.events.append(event)
        self._news.set()
        self._news = asyncio.Event()
        for subscription in self._subscriptions:
            if not subscription.closed and subscription.wanted.matches(topic):
                subscription.waiting.append(event)
        return event

    def subscribe(
        self,
        topics: Sequence[str],
        handler: EventHandler,
        *,
        group: str | None = None,
        from_start: bool = False,
        on_gap: GapHandler | None = None,
        at_once: int = 1,
    ) -> MemorySubscription:
        """Deliver events to ``handler``, one after the other; see the port. There are no gaps."""
        taken = {known.group for known in self._subscriptions if not known.closed}
        if group is not None and group in taken:
            raise GroupTaken(group=group)
        subscription = MemorySubscription(TopicFilter(topics), handler, group)
        if from_start and group is not None:
            subscription.waiting.extend(event for event in self.events if subscription.wanted.matches(event.topic))
        self._subscriptions.append(subscription)
        return subscription

    async def deliver(self) -> bool:
        """Give the subscribers what they have not heard yet; tell whether there was something."""
        delivered = False
        for subscription in list(self._subscriptions):
            while subscription.waiting:
                delivered = True
                await subscription.handler(subscription.waiting.popleft())
        return delivered

    def read(self, topics: Sequence[str], *, after: str | None = None) -> AsyncIterator[tuple[str, Event | None]]:
        """Yield ``(cursor, event)`` from ``after`` on, for ever; a cursor is the number of events before it."""
        return self._read(TopicFilter(topics), len(self.events) if after is None else int(after))

    async def _read(self, wanted: TopicFilter, place: int) -> AsyncIterator[tuple[str, Event | None]]:
        while True:
            if len(self.events) <= place:
                await self._news.wait()
                continue
            event, place = self.events[place], place + 1
            if wanted.matches(event.topic):
                yield str(place), event

    async def place(self, topics: Sequence[str]) -> str:
        """Return the cursor that stands for now."""
        return str(len(self.events))

    async def parked(
        self, *, group: str | None = None, before: str | None = None, limit: int = 100
    ) -> Sequence[ParkedEvent]:
        """Return nothing: an event whose handler fails ends the test."""
        return []

    async def requeue(self, parked_id: str) -> None:
        """Refuse, as nothing is ever parked."""
        raise NotParked(id=parked_id)


def occurred(event: Event) -> str:
    """Return an event in one line."""
    return f"{at(int(event.id.split('-')[1])):%Y-%m-%d %H:%M:%S} {event.topic} {event.data}"
