"""What an instance says of itself while it lives, and what the store's answers tell it.

Pure of connections: the renewal thread speaks for an executing process, the announcer's task for an API-only one.
"""

import json
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from infrastructure.runs.layout import LAYOUT

log = logging.getLogger(__name__)

ANNOUNCEMENTS_PER_LEASE = 4
LOOKS_COMPARED = 8
"""The clock offset comes from the quickest of so many round trips: two leases' worth."""


class ClockOffset:
    """How far this host's clock is ahead of the store's, from the middle of round trips."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, float]] = deque(maxlen=LOOKS_COMPARED)

    def note(self, took_s: float, ended: float, store_time: tuple[int, int]) -> None:
        """Take one look: how long it took, when it ended by this host's clock, and the store's (seconds, µs)."""
        seconds, microseconds = store_time
        self._looks.append((took_s, ended - took_s / 2 - seconds - microseconds / 1_000_000))

    @property
    def seconds(self) -> float | None:
        """The offset by the quickest of the last looks; None before the first."""
        if not self._looks:
            return None
        return round(min(self._looks)[1], 4)


class Stopwatch:
    """Measure one round trip by a clock that nobody sets."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def read(self) -> tuple[float, float]:
        """Return how long it took, and this host's time now, both in seconds."""
        return time.monotonic() - self._began, time.time()


class Presence:
    """What one instance announces, and what it has heard in return. ``describe`` returns its facts at the moment."""

    def __init__(self, instance_id: str, lease_ms: int, describe: Callable[[], dict[str, Any]]) -> None:
        self.instance_id = instance_id
        self.period_s = lease_ms / 1000 / ANNOUNCEMENTS_PER_LEASE
        self.clock = ClockOffset()
        self._lease_ms = lease_ms
        self._describe = describe
        self._created = time.time()
        self._started_at = ""
        self._layout = LAYOUT
        self._is_unheard = False
        self._until_sweep = 0
        self._insists = True

    def words(self) -> list[Any]:
        """Return the arguments of announce.lua, and the first ones of renew.lua."""
        facts = {"id": self.instance_id, **self._describe(), "started_at": self._begun()}
        facts |= {"lease_ms": self._lease_ms, "clock_offset_s": self.clock.seconds}
        return [self.instance_id, self._lease_ms, json.dumps(facts), LAYOUT]

    def _begun(self) -> str:
        """Return when this instance began, by the store's clock as soon as a look has told the offset."""
        if self._started_at:
            return self._started_at
        offset_s = self.clock.seconds
        began = datetime.fromtimestamp(self._created - (offset_s or 0.0), UTC).isoformat(timespec="milliseconds")
        if offset_s is not None:
            self._started_at = began
        return began

    def sweep_words(self) -> list[Any] | None:
        """Return the arguments of sweep.lua, once a lease and as long as there is more to do; else None."""
        self._until_sweep -= 1
        if self._until_sweep >= 0:
            return None
        return [self.instance_id, self._lease_ms, "1" if self._insists else ""]

    def swept(self, more: str) -> None:
        """Take the reply of sweep.lua."""
        self._insists = bool(more)
        self._until_sweep = 0 if more else ANNOUNCEMENTS_PER_LEASE - 1

    def heard(self, watch: Stopwatch, reply: Sequence[Any]) -> None:
        """Take a reply of announce.lua or renew.lua; what is wrong is logged when it begins."""
        seconds, microseconds, said, *_ = reply
        self.clock.note(*watch.read(), (int(seconds), int(microseconds)))
        if isinstance(said, str):
            if not self._is_unheard:
                log.error("this instance renews its leases, but cannot be announced: %s", said)
            self._is_unheard = True
            return
        self._is_unheard = False
        self._understand(said[0], int(said[1]))

    def _understand(self, standing: str, layout: int) -> None:
        if standing == "back":
            log.warning(
                "this instance was declared gone, as nothing was heard of it for ten leases; it has joined again, and "
                "others may have taken over what it was executing"
            )
        if layout != self._layout:
            log.error(
                "the store now has layout %d, and this program knows layout %d: stop this process (docs/upgrading.md)",
                layout,
                LAYOUT,
            )
        self._layout = layout
