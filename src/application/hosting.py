"""Start services in order, stop them in reverse."""

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
    """Own the services of one process."""

    def __init__(self, services: Sequence[HostedService]) -> None:
        self._services = tuple(services)
        self._started: list[HostedService] = []

    async def start(self) -> None:
        """Start each service in order; when one fails, stop those before it and raise its error."""
        for service in self._services:
            try:
                await service.start()
            except BaseException:
                await self.stop()
                raise
            self._started.append(service)

    async def stop(self) -> None:
        """Stop what was started, last first. One that fails is logged and does not keep the others running."""
        while self._started:
            service = self._started.pop()
            try:
                await service.stop()
            except Exception:
                log.exception("%s did not stop cleanly", type(service).__name__)
