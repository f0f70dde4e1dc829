"""A bounded buffer between the one reader of a stream and one of its many listeners."""

import asyncio
from collections import deque
from contextlib import suppress
from typing import NamedTuple

from domain.events.event import Event
from domain.events.topics import TopicFilter
from infrastructure.events.positions import Position
from infrastructure.events.wire import StreamId


class Item(NamedTuple):
    """One step of a listener: an event, or a gap (no event), and its place afterwards."""

    family: str
    at: Position
    event: Event | None
    lost: int | None = 0


class Feed:
    """What one listener wants, what waits for it, and in which families it must catch up by itself.

    A family is either followed (its tail offers each item) or in ``behind``, with the place to read on from. It begins
    there, and falls back there when the buffer is full: nothing is dropped, and no slow listener costs much memory.
    """

    def __init__(self, topics: TopicFilter, limit: int) -> None:
        self.topics = topics
        self.waiting: deque[Item] = deque()
        self.behind: dict[str, Position] = {}
        self._floors: dict[str, StreamId] = {}
        self._limit = limit
        self._news = asyncio.Event()

    def follow(self, family: str, at: Position, tail: Position) -> None:
        """Take items from the tail of ``family`` from now on; those up to ``at`` are known already."""
        self.behind.pop(family, None)
        if at.id > tail.id:
            self._floors[family] = at.id

    def offer(self, item: Item, before: Position) -> None:
        """Take an item; ``before`` is the place from which it can be read again."""
        family = item.family
        if family in self.behind:
            return
        floor = self._floors.get(family)
        if floor is not None and item.event is not None:
            if item.at.id <= floor:
                return
            del self._floors[family]
        if len(self.waiting) >= self._limit:
            self.behind[family] = before
        else:
            self.waiting.append(item)
        self._news.set()

    def wake(self) -> None:
        """Make the listener look around."""
        self._news.set()

    async def news(self, within_s: float | None = None) -> None:
        """Return when something may have come since the last call, or the time is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._news.wait()
        self._news.clear()
