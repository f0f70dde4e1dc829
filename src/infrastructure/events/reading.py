"""One listener without a group: where it begins, how it follows, how it catches up."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import TypeVar

from domain.events.topics import TopicFilter
from infrastructure.events.feed import Feed, Item
from infrastructure.events.options import BATCH
from infrastructure.events.positions import Extent, Position, Verdict, after, format_cursor, judge
from infrastructure.events.recovery import Recovery
from infrastructure.events.tail import Tails, pass_over
from infrastructure.events.wire import Entry, Malformed, decode, topic_of

T = TypeVar("T")

LOOK_AGAIN_S = 0.1
"""Wait between two empty pages: the tail has not found its place, or not seen yet that the store lost its data."""


class Over(Exception):
    """The bus stopped."""


class Reading:
    """Give all that matches ``topics`` from some place on, for ever, once each, in order within a family."""

    def __init__(self, name: str, topics: TopicFilter, tails: Tails, limit: int) -> None:
        self._tails = tails
        self._feed = Feed(topics, limit)
        self._recovery = Recovery(name, tails.condition)
        self._places: dict[str, Position] = {}
        self.placed = asyncio.Event()
        """It has its place in the streams: what is published from then on is delivered."""

    async def items(self, begin: Mapping[str, Position]) -> AsyncGenerator[Item, None]:
        """Yield items behind ``begin``; families that it lacks begin now. Ends when the tails stop."""
        try:
            await self._begin(begin)
            while self._tails.running:
                for item in await self._more():
                    self._places[item.family] = item.at
                    yield item
        except Over:
            return
        finally:
            self._recovery.forget()
            await self._tails.detach(self._feed)

    async def _begin(self, begin: Mapping[str, Position]) -> None:
        families = self._feed.topics.families
        extents = await self._ask(lambda: self._tails.streams.extents(families))
        for family, extent in zip(families, extents, strict=True):
            at = begin.get(family, extent.end)
            verdict = judge(at, [], extent)
            self._feed.waiting.extend(_gap(family, verdict))
            self._places[family] = self._feed.behind[family] = verdict.at
        self._tails.attach(self._feed)
        self.placed.set()

    def cursor(self) -> str:
        """Return the place behind the item that was given last."""
        places = dict(self._places)
        if not self._feed.waiting:
            # All that the tails have seen was offered: what did not match is behind this listener too.
            for family, place in places.items():
                tail = self._tails.place(family)
                if tail is not None and tail.id > place.id and family not in self._feed.behind:
                    places[family] = tail
        return format_cursor(places)

    async def _more(self) -> list[Item]:
        """Return one item that waits, or else a page of a family that is behind, or else nothing after waiting a while.

        What waits goes first: a family that fell behind continues after it.
        """
        if self._feed.waiting:
            return [self._feed.waiting.popleft()]
        for family in tuple(self._feed.behind):
            if not self._tails.catch(self._feed, family):
                return await self._catch_up(family)
        await self._feed.news()
        return []

    async def _catch_up(self, family: str) -> list[Item]:
        at = self._feed.behind[family]
        entries, extent = await self._ask(lambda: self._page(family, at))
        if not entries:
            await self._feed.news(LOOK_AGAIN_S)
        read = [entry.id for entry in entries]
        verdict = judge(at, read, extent)
        self._feed.behind[family] = after(verdict.at, read)
        return _gap(family, verdict) + self._parse(family, verdict.at, entries)

    async def _page(self, family: str, at: Position) -> tuple[list[Entry], Extent]:
        entries = await self._tails.streams.read(family, at, BATCH)
        [extent] = await self._tails.streams.extents([family])
        return entries, extent

    def _parse(self, family: str, place: Position, entries: list[Entry]) -> list[Item]:
        items = []
        for entry in entries:
            place = after(place, [entry.id])
            try:
                if entry.only_for is None and self._feed.topics.matches(topic_of(family, entry.fields)):
                    items.append(Item(family, place, decode(family, entry)))
            except Malformed as why:
                pass_over(family, entry, why, self._tails.condition.counters)
        return items

    async def _ask(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call until the store answers or the bus stops."""
        while self._tails.running:
            try:
                answer = await call()
            except Exception as error:  # noqa: BLE001 - told in log and health; a reader must outlive whatever comes
                await self._recovery.failed(error)
            else:
                self._recovery.succeeded()
                return answer
        raise Over


def _gap(family: str, verdict: Verdict) -> list[Item]:
    return [Item(family, verdict.at, None, verdict.lost)] if verdict.is_gap else []
