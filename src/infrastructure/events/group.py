"""A subscription with a group: each event goes to one member, at least once."""

import asyncio
import logging
import random
import time
from collections.abc import Iterator

from application.events.bus import EventHandler, GapHandler
from application.tasks import end_task
from domain.events.event import Gap
from domain.events.topics import TopicFilter
from infrastructure.events.custody import Custody
from infrastructure.events.membership import Delivery, Mark, Membership
from infrastructure.events.options import LONGEST_BLOCK_S, Condition, EventBusOptions
from infrastructure.events.recovery import Recovery
from infrastructure.events.subscription import RedisSubscription
from infrastructure.events.wire import Malformed, decode, topic_of

log = logging.getLogger(__name__)

ROUNDS_A_VISIBILITY = 4
"""How often in one visibility time a member looks for what others left behind."""
MOST_WAITING = 1000
"""Failed events that may wait for their next try; with more, nothing new is read: the handler is broken."""
SHORTEST_BLOCK_S = 0.001
REASON_MAX_LENGTH = 500


class GroupSubscription(RedisSubscription):
    """Read as a member of a group, call the handler, acknowledge, retry, reclaim, park."""

    def __init__(
        self,
        topics: TopicFilter,
        handler: EventHandler,
        on_gap: GapHandler | None,
        membership: Membership,
        from_start: bool,
        options: EventBusOptions,
        condition: Condition,
        at_once: int = 1,
    ) -> None:
        super().__init__(f"the group '{membership.group}'", handler, on_gap, options, condition)
        self._topics = topics
        self._membership = membership
        self._recovery = Recovery(self.name, condition)
        self._custody = Custody(membership, options.visibility_s, Recovery(f"{self.name} (keeping)", condition))
        self._begin = dict.fromkeys(membership.families, "0" if from_start else "$")
        self._waiting: dict[Mark, float] = {}
        self._reasons: dict[Mark, str] = {}
        """Why entries are to be parked that the store did not park yet."""
        self._next_round = 0.0
        self._at_once = at_once

    @property
    def group(self) -> str:
        """The group's name."""
        return self._membership.group

    async def _run(self) -> None:
        keeping = asyncio.create_task(self._custody.run(), name=f"events: keeping for {self.name}")
        try:
            while not self._closing:
                try:
                    await self._turn()
                except Exception as error:  # noqa: BLE001 - told in log and health; a group must outlive whatever comes
                    await self._recovery.failed(error)
                else:
                    self._recovery.succeeded()
        finally:
            self._leaving = True
            await end_task(keeping)
            await self._part()

    async def _turn(self) -> None:
        await self._attend()
        batch = await self._overdue()
        if not batch and len(self._waiting) < MOST_WAITING:
            batch = await self._membership.read(self._patience())
        elif not batch:
            await asyncio.sleep(self._patience())
        await self._handle_all(batch)

    async def _attend(self) -> None:
        for family, made, lost, at in await self._membership.attend(self._begin):
            if made and self._in_place.is_set():
                log.warning("%s was gone from the '%s' events and is made again", self.name, family)
            self._begin[family] = at
            if lost:
                await self._tell_gap(Gap(family, lost))
        self._in_place.set()

    async def _overdue(self) -> list[Delivery]:
        """Return what is to be tried again now: own failures whose wait is over, else what others left behind."""
        now = time.monotonic()
        ripe = [mark for mark, due in self._waiting.items() if due <= now]
        if ripe:
            found, trimmed = await self._membership.retake(ripe)
            still_ours = {delivery.mark for delivery in found}
            for mark in ripe:
                del self._waiting[mark]
                if mark not in still_ours:
                    self._reasons.pop(mark, None)
        elif now >= self._next_round:
            found, trimmed = await self._membership.reclaim()
            found = [item for item in found if not self._custody.holds(item.mark) and item.mark not in self._waiting]
            self._counters.reclaimed += len(found)
            if not found:
                await self._end_round(now)
        else:
            return []
        for family, lost in trimmed.items():
            await self._tell_gap(Gap(family, lost))
        return found

    async def _end_round(self, now: float) -> None:
        if gone := await self._membership.sweep():
            log.info("%s has lost the members %s, which were silent for long", self.name, ", ".join(gone))
        # Spread, so that members do not all look at the same moment.
        spread = random.uniform(0.8, 1.2)  # noqa: S311 - a spread, not a secret
        self._next_round = now + self._options.visibility_s / ROUNDS_A_VISIBILITY * spread

    def _patience(self) -> float:
        due = min(self._waiting.values(), default=self._next_round)
        wait_s = min(due, self._next_round) - time.monotonic()
        return max(SHORTEST_BLOCK_S, min(wait_s, LONGEST_BLOCK_S))

    async def _handle_all(self, batch: list[Delivery]) -> None:
        self._custody.take(batch)
        left = {delivery.mark: delivery for delivery in batch}
        try:
            if self._at_once == 1:
                await self._handle_in_turn(iter(batch), left)
            else:
                await self._handle_together(iter(batch), left, min(self._at_once, len(batch)))
        finally:
            for mark in left:
                self._custody.drop(mark)
                if not self._closing:
                    self._waiting[mark] = 0.0

    async def _handle_together(self, turns: Iterator[Delivery], left: dict[Mark, Delivery], count: int) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                self._helpers = {group.create_task(self._handle_in_turn(turns, left)) for _ in range(count)}
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            self._helpers = set()

    async def _handle_in_turn(self, turns: Iterator[Delivery], left: dict[Mark, Delivery]) -> None:
        """Handle one after the other of what several may share."""
        for delivery in turns:
            if self._closing:
                break
            if await self._custody.confirm(delivery.mark):
                await self._handle(delivery)
            del left[delivery.mark]
            await self._breathe()

    async def _handle(self, delivery: Delivery) -> None:
        family, entry = delivery.family, delivery.entry
        try:
            if not self._is_ours(delivery):
                self._custody.settle(delivery.mark)
                return
            event = decode(family, entry)
        except Malformed as why:
            self._counters.malformed += 1
            await self._park(delivery, f"it is not an event: {why}")
            return
        if delivery.tries > self._options.max_tries:
            silent = (
                f"delivered {delivery.tries - 1} times and never acknowledged, the last time by {delivery.taken_from}"
            )
            await self._park(delivery, self._reasons.get(delivery.mark, silent))
            return
        error = await self._call(event)
        if error is None:
            self._custody.settle(delivery.mark)
        else:
            await self._failed(delivery, event.id, error)

    def _is_ours(self, delivery: Delivery) -> bool:
        only_for = delivery.entry.only_for
        if only_for is not None and only_for != self.group.encode():
            return False
        return self._topics.matches(topic_of(delivery.family, delivery.entry.fields))

    async def _failed(self, delivery: Delivery, event_id: str, error: BaseException) -> None:
        self._counters.failed += 1
        if delivery.tries >= self._options.max_tries:
            await self._park(delivery, f"{type(error).__name__}: {error}", error)
            return
        delay_s = self._options.retry_delay(delivery.tries)
        log.warning(
            "%s failed for event %s (try %d of %d), next try in %g s",
            *(self.name, event_id, delivery.tries, self._options.max_tries, delay_s),
            exc_info=error,
        )
        self._postpone(delivery, delay_s)

    def _postpone(self, delivery: Delivery, delay_s: float) -> None:
        self._custody.drop(delivery.mark)
        self._waiting[delivery.mark] = time.monotonic() + delay_s

    async def _park(self, delivery: Delivery, reason: str, error: BaseException | None = None) -> None:
        try:
            parked = await self._membership.park(delivery, reason[:REASON_MAX_LENGTH])
        except Exception:
            log.exception("%s could not park entry %s: tried again", self.name, delivery.entry.raw_id.decode())
            self._reasons[delivery.mark] = reason
            self._postpone(delivery, self._options.retry_delay(delivery.tries))
            return
        self._custody.drop(delivery.mark)
        self._reasons.pop(delivery.mark, None)
        if parked:
            self._counters.parked += 1
            entry_id = delivery.entry.raw_id.decode()
            log.error("%s parked entry %s of '%s': %s", self.name, entry_id, delivery.family, reason, exc_info=error)

    async def _part(self) -> None:
        """Acknowledge what is done and give back the rest, so that others need not wait for the visibility time."""
        try:
            async with asyncio.timeout(self._options.stop_grace_s):
                await self._custody.flush()
                await self._membership.leave(self._waiting)
        except Exception as error:  # noqa: BLE001 - logged; what could not be given back is reclaimed
            log.warning("%s could not give back its events, others reclaim them later: %s", self.name, error)
        self._recovery.forget()
