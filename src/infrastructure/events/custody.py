"""What a member of a group has in hand: acknowledged when done, kept from being reclaimed until then."""

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress

from infrastructure.events.membership import Delivery, Mark, Membership
from infrastructure.events.recovery import Recovery

KEEPS_A_VISIBILITY = 3
"""How often in one visibility time the store hears that an entry is still being worked on: two may fail."""


class Custody:
    """The entries in hand, and the task that tells the store about them.

    Acknowledgements gather while one is on its way, so that fast handlers cost one call for many events.
    """

    def __init__(self, membership: Membership, visibility_s: float, recovery: Recovery) -> None:
        self._membership = membership
        self._keep_every_s = visibility_s / KEEPS_A_VISIBILITY
        self._recovery = recovery
        self._held: dict[Mark, float] = {}
        self._done: list[Mark] = []
        self._something_done = asyncio.Event()

    def take(self, deliveries: Iterable[Delivery]) -> None:
        """Begin to hold what has just been delivered."""
        now = time.monotonic()
        self._held.update((delivery.mark, now) for delivery in deliveries)

    def holds(self, mark: Mark) -> bool:
        """Tell whether an entry is in hand."""
        return mark in self._held

    def drop(self, mark: Mark) -> None:
        """Hold an entry no longer; it stays unacknowledged."""
        self._held.pop(mark, None)

    def settle(self, mark: Mark) -> None:
        """Have an entry acknowledged soon."""
        self._done.append(mark)
        self._something_done.set()

    async def confirm(self, mark: Mark) -> bool:
        """Tell whether an entry still is this member's, asking the store if the last keeping is long ago.

        After a freeze of this process another may have it, and two would handle it.
        """
        kept = self._held.get(mark)
        if kept is not None and time.monotonic() - kept > 2 * self._keep_every_s:
            await self.keep()
        return mark in self._held

    async def keep(self) -> None:
        """Say of all that is held for a while that it is being worked on; drop what others have taken over."""
        now = time.monotonic()
        old = [mark for mark, kept in self._held.items() if now - kept >= self._keep_every_s]
        gone = await self._membership.keep(old)
        self._held.update((mark, now) for mark in old if mark in self._held)
        for mark in gone:
            self.drop(mark)

    async def flush(self) -> None:
        """Acknowledge what is done. What fails is tried again the next time."""
        done, self._done = self._done, []
        try:
            await self._membership.acknowledge(done)
        except BaseException:
            self._done = done + self._done
            raise
        for mark in done:
            self.drop(mark)

    async def run(self) -> None:
        """Acknowledge and keep until cancelled."""
        try:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._keep_every_s):
                        await self._something_done.wait()
                self._something_done.clear()
                await self._tell_store()
        finally:
            self._recovery.forget()

    async def _tell_store(self) -> None:
        try:
            await self.flush()
            await self.keep()
        except Exception as error:  # noqa: BLE001 - told in log and health; entries in hand must not be forgotten
            self._something_done.set()
            await self._recovery.failed(error)
        else:
            self._recovery.succeeded()
