"""The event bus on Redis Streams."""

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from typing import Any

import redis.asyncio
from redis.exceptions import RedisError

from application.events.bus import EventHandler, GapHandler
from domain.errors import StoreUnavailable
from domain.events.errors import BusNotRunning, GroupTaken, InvalidGroup
from domain.events.event import FAMILIES, Event
from domain.events.parked import ParkedEvent
from domain.events.topics import TopicFilter, check_topic, family
from infrastructure.events.broadcast import BroadcastSubscription
from infrastructure.events.group import GroupSubscription
from infrastructure.events.membership import Membership
from infrastructure.events.options import Condition, EventBusOptions, EventCounters
from infrastructure.events.parked import Parked
from infrastructure.events.positions import Position, format_cursor, parse_cursor
from infrastructure.events.reading import Reading
from infrastructure.events.streams import Backlog, Key, Streams
from infrastructure.events.subscription import RedisSubscription
from infrastructure.events.tail import Tails
from infrastructure.events.wire import decode, encode, entry

log = logging.getLogger(__name__)

GROUP = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}")
START_TIMEOUT_S = 10.0


class RedisEventBus:
    """Carry events between all instances that share a Redis; see ``application.events.bus.EventBus`` for the promises.

    A hosted service. It uses the clients it is given and closes neither: ``command`` for what answers at once,
    ``blocking`` for at most one connection a family and one a group subscription, whatever number of readers.
    ``key`` joins its arguments to a key of the namespace. ``instance_id`` names this process in events and groups.
    """

    def __init__(
        self,
        command: "redis.asyncio.Redis",
        blocking: "redis.asyncio.Redis",
        key: Key,
        instance_id: str,
        options: EventBusOptions | None = None,
    ) -> None:
        self._options = options or EventBusOptions()
        self._streams = Streams(command, blocking, key)
        self._instance_id = instance_id
        self._condition = Condition()
        self._tails = Tails(self._streams, self._condition)
        self._parked = Parked(self._streams, self._options)
        self._subscriptions: list[RedisSubscription] = []

    @property
    def counters(self) -> EventCounters:
        """What this bus did so far."""
        return self._condition.counters

    @property
    def troubles(self) -> Mapping[str, str]:
        """Reader -> what keeps it from working right now; empty when all is well."""
        return self._condition.troubles

    async def start(self) -> None:
        """Begin all subscriptions made so far, and return when they have their places; raises ``StoreUnavailable``."""
        if self._tails.running:
            return
        with _store_errors():
            await self._streams.extents(FAMILIES)
        self._tails.start()
        for subscription in self._subscriptions:
            subscription.begin()
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await asyncio.gather(*(subscription.ready() for subscription in self._subscriptions))
        except BaseException as error:
            why = "; ".join(self.troubles.values()) or "no subscription could begin in time"
            await self.stop()
            if isinstance(error, TimeoutError):
                raise StoreUnavailable(why=why) from error
            raise

    async def stop(self) -> None:
        """End all readers and subscriptions; handlers in mid-call get a grace. Twice, or before start, is fine."""
        subscriptions, self._subscriptions = self._subscriptions, []
        await asyncio.gather(*(subscription.close() for subscription in subscriptions))
        await self._tails.stop()

    async def publish(
        self,
        topic: str,
        payload: Mapping[str, Any],
        *,
        correlation_id: str | None = None,
        traceparent: str | None = None,
    ) -> Event:
        """Append one event; see the port. It does not need a started bus."""
        name = family(check_topic(topic))
        fields = encode(topic, payload, self._instance_id, correlation_id, traceparent)
        with _store_errors():
            raw_id = await self._streams.add(name, fields, self._options.events_kept)
        self.counters.published += 1
        texts = [text.encode() for text in fields]
        return decode(name, entry(raw_id, dict(zip(texts[::2], texts[1::2], strict=True))))

    def subscribe(
        self,
        topics: Sequence[str],
        handler: EventHandler,
        *,
        group: str | None = None,
        from_start: bool = False,
        on_gap: GapHandler | None = None,
        at_once: int = 1,
    ) -> RedisSubscription:
        """Deliver events to ``handler``; see the port."""
        wanted = TopicFilter(topics)
        self._subscriptions = [known for known in self._subscriptions if not known.ended]
        subscription: RedisSubscription
        if group is None:
            subscription = BroadcastSubscription(wanted, handler, on_gap, self._tails, self._options)
        else:
            self._check_group(group)
            membership = Membership(self._streams, group, self._instance_id, wanted.families, self._options)
            subscription = GroupSubscription(
                wanted, handler, on_gap, membership, from_start, self._options, self._condition, at_once
            )
        self._subscriptions.append(subscription)
        if self._tails.running:
            subscription.begin()
        return subscription

    def read(
        self, topics: Sequence[str], *, after: str | None = None
    ) -> AsyncGenerator[tuple[str, Event | None], None]:
        """Yield ``(cursor, event or gap)``; see the port."""
        wanted = TopicFilter(topics)
        begin = {} if after is None else parse_cursor(after)
        if not self._tails.running:
            raise BusNotRunning
        return self._read(wanted, begin)

    async def place(self, topics: Sequence[str]) -> str:
        """Return the cursor that stands for now; see the port."""
        families = TopicFilter(topics).families
        with _store_errors():
            extents = await self._streams.extents(families)
        return format_cursor({name: extent.end for name, extent in zip(families, extents, strict=True)})

    async def parked(
        self, *, group: str | None = None, before: str | None = None, limit: int = 100
    ) -> list[ParkedEvent]:
        """Return parked events, the newest first; see the port. Raises ``NotParked`` for a ``before`` that is no id."""
        with _store_errors():
            return await self._parked.newest(group, before, limit)

    async def backlogs(self) -> dict[str, Backlog]:
        """Return what each group of the fleet has before it, over all families; raises ``StoreUnavailable``."""
        found: dict[str, Backlog] = {}
        with _store_errors():
            for name in FAMILIES:
                for group, more in (await self._streams.backlogs(name)).items():
                    so_far = found.get(group, Backlog(0, 0))
                    found[group] = Backlog(so_far.pending + more.pending, so_far.lag + more.lag)
        return found

    async def requeue(self, parked_id: str) -> None:
        """Deliver a parked event to its group again; see the port."""
        with _store_errors():
            await self._parked.requeue(parked_id)

    async def _read(
        self, topics: TopicFilter, begin: Mapping[str, Position]
    ) -> AsyncGenerator[tuple[str, Event | None], None]:
        name = f"a reader of {', '.join(topics.patterns)}"
        reading = Reading(name, topics, self._tails, self._options.buffer)
        async with aclosing(reading.items(begin)) as items:
            async for item in items:
                if item.event is None:
                    self.counters.gaps += 1
                    self.counters.lost += item.lost or 0
                    log.info("%s comes too late: '%s' events were trimmed", name, item.family)
                yield reading.cursor(), item.event

    def _check_group(self, group: str) -> None:
        if not GROUP.fullmatch(group):
            raise InvalidGroup(group=group[:100])
        taken = {known.group for known in self._subscriptions if isinstance(known, GroupSubscription)}
        if group in taken:
            raise GroupTaken(group=group)


@contextmanager
def _store_errors() -> Iterator[None]:
    """Raise ``StoreUnavailable`` for whatever the store did not do."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise StoreUnavailable(why=str(error) or type(error).__name__) from error
