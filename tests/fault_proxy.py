"""A TCP front for a Redis that misbehaves on request."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import urlsplit

Fault = Literal["none", "black hole", "mute", "reset", "down"]


class Server(Protocol):
    """A server on a unix socket: an embedded one, or one that the test runs beside the program."""

    @property
    def url(self) -> str: ...
    @property
    def socket_path(self) -> Path: ...


class FaultProxy:
    """Pass bytes between TCP clients and a server; ``set_fault`` and ``latency_s`` (each way) spoil it.

    ``black hole``: connections are accepted and kept, nothing passes (what was sent meanwhile passes when it ends).
    ``mute``: what clients send arrives, and no answer comes back; connections are cut when it ends. ``mute_at`` begins
    it with the first request, or the first answer, in which these bytes are.
    ``reset``: open connections are cut, new ones are cut as soon as they are made.
    ``down``: open connections are cut, new ones are refused.

    ``lead_to`` sends new connections to another server, as a name does after a fail-over.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._listener: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._fault: Fault = "none"
        self.latency_s = 0.0
        self.mute_at = b""
        self.port = 0
        self.accepted = 0
        """Connections that were made so far."""

    @property
    def url(self) -> str:
        """The URL of the server through the proxy."""
        password = urlsplit(self._server.url).password
        return f"redis://{f':{password}@' if password else ''}127.0.0.1:{self.port}/0"

    async def __aenter__(self) -> "FaultProxy":
        await self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.set_fault("down")
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def set_fault(self, fault: Fault) -> None:
        """Begin ``fault``, ending the one before."""
        cut = fault in ("reset", "down") or self._fault == "mute"
        self._fault = fault
        self._flowing.clear() if fault == "black hole" else self._flowing.set()
        if fault == "down" and self._listener is not None:
            listener, self._listener = self._listener, None
            await stop_listening(listener)
        if cut:
            for writer in list(self._writers):
                writer.transport.abort()
        if fault != "down" and self._listener is None:
            await self._listen()

    def lead_to(self, server: Server) -> None:
        """Let new connections go to ``server``; open ones stay where they are."""
        self._server = server

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self._fault in ("reset", "down"):  # down: it came in while the listener was closed
            writer.transport.abort()
            return
        self._writers.add(writer)
        self._own(self._connect(reader, writer))

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_unix_connection(self._server.socket_path)
        except OSError:  # the server is away: what a port without a listener does comes close
            self._writers.discard(writer)
            writer.transport.abort()
            return
        if writer.is_closing():  # cut meanwhile
            self._writers.discard(writer)
            up_writer.transport.abort()
            return
        self._own(self._pump(reader, up_writer, self._heard))
        self._own(self._pump(up_reader, writer, self._answered))

    def _own(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _heard(self, request: bytes) -> bytes:
        self._fall_silent_at(request)
        return request

    def _answered(self, answer: bytes) -> bytes:
        self._fall_silent_at(answer)
        return b"" if self._fault == "mute" else answer

    def _fall_silent_at(self, data: bytes) -> None:
        if self.mute_at and self.mute_at in data:
            self._fault, self.mute_at = "mute", b""

    @property
    def fault(self) -> Fault:
        """What it does to its clients now."""
        return self._fault

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, changed: Callable[[bytes], bytes]
    ) -> None:
        self._writers.add(writer)
        try:
            while data := await reader.read(65536):
                await asyncio.sleep(self.latency_s)
                await self._flowing.wait()
                writer.write(changed(data))
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            self._writers.discard(writer)
            writer.close()


async def stop_listening(server: asyncio.Server) -> None:
    """Close a server; Python 3.11 leaks what it had accepted, and not yet given a transport, when it closes at once."""
    loop = asyncio.get_running_loop()
    for listening in server.sockets:
        loop.remove_reader(listening.fileno())
    await asyncio.sleep(0)
    server.close()
