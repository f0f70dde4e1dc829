"""A way to the store that stands still at one step of the protocol: where a process can be killed, or held, exactly."""

import asyncio
import hashlib
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Literal
from urllib.parse import urlsplit

from distributed.checker_journal import ALL_EVENTS
from fault_proxy import stop_listening
from infrastructure.jobs.history.settings import HistorySettings
from infrastructure.redis.embedded import EmbeddedValkey
from infrastructure.runs.scripts import WHERE, Retention, source

Moment = Literal["asked", "answered"]


def _digest(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()  # noqa: S324 - how Redis names scripts


RETENTIONS = [
    replace(kept, exported_at_most=waiting)
    for kept in (Retention(), ALL_EVENTS)
    for waiting in (0, HistorySettings().exported_at_most)
]
"""What programs and tests keep, with a history and without."""
SCRIPTS = {_digest(source(name, kept)): name for name in WHERE for kept in RETENTIONS}


class Trap:
    """Springs once, when ``script`` is called with, or answers with, ``needle``.

    ``asked``: before the store has seen the call. ``answered``: the store has done it, and nobody has heard of it.
    Then ``deed`` is awaited. If it returns True, what was held passes on; otherwise the connection is cut.
    """

    def __init__(self, script: str, moment: Moment, needle: str, deed: Callable[[], Awaitable[bool]]) -> None:
        self.script = script
        self.moment = moment
        self.needle = needle.encode()
        self.deed = deed
        self.sprung = asyncio.Event()


class TrapProxy:
    """Pass Redis commands and replies between one process and an embedded server, one at a time, with a trap."""

    def __init__(self, server: EmbeddedValkey) -> None:
        self._socket_path = server.socket_path
        self._password = urlsplit(server.url).password
        self._port = 0
        self._listener: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.trap: Trap | None = None

    @property
    def url(self) -> str:
        """The URL of the server through the proxy."""
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    async def __aenter__(self) -> "TrapProxy":
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self._port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._listener is not None
        await stop_listening(self._listener)
        self._listener = None
        for writer in list(self._writers):
            writer.transport.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._listener is None:  # it came in while the listener was closed
            writer.transport.abort()
            return
        self._writers.add(writer)  # from here on, as its task may be cancelled before its first step
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends, pumps = {writer}, list[asyncio.Task[None]]()
        try:
            up_reader, up_writer = await asyncio.open_unix_connection(self._socket_path)
            ends.add(up_writer)
            self._writers.add(up_writer)
            waiting: deque[tuple[str, bytes]] = deque()
            pumps = [
                asyncio.create_task(self._commands(reader, up_writer, waiting)),
                asyncio.create_task(self._replies(up_reader, writer, waiting)),
            ]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        except OSError:
            pass  # the server is away: its client finds that out from the cut below
        finally:
            for pump in pumps:
                pump.cancel()
            for end in ends:
                end.transport.abort()
            self._writers -= ends
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _commands(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, waiting: deque[tuple[str, bytes]]
    ) -> None:
        while True:
            raw = await _message(reader)
            name = _script(raw)
            if not await self._passes(name, "asked", raw, b""):
                return
            waiting.append((name, raw))
            writer.write(raw)
            await writer.drain()

    async def _replies(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, waiting: deque[tuple[str, bytes]]
    ) -> None:
        while True:
            raw = await _message(reader)
            name, asked = waiting.popleft() if waiting else ("", b"")  # what is published answers nothing
            if not raw.startswith(b"-") and not await self._passes(name, "answered", asked, raw):
                return
            writer.write(raw)
            await writer.drain()

    async def _passes(self, name: str, moment: Moment, asked: bytes, answered: bytes) -> bool:
        trap = self.trap
        if trap is None or (trap.script, trap.moment) != (name, moment) or trap.needle not in asked + answered:
            return True
        self.trap = None
        passes = await trap.deed()
        trap.sprung.set()
        return passes


async def _message(reader: asyncio.StreamReader) -> bytes:
    """Read one command or reply, RESP2, as it is on the wire."""
    line = await reader.readuntil(b"\n")
    kind, size = line[:1], line[1:-2]
    if kind == b"$" and int(size) >= 0:
        return line + await reader.readexactly(int(size) + 2)
    if kind == b"*" and int(size) > 0:
        return line + b"".join([await _message(reader) for _ in range(int(size))])
    return line


def _script(command: bytes) -> str:
    """Return which of our scripts a command calls, or ''."""
    parts = command.split(b"\r\n", 5)
    if len(parts) < 5 or parts[2].upper() not in (b"EVALSHA", b"EVAL"):
        return ""
    known_as = parts[4].decode()
    return SCRIPTS.get(known_as if parts[2].upper() == b"EVALSHA" else _digest(known_as), "")
