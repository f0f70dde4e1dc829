"""A real HTTP receiver on loopback: keeps what it gets, and answers what it is told to."""

import asyncio
import json
import ssl
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self


@dataclass(frozen=True)
class Received:
    """One request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def key(self) -> str:
        return self.headers["webhook-id"]


@dataclass(frozen=True)
class Reply:
    """What a request is answered with. ``instead``: nothing, for ever; or the connection is cut."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"ok"
    instead: Literal["hang", "cut", "endless"] | None = None


class Receiver:
    """Use it as an async context manager. ``replies`` are used up one a request; then everything is fine."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._port = 0
        self.received: list[Received] = []
        self.replies: deque[Reply] = deque()
        self.always: Reply | None = None
        self.connections = 0
        """Open now."""
        self.bytes_sent = 0
        self._hanging = asyncio.Event()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://localhost:{self._port}/hooks/T0KEN-of-mine-12345"

    @property
    def port(self) -> int:
        return self._port

    @property
    def alerts(self) -> list[str]:
        """What it was told, in order: ``firing cpu@w1@1``; nothing twice that has the same key."""
        found, seen = [], set()
        for one in self.received:
            if one.key not in seen:
                seen.add(one.key)
                found += [f"{alert['kind']} {alert['alert_id']}" for alert in one.json["alerts"]]
        return found

    def let_go(self) -> None:
        """Answer those who hang, and hang no more."""
        self._hanging.set()

    async def start(self) -> None:
        """Listen, on the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port, ssl=self._tls)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse connections, and cut those that are open."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while await self._answer_one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.connections -= 1
            self._tasks.discard(task)
            writer.transport.abort()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ", 2)
        pairs = (line.partition(":") for line in head[1:] if line)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.received.append(Received(method, path, headers, body))
        reply = self.always or (self.replies.popleft() if self.replies else Reply())
        if reply.instead == "hang":
            await self._hanging.wait()
            reply = Reply()
        if reply.instead == "cut":
            return False
        lines = [f"HTTP/1.1 {reply.status} X", *(f"{name}: {value}" for name, value in reply.headers.items())]
        if reply.instead == "endless":
            writer.write("\r\n".join([*lines, "content-length: 1000000000", "", ""]).encode())
            while True:
                writer.write(b"x" * 1024)
                await writer.drain()
                self.bytes_sent += 1024
        writer.write("\r\n".join([*lines, f"content-length: {len(reply.body)}", "", ""]).encode() + reply.body)
        await writer.drain()
        return True
