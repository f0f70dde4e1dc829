"""The HTTP server of one process."""

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from domain.errors import RoundsmanError
from infrastructure.settings import ServerSettings
from infrastructure.web.events import OpenStreams

STOP_TIMEOUT_S = 5
"""Requests that are not answered after this long are cut off when the server stops."""
BACKLOG = 2048
ABSENT = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
"""The machine lacks this address, or its whole family."""


class AddressNotUsable(RoundsmanError):
    """The address {host} port {port} cannot be listened on: {why}. Is another program running there? Stop it, or choose
    another port (setting server.port, or ROUNDSMAN_SERVER__PORT)."""

    status = 500


class ApiServer(uvicorn.Server):
    """uvicorn, which waits for open responses when it stops: so the endless ones are ended first."""

    def __init__(self, config: uvicorn.Config, streams: OpenStreams) -> None:
        super().__init__(config)
        self._streams = streams

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the program: uvicorn would raise them again once it has stopped."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more requests, end the streams, wait for the rest, then end the lifespan."""
        self._streams.end()
        await super().shutdown(sockets)


def make_server(app: FastAPI) -> ApiServer:
    """Return the server of ``app``, not started: ``await server.serve(sockets=listen(settings))``.

    It keeps no access log: what happens is on the event bus, and what fails is in the log anyway.
    """
    config = uvicorn.Config(
        app,
        lifespan="on",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=STOP_TIMEOUT_S,
    )
    return ApiServer(config, app.state.streams)


def listen(settings: ServerSettings) -> list[socket.socket]:
    """Take the address, in each of its families; raises ``AddressNotUsable``. Port 0 takes a free one.

    ``localhost`` means 127.0.0.1 and ::1; one that this machine lacks is left out.
    """
    taken: list[socket.socket] = []
    try:
        for family, host in _addresses(settings):
            port = taken[0].getsockname()[1] if taken else settings.port
            try:
                taken.append(_take(family, host, port))
            except OSError as error:
                if error.errno not in ABSENT:
                    raise
                absent = error
        if not taken:
            raise absent
    except OSError as error:
        for listener in taken:
            listener.close()
        raise AddressNotUsable(host=settings.host, port=settings.port, why=error.strerror or str(error)) from error
    return taken


def _addresses(settings: ServerSettings) -> list[tuple[socket.AddressFamily, str]]:
    """Return the address's families with its numeric form in each; IPv4 first."""
    found = socket.getaddrinfo(settings.host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    known = {(family, str(address[0])) for family, _, _, _, address in found}
    return sorted(known, key=lambda item: item[0] != socket.AF_INET)


def _take(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    # With the protocol named: asyncio turns Nagle's algorithm off only then, and every answer would wait 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
