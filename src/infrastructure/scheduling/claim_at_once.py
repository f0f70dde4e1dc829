"""Claim on the event loop as soon as runs are ready: what an instance does that has nothing else to do."""

import asyncio
import logging
import time
from collections.abc import Callable

from application.runs.runner import JobRunner
from domain.errors import RoundsmanError
from infrastructure.redis.connection import COMMAND_TIMEOUT_S, RedisStore, store_errors
from infrastructure.runs.scripts import Retention, source
from infrastructure.scheduling.claiming import LONGEST_WAIT_S, Claiming

log = logging.getLogger(__name__)

REST_S = 0.01
"""Who has just claimed and hears again of ready runs is in for more: the tick takes many with one call."""


class ClaimAtOnce:
    """Save what is ready the way to the tick's thread and back, while this instance holds no run.

    Who holds runs has work, and the tick claims many of them with one call; nor does a body of ours keep the loop from
    hearing what was claimed. An answer that comes late, however that may be, counts for lost: others may have the runs
    by then. ``wake_tick`` is called when it cannot wait for its next pass.
    """

    def __init__(
        self,
        store: RedisStore,
        retention: Retention,
        claiming: Claiming,
        runner: JobRunner,
        lease_ms: int,
        wake_tick: Callable[[], None],
    ) -> None:
        self._prefix = f"{store.prefix}:"
        self._script = store.command.register_script(source("claim", retention))
        self._claiming = claiming
        self._runner = runner
        self._patience_s = min(lease_ms / 2000, COMMAND_TIMEOUT_S)
        self._wake_tick = wake_tick
        self._task: asyncio.Task[float] | None = None

    def begin(self) -> bool:
        """Begin to claim; return False, and do nothing, where that is the tick's: it is to be woken."""
        claiming = self._claiming
        if self._runner.held or time.monotonic() < claiming.asked + REST_S or claiming.clock.ahead_ms is None:
            return False
        if not claiming.free_slots or not claiming.turn.acquire(blocking=False):
            return False
        self._task = asyncio.create_task(self._claim(), name="claim at once")
        self._task.add_done_callback(self._ended)
        return True

    async def stop(self) -> None:
        """Wait for the claim that is under way; ``begin`` is called no more."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _claim(self) -> float:
        """Claim, begin what is given, and return in how many seconds another claim is due."""
        claiming, asked = self._claiming, time.monotonic()
        claiming.begin()
        try:
            args = claiming.words(claiming.free_slots, self._patience_s)
            with store_errors():
                async with asyncio.timeout(self._patience_s):
                    reply = await self._script(keys=[self._prefix], args=args)
            claims, wait_s = claiming.take(reply, asked)
        except BaseException:
            claiming.doubt(asked)
            raise
        self._runner.start(claims)
        return wait_s

    def _ended(self, task: asyncio.Task[float]) -> None:
        self._claiming.release()
        error = None if task.cancelled() else task.exception()
        if isinstance(error, RoundsmanError):
            log.debug("runs could not be claimed at once: %s", error)  # the tick meets it too, and says so
        elif error is not None:
            log.error("runs could not be claimed at once; the tick claims them", exc_info=error)
        if task.cancelled() or error or task.result() < LONGEST_WAIT_S or self._claiming.due_in_s() <= 0:
            self._wake_tick()
