"""Notice from another thread that the event loop does not turn, and say what keeps it."""

import asyncio
import logging
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)

SILENCE_S = 1.0
"""A loop that did not turn for this long is blocked."""
PULSE_S = 0.2


@dataclass(frozen=True)
class Blockage:
    """A time during which the loop did not turn. ``by`` names what was executing on it."""

    by: str
    began: float
    """By this host's clock, seconds since the epoch."""
    lasted_s: float


class LoopWatch:
    """Watch one event loop. Started and stopped on it; ``look`` is called by one other thread, again and again.

    A loop is blocked when it did not turn for a second and one and the same task kept it. One that is merely starved of
    processor time goes from task to task, and goes on claiming.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread_id = 0
        self._pulse: asyncio.TimerHandle | None = None
        self._turned = time.monotonic()
        self._task: asyncio.Task[Any] | None = None
        self._task_since = self._turned
        self.now: Blockage | None = None
        """The blockage that goes on, as far as it was seen."""
        self.last: Blockage | None = None
        """The last one that is over."""
        self._counted_s = 0.0
        self.stalls = 0
        self.stalled_s = 0.0
        """How often it was blocked, and for how long in all; one that goes on counts already."""

    def start(self) -> None:
        """Begin, on the loop to be watched."""
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._beat()

    def stop(self) -> None:
        """End, on the loop; twice is fine."""
        if self._pulse is not None:
            self._pulse.cancel()
        self._task = None

    def look(self) -> bool:
        """Tell whether the loop is blocked, and log when that begins and ends."""
        silent_s = self._silent_s()
        if silent_s > SILENCE_S:
            if self.now is None:
                self.stalls += 1
                self.now = Blockage(self._culprit(), time.time() - silent_s, silent_s)
                log.error(
                    "%s blocks the event loop for %.1f s now; nothing is claimed until it ends\n%s",
                    self.now.by,
                    silent_s,
                    self._stack(),
                )
            self.stalled_s += silent_s - self._counted_s
            self._counted_s = silent_s
            self.now = Blockage(self.now.by, self.now.began, silent_s)
        elif self.now is not None:
            log.warning("the event loop turns again; %s had blocked it for %.1f s", self.now.by, self.now.lasted_s)
            self.last, self.now, self._counted_s = self.now, None, 0.0
        return self.now is not None

    def _silent_s(self) -> float:
        """Return for how long the loop has not turned and has been in the task that it is in, as far as looks tell."""
        now, task = time.monotonic(), asyncio.current_task(self._loop)
        if task is not self._task or self._turned > self._task_since:
            self._task, self._task_since = task, now
            return 0.0
        return now - self._turned if now - self._task_since > SILENCE_S - 2 * PULSE_S else 0.0

    def _beat(self) -> None:
        self._turned = time.monotonic()
        assert self._loop is not None  # noqa: S101 - set by start
        self._pulse = self._loop.call_later(PULSE_S, self._beat)

    def _culprit(self) -> str:
        """Name the task that the loop is executing; the runner names tasks after their runs."""
        return self._task.get_name() if self._task is not None else "something that is no task"

    def _stack(self) -> str:
        frame = sys._current_frames().get(self._thread_id)  # noqa: SLF001 - the documented way
        return "".join(traceback.format_stack(frame)) if frame else "(its thread has ended)"
