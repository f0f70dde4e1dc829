"""Say in this program's words why the store cannot be used; where that is not clear, look once more."""

import asyncio
import contextlib
import ssl
from dataclasses import dataclass

from redis import exceptions

from infrastructure.redis import errors
from infrastructure.redis.rights import denial
from infrastructure.redis.sentinel import PrimaryNotFound
from infrastructure.redis.tls import Tls, mistrust
from infrastructure.redis.url import Host, StoreUrl
from infrastructure.redis.words import error_code, said_by

UNASKED_AUTH = "without any password configured"
NO_ROOM = "max number of clients reached"
PROBE_S = 1.0
LISTENING_S = 0.5
"""A server without room speaks and hangs up at once, when it gets to a client."""
LONGEST_REFUSAL = 1024


@dataclass(frozen=True)
class Diagnosis:
    """What is known about a connection that failed."""

    url: StoreUrl
    tls: Tls | None
    prefix: str
    confirms: bool
    server: Host | None
    """Where the server is, if it is known and no unix socket."""

    async def of(self, error: Exception) -> errors.StoreError:
        """Return what is wrong, and how it is mended."""
        chain = list(_chain(error))
        for cause in chain:
            if isinstance(cause, ssl.SSLError):
                return mistrust(cause, self.address, self.tls)
        for cause in chain:
            if isinstance(cause, PrimaryNotFound):
                return await self._not_found(cause)
        # Over a unix socket, redis-py wraps what the handshake raised.
        return await self._refused(error.__cause__ if isinstance(error.__cause__, exceptions.RedisError) else error)

    @property
    def address(self) -> str:
        """What messages call the store."""
        return self.url.address

    async def _not_found(self, error: PrimaryNotFound) -> errors.StoreError:
        if not isinstance(error.why, errors.NoSentinel):
            return error.why
        return await self._mistaken(self.url.hosts[0]) or error.why

    async def _refused(self, error: Exception) -> errors.StoreError:
        said, address = said_by(error), self.address
        if isinstance(error, exceptions.BusyLoadingError):
            return errors.StoreLoading(address=address)
        if NO_ROOM in said:
            return errors.StoreTakesNoMore(address=address)
        if isinstance(error, exceptions.AuthenticationError) or UNASKED_AUTH in said:
            if error_code(error) == "NOAUTH":
                return errors.StorePasswordRequired(address=address)
            return errors.StorePasswordRefused(address=address, why=said)
        if isinstance(error, exceptions.NoPermissionError):
            return denial(self.url, self.prefix, confirms=self.confirms, why=said)
        strange = "Bad response" in said  # to the first PING
        if isinstance(error, exceptions.ConnectionError | exceptions.TimeoutError | OSError) and not strange:
            if await self._has_no_room():
                return errors.StoreTakesNoMore(address=address)
            mistake = await self._mistaken(self.server)
            return mistake or errors.StoreUnreachable(address=address, why=said)
        return errors.NotARedis(address=address, why=said)

    async def _has_no_room(self) -> bool:
        """Look whether the server turns away whoever comes.

        It says so and hangs up before it is asked. A client whose first command is on its way by then does not hear it:
        never over a unix socket, where that command fails first, and not always over TCP.
        """
        if self.tls is not None or (self.server is None and not self.url.path):
            return False
        return NO_ROOM in await _first_words(self.server or self.url.path)

    async def _mistaken(self, host: Host | None) -> errors.StoreError | None:
        """Look whether the server speaks TLS and we do not, the other way round, or whether it refuses who we are.

        In none of these does it say so to a client that speaks first: it waits for more, or hangs up.
        """
        if host is None:
            return None
        if self.tls is None:
            return errors.StoreWantsTls(address=self.address) if await _shakes_hands(host) else None
        if await _answers_plainly(host):
            return errors.StoreHasNoTls(address=self.address, why="it answers unencrypted")
        alert = await _alert_of(host, self.tls)
        return mistrust(alert, self.address, self.tls) if alert is not None else None


def _chain(error: BaseException | None) -> "list[BaseException]":
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


async def _first_words(place: Host | str) -> str:
    """Return what a server says to a client that says nothing, at a unix path or a TCP address: mostly nothing."""
    said = b""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(LISTENING_S):
            opened = asyncio.open_unix_connection(place) if isinstance(place, str) else asyncio.open_connection(*place)
            reader, writer = await opened
            try:
                while len(said) < LONGEST_REFUSAL and (part := await reader.read(LONGEST_REFUSAL)):
                    said += part
            finally:
                writer.transport.abort()
    return said.decode(errors="replace")


async def _answers_plainly(host: Host) -> bool:
    """Tell whether a Redis without TLS is there; no secret is sent."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(PROBE_S):
            reader, writer = await asyncio.open_connection(*host)
            try:
                writer.write(b"PING\r\n")
                return (await reader.read(1)) in (b"+", b"-")
            finally:
                writer.transport.abort()
    return False


async def _shakes_hands(host: Host) -> bool:
    """Tell whether something there speaks TLS, whoever it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(PROBE_S):
            _, writer = await asyncio.open_connection(*host, ssl=context)
            writer.transport.abort()
            return True
    return False


async def _alert_of(host: Host, tls: Tls) -> ssl.SSLError | None:
    """Return what the server says after the handshake to a client that says nothing.

    With TLS 1.3 it looks at our certificate when we have finished; a command that is on its way by then makes the
    system throw away what it says.
    """
    try:
        async with asyncio.timeout(PROBE_S):
            reader, writer = await asyncio.open_connection(*host, ssl=tls.context())
            try:
                await reader.read(1)
            finally:
                writer.transport.abort()
    except ssl.SSLError as error:
        return error
    except (OSError, TimeoutError):
        pass
    return None
