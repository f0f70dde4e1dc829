"""A subscription without a group: this instance sees every event."""

import logging
from contextlib import aclosing

from application.events.bus import EventHandler, GapHandler
from domain.events.event import Gap
from domain.events.topics import TopicFilter
from infrastructure.events.feed import Item
from infrastructure.events.options import EventBusOptions
from infrastructure.events.reading import Reading
from infrastructure.events.subscription import RedisSubscription
from infrastructure.events.tail import Tails

log = logging.getLogger(__name__)


class BroadcastSubscription(RedisSubscription):
    """Call a handler for each event from now on. It remembers its place, so an absent store costs nothing but time."""

    def __init__(
        self,
        topics: TopicFilter,
        handler: EventHandler,
        on_gap: GapHandler | None,
        tails: Tails,
        options: EventBusOptions,
    ) -> None:
        super().__init__(f"the listener to {', '.join(topics.patterns)}", handler, on_gap, options, tails.condition)
        self._reading = Reading(self.name, topics, tails, options.buffer)
        self._in_place = self._reading.placed

    async def _run(self) -> None:
        async with aclosing(self._reading.items({})) as items:
            try:
                async for item in items:
                    await self._hear(item)
                    if self._closing:
                        return
                    await self._breathe()
            finally:
                self._leaving = True

    async def _hear(self, item: Item) -> None:
        if item.event is None:
            await self._tell_gap(Gap(item.family, item.lost))
        elif error := await self._call(item.event):
            self._counters.failed += 1
            log.error("%s failed for event %s: not tried again", self.name, item.event.id, exc_info=error)
