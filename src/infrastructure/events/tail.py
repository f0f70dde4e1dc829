"""Read each family's stream once for a whole process, whoever many listen.

A listener of its own per browser would need a blocking connection each. One tail a family needs five in all, and parses
each event once.
"""

import asyncio
import logging

from application.tasks import end_task
from infrastructure.events.feed import Feed, Item
from infrastructure.events.options import BATCH, LONGEST_BLOCK_S, Condition, EventCounters
from infrastructure.events.positions import Extent, Position, after, judge
from infrastructure.events.recovery import Recovery
from infrastructure.events.streams import Streams
from infrastructure.events.wire import Entry, Malformed, decode, topic_of

log = logging.getLogger(__name__)


class Tail:
    """Follow the newest entries of one family and offer them to its feeds, from the first feed's coming to the end."""

    def __init__(self, family: str, streams: Streams, condition: Condition) -> None:
        self._family = family
        self._streams = streams
        self._counters = condition.counters
        self._recovery = Recovery(f"the tail of '{family}' events", condition)
        self._feeds: list[Feed] = []
        self._wanted: dict[str, list[Feed]] = {}
        self._task: asyncio.Task[None] | None = None
        self.at: Position | None = None
        """Where it is; None until the store has told where the stream ends."""

    def add(self, feed: Feed) -> None:
        """Serve ``feed`` too."""
        self._feeds.append(feed)
        self._wanted.clear()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"events: tail of {self._family}")

    def remove(self, feed: Feed) -> bool:
        """Forget ``feed``, and tell whether there is no other."""
        self._feeds.remove(feed)
        self._wanted.clear()
        return not self._feeds

    def cancel(self) -> None:
        """Ask it to end; ``stop`` makes sure."""
        if self._task is not None:
            self._task.cancel()

    async def stop(self) -> None:
        """End reading, for good."""
        if self._task is not None:
            await end_task(self._task)
        self._recovery.forget()

    async def _run(self) -> None:
        block_s = LONGEST_BLOCK_S
        while self._feeds:
            try:
                await self._step(block_s)
            except Exception as error:  # noqa: BLE001 - told in log and health; the tail must outlive whatever comes
                # The first read afterwards does not wait, so that a store that lost its data is noticed at once.
                block_s = 0.0
                await self._recovery.failed(error)
            else:
                block_s = LONGEST_BLOCK_S
                self._recovery.succeeded()

    async def _step(self, block_s: float) -> None:
        at, entries = self.at, list[Entry]()
        if at is not None:
            entries = await self._streams.read(self._family, at, BATCH, block_s)
        [extent] = await self._streams.extents([self._family])
        if at is not None:
            self._advance(at, entries, extent)
            return
        self.at = extent.end
        for feed in self._feeds:
            feed.wake()

    def _advance(self, at: Position, entries: list[Entry], extent: Extent) -> None:
        verdict = judge(at, [item.id for item in entries], extent)
        place = verdict.at
        if verdict.is_gap:
            for feed in self._feeds:
                feed.offer(Item(self._family, place, None, verdict.lost), at)
        for item in entries:
            before, place = place, after(place, [item.id])
            self._deliver(item, before, place)
        self.at = place

    def _deliver(self, entry: Entry, before: Position, place: Position) -> None:
        try:
            feeds = self._feeds_for(topic_of(self._family, entry.fields))
            if not feeds or entry.only_for is not None:
                return
            item = Item(self._family, place, decode(self._family, entry))
        except Malformed as why:
            pass_over(self._family, entry, why, self._counters)
            return
        for feed in feeds:
            feed.offer(item, before)

    def _feeds_for(self, topic: str) -> list[Feed]:
        feeds = self._wanted.get(topic)
        if feeds is None:
            feeds = [feed for feed in self._feeds if feed.topics.matches(topic)]
            if len(self._wanted) < BATCH:
                self._wanted[topic] = feeds
        return feeds


def pass_over(family: str, entry: Entry, why: Malformed, counters: EventCounters) -> None:
    """Count and log an entry that is not an event."""
    counters.malformed += 1
    log.warning("entry %s of '%s' is not an event and is passed over: %s", entry.raw_id.decode(), family, why)


class Tails:
    """All tails of a process."""

    def __init__(self, streams: Streams, condition: Condition) -> None:
        self.streams = streams
        self.condition = condition
        self._tails: dict[str, Tail] = {}
        self._ending: set[Tail] = set()
        """Tails without feeds until they have ended: whoever waits for them may be cancelled."""
        self._feeds: set[Feed] = set()
        self.running = False

    def start(self) -> None:
        """Let listeners come."""
        self.running = True

    async def stop(self) -> None:
        """End all tails and wake their listeners, who then see that it is over."""
        self.running = False
        for feed in self._feeds:
            feed.wake()
        self._ending.update(self._tails.values())
        await self._end()

    def attach(self, feed: Feed) -> None:
        """Begin to serve a new feed, which is behind in all its families."""
        self._feeds.add(feed)
        for family in feed.topics.families:
            if family not in self._tails:
                self._tails[family] = Tail(family, self.streams, self.condition)
            self._tails[family].add(feed)

    async def detach(self, feed: Feed) -> None:
        """Serve a feed no longer; a tail without feeds ends. What was never attached is fine."""
        if feed not in self._feeds:
            return
        self._feeds.remove(feed)
        idle = [family for family in feed.topics.families if self._tails[family].remove(feed)]
        self._ending.update(self._tails.pop(family) for family in idle)
        await self._end()

    async def _end(self) -> None:
        """Ask all that are to end before waiting for any."""
        for tail in self._ending:
            tail.cancel()
        for tail in tuple(self._ending):
            await tail.stop()
            self._ending.discard(tail)

    def place(self, family: str) -> Position | None:
        """Return where the tail of ``family`` is, None while it does not know."""
        tail = self._tails.get(family)
        return tail.at if tail else None

    def catch(self, feed: Feed, family: str) -> bool:
        """Let ``feed`` follow a family again if the tail is not ahead of it, and tell whether it does."""
        at, tail = feed.behind[family], self.place(family)
        if tail is None or tail.id > at.id:
            return False
        feed.follow(family, at, tail)
        return True
