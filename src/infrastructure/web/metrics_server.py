"""A second address for metrics and health alone: of a process that serves no API, or for who must not reach it."""

import asyncio
from collections.abc import Callable

from fastapi import FastAPI

from domain.errors import RoundsmanError
from infrastructure.settings import ServerSettings
from infrastructure.web import metrics, probes
from infrastructure.web.app import bare_app
from infrastructure.web.server import AddressNotUsable, ApiServer, listen, make_server
from infrastructure.web.services import Services


class MetricsAddressNotUsable(RoundsmanError):
    """The address of telemetry.metrics_address, {host} port {port}, cannot be listened on: {why}. Stop what listens
    there, or choose another: each process on a machine needs one of its own."""

    status = 500


class MetricsServer:
    """Serve GET /metrics and /health, behind the same door and the same keys as the API. A hosted service."""

    def __init__(self, services: Callable[[], Services], settings: ServerSettings) -> None:
        """``settings`` are those of the API with another host and port."""
        self._settings = settings
        self._app: FastAPI = bare_app(services, settings, (metrics.router, probes.router))
        self._server: ApiServer | None = None
        self._serving: asyncio.Task[None] | None = None
        self.port = 0
        """The port that it listens on."""

    async def start(self) -> None:
        """Listen; raises ``MetricsAddressNotUsable``. A second start does nothing."""
        if self._serving is not None:
            return
        try:
            sockets = listen(self._settings)
        except AddressNotUsable as error:
            raise MetricsAddressNotUsable(**error.facts) from error
        self.port = sockets[0].getsockname()[1]
        self._server = make_server(self._app)
        self._serving = asyncio.create_task(self._server.serve(sockets), name="metrics server")

    async def stop(self) -> None:
        """Answer what was asked, for a limited time, and end; twice is fine."""
        serving, self._serving = self._serving, None
        if serving is not None and self._server is not None:
            self._server.should_exit = True
            await serving
