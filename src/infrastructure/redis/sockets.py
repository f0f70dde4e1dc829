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

LEFT = "the primary changed while something was under way from the one before"
PACKER: Any = HiredisRespSerializer()


class Demotions:
    """How often a server has said that it is no primary any more. All connections of one store look here.

    Whoever hears it leaves that server, and so do those that were connected when it was said: who read there what was
    written to its successor would not find it. Any thread may ask and tell.
    """

    def __init__(self) -> None:
        self.count = 0

    def note(self, connected_at: int) -> None:
        """Take it from a connection that was made when there had been so many; only the first of them counts."""
        self.count = max(self.count, connected_at + 1)


class _Leavable:
    """A connection that leaves a server once it is no primary any more."""

    _demotions: Demotions
    _connected_at = 0
    owes_answers = False
    """Whether something is on its way that nobody asks for again: answers of calls that were sent, or what is
    published. Then this connection is not replaced without a word; an error tells."""

    def is_left(self) -> bool:
        """Tell whether another server may be the primary by now."""
        return self._connected_at != self._demotions.count

    def _begin(self) -> None:
        """Take it that the connection is made now."""
        self._connected_at, self.owes_answers = self._demotions.count, False


class _Loop(_Leavable, AsyncConnection):
    """An asyncio connection. Give ``heard``, ``silence`` and ``demotions`` among the pool's options."""

    def __init__(self, *, heard: Heard, silence: Silence, demotions: Demotions, **options: Any) -> None:
        super().__init__(**options)
        self._heard = heard
        self._silence = silence
        self._demotions = demotions

    async def connect_check_health(self, *args: Any, **options: Any) -> None:
        """Connect, if it is not; from then on it leads to who is the primary now."""
        if not self.is_connected:
            self._begin()
        await super().connect_check_health(*args, **options)

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
        if self.is_connected and self.is_left():
            await self.disconnect(nowait=True)
            if self.owes_answers:
                raise exceptions.ConnectionError(LEFT)
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
                self._demotions.note(self._connected_at)
                await self.disconnect(nowait=True)
            raise


class _Thread(_Leavable, ThreadConnection):
    """A blocking connection for a thread, with the same habits."""

    def __init__(self, *, heard: Heard, silence: Silence, demotions: Demotions, **options: Any) -> None:
        super().__init__(**options)
        self._heard = heard
        self._silence = silence
        self._demotions = demotions
        silence.add(self)

    def connect_check_health(self, *args: Any, **options: Any) -> None:
        """Connect, if it is not; from then on it leads to who is the primary now."""
        if not self.is_connected:
            self._begin()
        super().connect_check_health(*args, **options)

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """Send to the primary of now, unless the store is silent and this process ends."""
        self._silence.refuse()
        if self.is_connected and self.is_left():
            self.disconnect()  # type: ignore[no-untyped-call]  # redis-py's
            if self.owes_answers:
                raise exceptions.ConnectionError(LEFT)
        super().send_packed_command(command, check_health)  # type: ignore[no-untyped-call]  # redis-py's

    def read_response(self, *args: Any, **options: Any) -> Any:
        """Read one answer; leave a server that is no primary any more."""
        try:
            return super().read_response(*args, **options)
        except exceptions.ResponseError as error:
            error.status_code = code = error_code(error)  # a pipeline writes its own words before the text
            self._heard(code)
            if code in DEMOTED:
                self._demotions.note(self._connected_at)
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


class _Following:
    """Leave a primary when the Sentinels have named another one since."""

    def __init__(self, *, sentinels: Sentinels, **options: Any) -> None:
        super().__init__(**options)
        self._sentinels = sentinels

    def is_left(self) -> bool:
        """Tell whether they have, or this one has said that it is none."""
        named: Any = self._sentinels.primary
        return named != (self.host, self.port) or bool(super().is_left())  # type: ignore[misc, attr-defined]


class _LoopFollowing(_Following):
    """Connect where the Sentinels say that the primary is."""

    async def _connect(self) -> None:
        self.host, self.port = await self._sentinels.find()
        await super()._connect()  # type: ignore[misc]  # redis-py's


class _ThreadFollowing(_Following):
    """The same for a thread."""

    def _connect(self) -> Any:
        self.host, self.port = self._sentinels.find_blocking()
        return super()._connect()  # type: ignore[misc]  # redis-py's


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
