"""Notice that the store's clock jumped: schedules follow it, and somebody should know why they fire now, or do not."""

import logging
import time

from infrastructure.redis.connection import COMMAND_TIMEOUT_S

log = logging.getLogger(__name__)

JUMP_MS = 10_000
"""Less may be a slow answer (a call is given up after 5 s), or a clock that is being put right bit by bit."""


class ClockWatch:
    """The store's clock beside this machine's monotonic one, which never jumps. Told by one thread, asked by any."""

    def __init__(self) -> None:
        self.ahead_ms: int | None = None
        """By how much the store's clock is ahead of our monotonic one, at most; None before the first look."""
        self._again_at = 0.0

    def heard(self, store_ms: int, asked_s: float) -> None:
        """Take what the store's clock showed in answer to a question of ``asked_s`` (s, monotonic)."""
        before, self.ahead_ms = self.ahead_ms, store_ms - round(asked_s * 1000)
        if before is None or abs(by_ms := self.ahead_ms - before) < JUMP_MS:
            return
        if by_ms > 0:
            self._again_at -= by_ms / 1000
            log.warning(
                "the store's clock went forward by %.0f s, or this machine slept: what became due follows its catch_up",
                by_ms / 1000,
            )
            return
        self._again_at = max(self._again_at, asked_s) - by_ms / 1000
        log.error(
            "THE STORE'S CLOCK WENT BACK by %.0f s: schedules fire again when it shows the time at which they are due; "
            "run now, one-shots and what runs are not held up",
            -by_ms / 1000,
        )

    def in_time(self, ms: int, patience_s: float = COMMAND_TIMEOUT_S) -> str:
        """Return a duration, and until when (ms of the store's clock) somebody waits for an answer from now on."""
        if self.ahead_ms is None:
            return str(ms)
        return f"{ms}@{round((time.monotonic() + patience_s) * 1000) + self.ahead_ms}"

    @property
    def behind_s(self) -> float:
        """Return for how long the store's clock still shows times that it has shown before; 0.0 when it does not."""
        return max(self._again_at - time.monotonic(), 0.0)
