"""The kit's time: it stands still until a test moves it, for schedules, for timeouts, and for what bodies wait for."""

import asyncio
import contextvars
import heapq
import itertools
import math
from collections.abc import Callable
from datetime import datetime
from typing import Any

from application.scheduling.moments import at, milliseconds

RUN: "contextvars.ContextVar[tuple[KitClock, str] | None]" = contextvars.ContextVar("testing_run", default=None)
"""Whose time holds where this code runs: that of a kit, within a run ('' for the kit's own timers), or real time."""
OF_SLEEP = "_set_result_unless_cancelled"
"""What ``asyncio.sleep`` asks a loop to call. Where it has another name, bodies that sleep only cost patience."""


class KitTimer(asyncio.TimerHandle):
    """A callback that waits for the kit's time. ``is_sleep``: a body waits for this moment and for nothing else."""

    def __init__(
        self,
        when: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: asyncio.AbstractEventLoop,
        run_id: str,
        context: contextvars.Context,
    ) -> None:
        super().__init__(when, callback, args, loop, context)
        self.run_id = run_id
        self.is_sleep = getattr(callback, "__name__", "") == OF_SLEEP
        self._work = (callback, args, context)

    def strike(self) -> None:
        """Call back, unless it was cancelled in the last moment."""
        if not self.cancelled():
            callback, args, context = self._work
            context.run(callback, *args)


class KitClock:
    """Milliseconds since the epoch that move when they are told to.

    Within runs it takes the place of the loop's clock: ``asyncio.sleep``, ``asyncio.timeout`` and ``loop.time`` there
    go by this time, and everywhere else by the real one. It needs asyncio's own event loop.
    """

    def __init__(self, start: datetime) -> None:
        self.now = milliseconds(start)
        self.made = 0
        """How many timers were made so far: whether somebody did something."""
        self._start = self.now
        self._numbers = itertools.count()
        self._timers: list[tuple[int, int, KitTimer]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._replaced: dict[str, Any] = {}

    def datetime(self) -> datetime:
        """Return the time, UTC."""
        return at(self.now)

    def seconds(self) -> float:
        """Return the seconds since the kit was made."""
        return (self.now - self._start) / 1000

    def install(self, loop: asyncio.AbstractEventLoop) -> None:
        """Ask this clock, and not the loop's own, wherever a run of this kit asks for the time."""
        self._loop = loop
        real_time, real_at, real_later = loop.time, loop.call_at, loop.call_later

        def time() -> float:
            return self.seconds() if self._is_asked() else real_time()

        def call_at(when: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
            if self._is_asked():
                return self._timer(when, callback, args, context)
            return real_at(when, callback, *args, context=context)

        def call_later(delay: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
            if self._is_asked():
                return self._timer(self.seconds() + delay, callback, args, context)
            return real_later(delay, callback, *args, context=context)

        ours = {"time": time, "call_at": call_at, "call_later": call_later}
        self._replaced = {name: vars(loop).get(name) for name in ours}  # that of another kit, perhaps
        for name, function in ours.items():
            setattr(loop, name, function)

    def remove(self) -> None:
        """Leave the loop as it was."""
        loop, self._loop = self._loop, None
        for name, before in self._replaced.items() if loop is not None else ():
            delattr(loop, name) if before is None else setattr(loop, name, before)

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call something of the kit's own whose timers are to go by this time."""
        context = contextvars.copy_context()
        context.run(RUN.set, (self, ""))
        return context.run(function, *args)

    def next_timer(self) -> int | None:
        """Return when (ms) the next timer strikes, or None."""
        while self._timers and self._timers[0][2].cancelled():
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def sleepers(self) -> set[str]:
        """Return the runs of which some part sleeps."""
        return {timer.run_id for _, _, timer in self._timers if timer.is_sleep and not timer.cancelled()}

    def move_to(self, moment: int) -> None:
        """Let it be ``moment`` (ms), and let the timers strike that are due by then, in their order."""
        while (due := self.next_timer()) is not None and due <= moment:
            self.now = max(self.now, due)
            self.made += 1
            heapq.heappop(self._timers)[2].strike()
        self.now = max(self.now, moment)

    def _is_asked(self) -> bool:
        found = RUN.get()
        return found is not None and found[0] is self

    def _timer(self, when: float, callback: Any, args: tuple[Any, ...], context: Any) -> KitTimer:
        asked = RUN.get()
        assert self._loop is not None  # noqa: S101 - only the installed functions come here
        assert asked is not None  # noqa: S101
        timer = KitTimer(when, callback, args, self._loop, asked[1], context or contextvars.copy_context())
        self.made += 1
        due = self._start + math.ceil(round(when * 1000, 3))
        heapq.heappush(self._timers, (due, next(self._numbers), timer))
        return timer
