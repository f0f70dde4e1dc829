"""Start services in order, stop them in reverse."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

log = logging.getLogger(__name__)


class HostedService(Protocol):
    """Something with a life: ``stop`` before ``start`` and a second ``stop`` do nothing."""

    async def start(self) -> None:
        """Begin; raise what prevents it, leaving nothing behind."""
        ...

    async def stop(self) -> None:
        """End, and return when everything it owned has ended."""
        ...


class Host:
    """Own the services of one process. A ``stop`` during ``start``, or during another ``stop``, waits for it."""

    def __init__(self, services: Sequence[HostedService]) -> None:
        self._services = tuple(services)
        self._started: list[HostedService] = []
        self._lock = asyncio.Lock()

    async def start(self) -> None:
        """Start each service in order; when one fails, stop it and those before it and raise its error."""
        async with self._lock:
            if self._started:
                return
            for service in self._services:
                self._started.append(service)
                try:
                    await service.start()
                except BaseException:
                    await self._stop_all()
                    raise

    async def stop(self) -> None:
        """Stop what was started, last first. One that fails is logged and does not keep the others running.

        Neither does cancellation: it is raised when all have been told to stop.
        """
        async with self._lock:
            await self._stop_all()

    async def _stop_all(self) -> None:
        interruption: BaseException | None = None
        while self._started:
            service = self._started.pop()
            try:
                await service.stop()
            except Exception:
                log.exception("%s did not stop cleanly", type(service).__name__)
            except BaseException as error:  # noqa: BLE001 - raised again below
                log.warning("%s was interrupted while it stopped", type(service).__name__)
                interruption = error
        if interruption is not None:
            raise interruption
