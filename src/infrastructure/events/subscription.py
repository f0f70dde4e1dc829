"""What both kinds of subscription share: a task, how a handler is called, how it all ends."""

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import TypeVar

from application.events.bus import EventHandler, GapHandler
from application.tasks import CANCEL_AGAIN_S
from domain.events.event import Event, Gap
from infrastructure.events.options import Condition, EventBusOptions

log = logging.getLogger(__name__)

T = TypeVar("T")

LATE = "it took longer than {:g} s"
YIELD_AFTER_S = 0.005
"""Handlers that never wait let others run after this long."""


class RedisSubscription(ABC):
    """One task that calls one handler, for one event after the other, or has helpers call it for several at once."""

    def __init__(
        self,
        name: str,
        handler: EventHandler,
        on_gap: GapHandler | None,
        options: EventBusOptions,
        condition: Condition,
    ) -> None:
        self.name = name
        self._handler = handler
        self._on_gap = on_gap
        self._options = options
        self._counters = condition.counters
        self._task: asyncio.Task[None] | None = None
        self._in_place = asyncio.Event()
        self._in_handler = 0
        """Calls of the handler under way."""
        self._helpers: set[asyncio.Task[None]] = set()
        """Tasks beside the one of this subscription that call the handler."""
        self._closing = False
        self._leaving = False
        """Delivery has ended; what is left to do must not be cancelled."""
        self._breathed = 0.0
        self._loop: asyncio.AbstractEventLoop
        self._timer: asyncio.TimerHandle | None = None
        self._limit_at = 0.0
        self._over_limit = False

    @abstractmethod
    async def _run(self) -> None:
        """Deliver until cancelled, or until ``_closing`` is seen."""

    @property
    def ended(self) -> bool:
        """Tell whether it was closed and nothing of it runs any more."""
        return self._closing and (self._task is None or self._task.done())

    def begin(self) -> None:
        """Start delivery, once."""
        if self._task is None and not self._closing:
            self._loop = asyncio.get_running_loop()
            self._task = self._loop.create_task(self._live(), name=f"events: {self.name}")

    async def ready(self) -> None:
        """Return when it has its place in the streams, or is closed."""
        await self._in_place.wait()

    async def close(self) -> None:
        """Stop delivery. A handler in mid-call gets the grace to end in; one that calls this is not waited for."""
        self._closing = True
        self._in_place.set()
        task = self._task
        if task is None or task.done() or asyncio.current_task() in {task, *self._helpers}:
            return
        await self._end(task, time.monotonic() + self._options.stop_grace_s)
        if not task.done():
            log.warning("the handler of %s did not end within %g s: cancelled", self.name, self._options.stop_grace_s)
            task.cancel()
            await asyncio.wait({task}, timeout=self._options.stop_grace_s)
        if not task.done():
            log.error("the handler of %s ignores its cancellation: left behind", self.name)

    async def _end(self, task: "asyncio.Task[None]", deadline: float) -> None:
        """Let the task end: by itself where it must not be disturbed, else cancelled, again if it did not hear."""
        while not task.done() and (left_s := deadline - time.monotonic()) > 0:
            if not self._in_handler and not self._leaving:
                task.cancel()
            await asyncio.wait({task}, timeout=min(CANCEL_AGAIN_S, left_s))

    async def _live(self) -> None:
        try:
            await self._run()
        except Exception:
            log.exception("%s ended: this is a bug", self.name)
        finally:
            if self._timer is not None:
                self._timer.cancel()

    async def _breathe(self) -> None:
        """Let others run, if the handlers have not for a while."""
        if time.monotonic() - self._breathed > YIELD_AFTER_S:
            await asyncio.sleep(0)
            self._breathed = time.monotonic()

    async def _call(self, event: Event) -> BaseException | None:
        """Let the handler have an event; return None, or why it failed."""
        error = await self._within_limit(self._handler, event)
        if error is None:
            self._counters.handled += 1
        return error

    async def _tell_gap(self, gap: Gap) -> None:
        self._counters.gaps += 1
        self._counters.lost += gap.lost or 0
        lost = "an unknown number of" if gap.lost is None else gap.lost
        log.error(
            "%s missed %s '%s' events: they were trimmed, or the store lost its data", self.name, lost, gap.family
        )
        if self._on_gap is not None and (error := await self._within_limit(self._on_gap, gap)):
            log.error("the gap handler of %s failed", self.name, exc_info=error)

    async def _within_limit(self, handler: Callable[[T], Awaitable[None]], about: T) -> BaseException | None:
        """Call a handler; return what it raised, or that it took too long."""
        if asyncio.current_task() in self._helpers:
            return await self._within_own_limit(handler, about)
        self._in_handler += 1
        self._limit_at = self._loop.time() + self._options.handler_timeout_s
        if self._timer is None:
            self._timer = self._loop.call_at(self._limit_at, self._check_limit)
        try:
            await handler(about)
        except Exception as error:  # noqa: BLE001 - a handler may raise anything; the caller logs and counts it
            return error
        except asyncio.CancelledError as error:
            # If not this task was meant but something that the handler waited for, the subscription goes on.
            if self._task is not None and self._task.cancelling() > self._over_limit:
                raise
            return TimeoutError(LATE.format(self._options.handler_timeout_s)) if self._over_limit else error
        finally:
            self._in_handler -= 1
            if self._over_limit and self._task is not None:
                self._over_limit = False
                self._task.uncancel()
        return None

    async def _within_own_limit(self, handler: Callable[[T], Awaitable[None]], about: T) -> BaseException | None:
        """Do the same in a task that is one of several, each with a timer of its own."""
        self._in_handler += 1
        try:
            async with asyncio.timeout(self._options.handler_timeout_s) as limit:
                await handler(about)
        except Exception as error:  # noqa: BLE001 - as above
            return TimeoutError(LATE.format(self._options.handler_timeout_s)) if limit.expired() else error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return error
        finally:
            self._in_handler -= 1
        return None

    def _check_limit(self) -> None:
        """Cancel a call that takes too long. One timer a limit's length serves all calls: one each would cost 10 us."""
        self._timer = None
        if not self._in_handler or self._task is None:
            return
        if self._loop.time() < self._limit_at:
            self._timer = self._loop.call_at(self._limit_at, self._check_limit)
        else:
            self._over_limit = True
            self._task.cancel()
