"""Announce an instance that executes nothing: it holds no leases, so a task on its event loop will do."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from application.tasks import end_task
from domain.errors import StoreUnavailable
from infrastructure.redis.connection import RedisStore, store_errors
from infrastructure.runs.presence import Presence, Stopwatch
from infrastructure.runs.scripts import Retention, source

log = logging.getLogger(__name__)

LAST_CALL_S = 2.0
"""How long a stop waits for the call that is under way, and for the goodbye."""


class Announcer:
    """Hosted service: say every quarter of a lease that this instance is there, and goodbye at the end.

    It is no beat for the rule that holds take-overs back after an outage: that rule is about who executes.
    """

    def __init__(
        self,
        store: RedisStore,
        instance_id: str,
        lease_ms: int,
        retention: Retention,
        describe: Callable[[], dict[str, Any]],
    ) -> None:
        self._prefix = f"{store.prefix}:"
        self._announce, self._sweep, self._leave = (
            store.command.register_script(source(name, retention)) for name in ("announce", "sweep", "leave")
        )
        self.presence = Presence(instance_id, lease_ms, describe)
        self._ending = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._down = False

    async def start(self) -> None:
        """Begin to announce; a second start does nothing."""
        if self._task is None:
            self._ending.clear()
            self._task = asyncio.create_task(self._work(), name="announcer")

    async def stop(self) -> None:
        """Say goodbye and end; twice is fine."""
        task, self._task = self._task, None
        if task is None:
            return
        self._ending.set()
        await asyncio.wait([task], timeout=LAST_CALL_S)
        await end_task(task)

    async def _work(self) -> None:
        while not self._ending.is_set():
            try:
                await self._announce_once()
            except StoreUnavailable as error:
                if not self._down:
                    log.warning("this instance cannot be announced now: %s", error)
                self._down = True
            except Exception:
                log.exception("an announcement failed")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.presence.period_s):
                    await self._ending.wait()
        await self._say_goodbye()

    async def _announce_once(self) -> None:
        watch = Stopwatch()
        with store_errors():
            self.presence.heard(watch, await self._announce(keys=[self._prefix], args=self.presence.words()))
            self._down = False
            if (words := self.presence.sweep_words()) is not None:
                self.presence.swept(await self._sweep(keys=[self._prefix], args=words))

    async def _say_goodbye(self) -> None:
        try:
            with store_errors():
                await self._leave(keys=[self._prefix], args=[self.presence.instance_id])
        except StoreUnavailable as error:
            log.warning("this instance leaves without saying so: %s", error)
