"""redis-py's connections with other habits: cancelling, fail-overs, TLS, and telling what the server refused."""

import asyncio
import ssl
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import redis
import redis.asyncio
from redis import exceptions
from redis.asyncio.connection import AbstractConnection as AsyncConnection
from redis.connection import AbstractConnection as ThreadConnection
from redis.connection import HiredisRespSerializer

from infrastructure.redis.last_calls import Silence
from infrastructure.redis.sentinel import Sentinels
from infrastructure.redis.tls import Tls
from infrastructure.redis.words import error_code

Heard = Callable[[str], None]
"""Called with the code of each error that a server answers, in whatever thread."""

DEMOTED = frozenset({"READONLY", "MASTERDOWN", "UNBLOCKED"})
"""What a server says that was the primary and is none now: the next connection may lead to the one that is."""

PACKER: Any = HiredisRespSerializer()


class _Loop(AsyncConnection):
    """An asyncio connection. Give ``heard`` and ``silence`` among the pool's options."""

    def __init__(self, *, heard: Heard, silence: Silence, **options: Any) -> None:
        super().__init__(**options)
        self._heard = heard
        self._silence = silence

    def pack_command(self, *args: Any) -> list[bytes]:
        """Pack with hiredis, as redis-py does for threads alone: a tenth of the time for a command with many words."""
        packed: list[bytes] = PACKER.pack(*args)
        return packed

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        """Send as redis-py does, but under ``asyncio.timeout``.

        redis-py uses ``asyncio.wait_for``, which until Python 3.12 swallows a cancellation that comes when the bytes
        are just gone, and which costs a task for each command.
        """
        self._silence.refuse()
        if not self.is_connected:
            await self.connect_check_health(check_health=False)
        if check_health:
            await self.check_health()  # type: ignore[no-untyped-call]  # redis-py's
        text = command.encode() if isinstance(command, str) else command
        try:
            async with asyncio.timeout(self.socket_timeout):
                await self._send_packed_command([text] if isinstance(text, bytes) else text)
        except TimeoutError:
            await self.disconnect(nowait=True)
            raise exceptions.TimeoutError("Timeout writing to socket") from None
        except OSError as error:
            await self.disconnect(nowait=True)
            raise exceptions.ConnectionError(f"Error while writing to socket. {error}") from error
        except BaseException:
            await self.disconnect(nowait=True)  # half a command may be on its way
            raise

    async def read_response(self, *args: Any, **options: Any) -> Any:
        """Read one answer; leave a server that is no primary any more."""
        try:
            return await super().read_response(*args, **options)
        except exceptions.ResponseError as error:
            error.status_code = code = error_code(error)  # a pipeline writes its own words before the text
            self._heard(code)
            if code in DEMOTED:
                await self.disconnect(nowait=True)
            raise


class _Thread(ThreadConnection):
    """A blocking connection for a thread, with the same habits."""

    def __init__(self, *, heard: Heard, silence: Silence, **options: Any) -> None:
        super().__init__(**options)
        self._heard = heard
        self._silence = silence
        silence.add(self)

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """Send, unless the store is silent and this process ends."""
        self._silence.refuse()
        super().send_packed_command(command, check_health)  # type: ignore[no-untyped-call]  # redis-py's

    def read_response(self, *args: Any, **options: Any) -> Any:
        """Read one answer; leave a server that is no primary any more."""
        try:
            return super().read_response(*args, **options)
        except exceptions.ResponseError as error:
            error.status_code = code = error_code(error)  # a pipeline writes its own words before the text
            self._heard(code)
            if code in DEMOTED:
                self.disconnect()  # type: ignore[no-untyped-call]  # redis-py's
            raise


class LoopTcp(_Loop, redis.asyncio.Connection):
    """redis:// for asyncio."""


class LoopUnix(_Loop, redis.asyncio.UnixDomainSocketConnection):
    """unix:// for asyncio."""


class LoopTls(LoopTcp):
    """rediss:// for asyncio. Give ``tls`` among the pool's options."""

    def __init__(self, *, tls: Tls, **options: Any) -> None:
        super().__init__(**options)
        self._tls = tls

    def _connection_arguments(self) -> Mapping[str, Any]:
        return {**super()._connection_arguments(), "ssl": self._tls.context()}


class ThreadTcp(_Thread, redis.Connection):
    """redis:// for a thread."""


class ThreadUnix(_Thread, redis.UnixDomainSocketConnection):
    """unix:// for a thread."""


class ThreadTls(ThreadTcp):
    """rediss:// for a thread. Give ``tls`` among the pool's options."""

    def __init__(self, *, tls: Tls, **options: Any) -> None:
        super().__init__(**options)
        self._tls = tls

    def _connect(self) -> Any:
        plain = super()._connect()  # type: ignore[no-untyped-call]  # redis-py's
        try:
            return self._tls.context().wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise

    def can_read(self, timeout: float = 0) -> bool:
        """Tell whether something is left to read, so that the pool makes a new connection.

        redis-py looks at the socket, where with TLS 1.3 the server's session tickets lie: it took each new connection
        for one with an answer left over, and gave up. Here the tickets are read, and what was refused is heard.
        """
        found: Any = self._sock
        if found is None or timeout:
            return bool(super().can_read(timeout))
        patience = found.gettimeout()
        found.settimeout(0)
        try:
            ended = not found.recv(1)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        finally:
            found.settimeout(patience)
        if ended:
            raise exceptions.ConnectionError("Connection closed by server")
        return True  # and a byte of it is gone: the pool throws this connection away


class _LoopFollowing:
    """Connect where the Sentinels say that the primary is; leave it when they have named another one since."""

    def __init__(self, *, sentinels: Sentinels, **options: Any) -> None:
        super().__init__(**options)
        self._sentinels = sentinels

    async def _connect(self) -> None:
        self.host, self.port = await self._sentinels.find()
        await super()._connect()  # type: ignore[misc]  # redis-py's

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """Send, to the primary of now."""
        if self.is_connected and self._sentinels.primary != (self.host, self.port):  # type: ignore[attr-defined]
            await self.disconnect(nowait=True)  # type: ignore[attr-defined]
        await super().send_packed_command(command, check_health)  # type: ignore[misc]


class _ThreadFollowing:
    """The same for a thread."""

    def __init__(self, *, sentinels: Sentinels, **options: Any) -> None:
        super().__init__(**options)
        self._sentinels = sentinels

    def _connect(self) -> Any:
        self.host, self.port = self._sentinels.find_blocking()
        return super()._connect()  # type: ignore[misc]  # redis-py's

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """Send, to the primary of now."""
        if self.is_connected and self._sentinels.primary != (self.host, self.port):  # type: ignore[attr-defined]
            self.disconnect()  # type: ignore[attr-defined]
        super().send_packed_command(command, check_health)  # type: ignore[misc]


class LoopFollowing(_LoopFollowing, LoopTcp):
    """redis+sentinel:// for asyncio."""


class LoopFollowingTls(_LoopFollowing, LoopTls):
    """rediss+sentinel:// for asyncio."""


class ThreadFollowing(_ThreadFollowing, ThreadTcp):
    """redis+sentinel:// for a thread."""


class ThreadFollowingTls(_ThreadFollowing, ThreadTls):
    """rediss+sentinel:// for a thread."""


LOOP: dict[str, type[Any]] = {
    "redis": LoopTcp,
    "rediss": LoopTls,
    "unix": LoopUnix,
    "redis+sentinel": LoopFollowing,
    "rediss+sentinel": LoopFollowingTls,
}
"""The scheme of a URL, and the connection for asyncio."""
THREAD: dict[str, type[Any]] = {
    "redis": ThreadTcp,
    "rediss": ThreadTls,
    "unix": ThreadUnix,
    "redis+sentinel": ThreadFollowing,
    "rediss+sentinel": ThreadFollowingTls,
}
"""The same for a thread."""
