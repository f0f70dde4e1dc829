"""While the process ends: nobody waits for a store that is silent."""

import asyncio
import contextlib
import logging
import socket
import threading
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

from redis import exceptions

from application.tasks import end_task

log = logging.getLogger(__name__)

SILENT_AFTER_S = 3.0
"""A store that has not answered for so long is silent: longer than any script takes, or a fork of a large server."""
LOOK_EVERY_S = 0.5
SILENT = "the store is silent, and this process ends"


class Silence:
    """Whether the store is silent; all connections to it look here before they send. Any thread may ask.

    Connections of threads are known here, so that a thread that waits for an answer can be told that there is none.
    """

    def __init__(self) -> None:
        self.is_known = False
        """Whether calls are to fail at once."""
        self._connections: weakref.WeakSet[Any] = weakref.WeakSet()
        self._lock = threading.Lock()

    def add(self, connection: Any) -> None:
        """Know the connection of a thread."""
        with self._lock:
            self._connections.add(connection)

    def refuse(self) -> None:
        """Raise where nothing is to be sent."""
        if self.is_known:
            raise exceptions.ConnectionError(SILENT)

    def begin(self) -> None:
        """Refuse calls from now on, and end the waiting of threads; redis-py raises in them as when a server leaves."""
        self.is_known = True
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            found = connection._sock  # noqa: SLF001 - redis-py has no public way to the socket
            if found is not None:
                with contextlib.suppress(OSError):  # closed meanwhile
                    socket.socket.shutdown(found, socket.SHUT_RDWR)  # not TLS's own, which another thread is in


class LastCalls:
    """Look again and again, from ``start`` on, whether the store answers; where it does not, cut all calls off.

    Without it each service that ends would wait for the same silence, one after the other. A store that answers again
    is spoken to again, as long as this process has not ended.
    """

    def __init__(
        self, silence: Silence, ask: Callable[[], Awaitable[Any]], cut_off: Callable[[], Awaitable[None]]
    ) -> None:
        """``ask`` asks the store anything, past ``silence``; ``cut_off`` ends the calls of the event loop."""
        self._silence = silence
        self._ask = ask
        self._cut_off = cut_off
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look; twice is once."""
        if self._task is None:
            self._task = asyncio.create_task(self._watch(), name="last calls to the store")

    async def stop(self) -> None:
        """Look no more; twice is fine."""
        await end_task(self._task)
        self._task = None

    async def _watch(self) -> None:
        while True:
            try:
                async with asyncio.timeout(SILENT_AFTER_S):
                    await self._ask()
            except TimeoutError:
                await self._is_silent()
            except Exception as error:  # noqa: BLE001 - a store that refuses is not silent: its calls fail by themselves
                log.debug("the store was asked whether it is there: %s", error)
                self._silence.is_known = False
            else:
                self._silence.is_known = False
            await asyncio.sleep(LOOK_EVERY_S)

    async def _is_silent(self) -> None:
        if not self._silence.is_known:
            log.warning("the store has not answered for %g s: this process ends without it", SILENT_AFTER_S)
            self._silence.begin()
            try:
                await self._cut_off()
            except Exception as error:  # noqa: BLE001 - what could not be cut off ends by its own timeout
                log.debug("not all connections to the store could be cut: %s", error)
