"""redis-py's connections with three habits changed: cancelling, fail-overs, and telling what the server refused."""

import asyncio
import re
from collections.abc import Callable, Iterable
from typing import Any

import redis
import redis.asyncio
from redis import exceptions
from redis.asyncio.connection import AbstractConnection as AsyncConnection
from redis.connection import AbstractConnection as ThreadConnection
from redis.connection import HiredisRespSerializer

Heard = Callable[[str], None]
"""Called with the code of each error that a server answers, in whatever thread."""

DEMOTED = frozenset({"READONLY", "MASTERDOWN", "UNBLOCKED"})
"""What a server says that was the primary and is none now: the next connection may lead to the one that is."""

PACKER: Any = HiredisRespSerializer()


FIRST_WORD = re.compile(r"(?:Command # \d+ \(.*\) of pipeline caused error: \(['\"])?([A-Z]{3,})\b", re.DOTALL)


def error_code(error: BaseException) -> str:
    """Return the word that begins the server's error, such as ``OOM``; ``ERR`` where there is none.

    redis-py keeps it apart for the errors that it knows, and a transaction puts words before it; a script that raises
    an error again puts ERR before it.
    """
    known: str = getattr(error, "status_code", None) or "ERR"
    found = FIRST_WORD.match(str(error)) if known == "ERR" else None
    return found[1] if found else known


class _Loop(AsyncConnection):
    """An asyncio connection. Give ``heard`` among the pool's options."""

    def __init__(self, *, heard: Heard, **options: Any) -> None:
        super().__init__(**options)
        self._heard = heard

    def pack_command(self, *args: Any) -> list[bytes]:
        """Pack with hiredis, as redis-py does for threads alone: a tenth of the time for a command with many words."""
        packed: list[bytes] = PACKER.pack(*args)
        return packed

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        """Send as redis-py does, but under ``asyncio.timeout``.

        redis-py uses ``asyncio.wait_for``, which until Python 3.12 swallows a cancellation that comes when the bytes
        are just gone, and which costs a task for each command.
        """
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

    def __init__(self, *, heard: Heard, **options: Any) -> None:
        super().__init__(**options)
        self._heard = heard

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


class LoopTls(_Loop, redis.asyncio.SSLConnection):
    """rediss:// for asyncio."""


class LoopUnix(_Loop, redis.asyncio.UnixDomainSocketConnection):
    """unix:// for asyncio."""


class ThreadTcp(_Thread, redis.Connection):
    """redis:// for a thread."""


class ThreadTls(_Thread, redis.SSLConnection):
    """rediss:// for a thread."""


class ThreadUnix(_Thread, redis.UnixDomainSocketConnection):
    """unix:// for a thread."""


OURS: dict[type[Any], type[Any]] = {
    cls.__bases__[1]: cls for cls in (LoopTcp, LoopTls, LoopUnix, ThreadTcp, ThreadTls, ThreadUnix)
}
"""redis-py's class for a URL → ours."""
