"""Connect to the store: the one place that knows how redis-py must be set up, and which servers will do."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis
import redis.asyncio
from redis import exceptions
from redis.commands.core import AsyncScript

from domain.errors import NotConfirmedOnDisk, StoreFull, StoreUnavailable, StrangeKey
from infrastructure.redis import server_check
from infrastructure.redis.access import NO_ACCESS, StoreAccess
from infrastructure.redis.clients import Clients
from infrastructure.redis.diagnosis import Diagnosis
from infrastructure.redis.disk import PATIENCE_S, DiskConfirmation
from infrastructure.redis.errors import DiskNotConfirmed, StoreError
from infrastructure.redis.gathering import Gathering
from infrastructure.redis.last_calls import SILENT_AFTER_S, LastCalls, Silence
from infrastructure.redis.rights import check_rights
from infrastructure.redis.url import Host, check_namespace, read_url, written
from infrastructure.redis.words import error_code, said_by

log = logging.getLogger(__name__)

COMMAND_TIMEOUT_S = 5.0
LONGEST_BLOCK_S = 10.0
"""No blocking read may ask the server to wait longer than this."""

TEMPORARY = (
    "BUSY",
    "CLUSTERDOWN",
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "NOREPLICAS",
    "NOSCRIPT",
    "TRYAGAIN",
    "UNBLOCKED",
)
"""Error codes of a server that cannot answer now; the commands were not at fault. (NOSCRIPT: redis-py loads the script
and sends again, and the server forgot it between the two.)"""

NOT_LET_IN = "unauthenticated"
"""What a server says to a long command before it was told its password; to a short one it says NOAUTH."""


class RedisStore:
    """The connections of one process to one Redis, under one namespace.

    - ``command``: asyncio client for everything that answers at once.
    - ``blocking``: asyncio client for ``XREADGROUP BLOCK`` and pub/sub, up to ``LONGEST_BLOCK_S``.
    - ``threaded()``: a synchronous client for one thread.

    All decode to ``str``. None retries by itself: a command that was cut off may have taken effect, so only the caller
    knows whether it can be sent again. Connections that the server closed are replaced before they are used, and so are
    those to a server that is not the primary any more.
    """

    def __init__(
        self,
        url: str,
        namespace: str = "roundsman",
        *,
        confirm_on_disk: bool = False,
        access: StoreAccess = NO_ACCESS,
    ) -> None:
        """Prepare the clients, connecting nothing.

        Raises ``InvalidStoreUrl``, ``InvalidNamespace``, or ``InvalidStoreAccess`` for files that will not do.

        With ``confirm_on_disk`` the server is asked whether an acknowledged write is on disk; without, it is told when
        the server has it (which, where the server syncs before each answer, is the same).
        """
        self.prefix = f"{{{check_namespace(namespace)}}}"
        """The namespace as a hash tag: every key of the program begins with it."""
        self._url = read_url(url)
        self.address = self._url.address
        """Where the server is, without the password."""
        self.answered_errors: Counter[str] = Counter()
        """How often the server has answered each error code, such as ``OOM``; it only grows."""
        self._clients = Clients(self._url, access, self._count)
        self._followed: Host | None = None
        self.command = self._asyncio_client(COMMAND_TIMEOUT_S)
        self.blocking = self._asyncio_client(LONGEST_BLOCK_S + COMMAND_TIMEOUT_S)
        self._confirming = self._asyncio_client(PATIENCE_S + COMMAND_TIMEOUT_S)
        self._gathering = Gathering(self.command)
        self._asking = self._clients.for_loop(SILENT_AFTER_S, SILENT_AFTER_S, silence=Silence())
        self._last_calls = LastCalls(self._clients.silence, self._asking.ping, self.reconnect)
        self._disk = DiskConfirmation(self._confirming, self.key("meta")) if confirm_on_disk else None

    def __repr__(self) -> str:
        return f"RedisStore({self.address!r}, {self.prefix!r})"

    def key(self, *parts: str) -> str:
        """Return the key ``{namespace}:a:b``."""
        return ":".join((self.prefix, *parts))

    async def open(self) -> None:
        """Connect and check the server; raises the ``StoreError`` that says what is wrong with it."""
        try:
            await self._check()
        except (exceptions.RedisError, OSError) as error:
            await self.close()
            raise await self._diagnosis().of(error) from error
        except StoreError:
            await self.close()
            raise

    def _diagnosis(self) -> Diagnosis:
        return Diagnosis(
            url=self._url,
            tls=self._clients.tls,
            prefix=self.prefix,
            confirms=self._disk is not None,
            server=self._clients.server,
        )

    async def _check(self) -> None:
        try:
            info = await self.command.info()
        except exceptions.NoPermissionError:
            await self._check_rights()
            raise
        server_check.check_server(info, self.address)
        await self._check_rights()
        if self._disk is not None:
            server_check.check_confirms(info, self.address)
            try:
                await self._disk.confirm()
            except NotConfirmedOnDisk as error:
                why = f"a first write was not confirmed ({error.facts['why']}); is appendfsync no?"
                raise DiskNotConfirmed(address=self.address, why=why) from error
        saves = await self.saves(info)
        for weakness in (
            server_check.keeps_nothing(info, saves),
            server_check.keeps_little(info, saves),
            server_check.may_evict(info),
        ):
            if weakness:
                log.warning("the Redis at %s can lose data: %s", self.address, weakness)

        if self._clients.tls is not None and (weakness := self._clients.tls.weakness):
            log.warning("the connection to the Redis at %s is not safe: %s", self.address, weakness)

    async def _check_rights(self) -> None:
        await check_rights(self.command, self._url, self.prefix, confirms=self._disk is not None)

    async def saves(self, info: server_check.Info) -> str | None:
        """Return when the server writes snapshots, as it is configured; None where nobody may ask, or need not."""
        if info.get("aof_enabled", 1):
            return None
        try:
            found: Any = await self.command.config_get("save")
        except exceptions.ResponseError:
            return None  # a managed server forbids it, or has no such command
        return found.get("save") if isinstance(found, dict) else None

    def expect_end(self) -> None:
        """Let nobody wait for a store that is silent from now on: calls fail at once until it answers again.

        For a process that ends, on its event loop: each of its parts would wait for the same answer, one after another.
        """
        self._last_calls.start()

    @property
    def is_silent(self) -> bool:
        """Whether calls fail for that."""
        return self._clients.silence.is_known

    async def close(self) -> None:
        """Close the asyncio clients; twice is fine. A synchronous one is closed by the thread that asked for it."""
        await self._last_calls.stop()
        await self._gathering.close()
        if self._disk is not None:
            await self._disk.close()
        for client in (self.command, self.blocking, self._confirming, self._asking):
            await client.aclose()

    async def reconnect(self) -> None:
        """Cut all connections, so that the next commands ask anew where the server is; those under way fail."""
        for client in (self.command, self.blocking, self._confirming):
            await client.connection_pool.disconnect(inuse_connections=True)

    @property
    def primary(self) -> Host | None:
        """Where the Sentinels said last that the primary is; None without Sentinels."""
        return self._clients.sentinels.primary if self._clients.sentinels else None

    async def follow(self) -> None:
        """Ask the Sentinels where the primary is, and leave the one before; without Sentinels, nothing.

        A primary that is cut off from the Sentinels, and not from us, would never tell.
        """
        if self._clients.sentinels is None:
            return
        found, before = await self._clients.sentinels.find(), self._followed
        self._followed = found
        if before not in (None, found):
            log.warning("the primary of %s is %s now", self.address, written(found))
            await self.reconnect()

    async def acknowledged(self, script: AsyncScript, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run a script whose caller is told yes; return its reply when that is as durable as was chosen.

        Raises redis-py's errors, to be called within ``store_errors``, and ``NotConfirmedOnDisk``. Only
        what somebody waits for needs it: a claim or an outcome that gets lost is made up for by the protocol.
        """
        if self._disk is None:
            return await self._gathering.script(script, keys, args)
        return await self._disk.run(script, keys, args)

    async def gathered(self, *commands: Sequence[Any]) -> list[Any]:
        """Send commands, in their order, together with what others send at this moment; return their replies.

        For what many coroutines do at once: a call for each costs this process and the server ten times as much. Raises
        redis-py's errors, to be called within ``store_errors``.
        """
        return await self._gathering.commands(commands)

    async def gathered_script(self, script: AsyncScript, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Do the same with a script, of which nobody needs to be told that its effect lasts."""
        return await self._gathering.script(script, keys, args)

    async def now(self) -> int:
        """Return the server's time, ms: as it is after the call began. Raises ``StoreUnavailable``."""
        with store_errors():
            seconds, microseconds = await self._gathering.time()
        return int(seconds) * 1000 + int(microseconds) // 1000

    async def confirm(self) -> None:
        """Return when all that was written so far is as durable as was chosen: for a yes that needs no write."""
        if self._disk is not None:
            with store_errors():
                await self._disk.confirm()

    def threaded(self) -> "redis.Redis":
        """Return a new synchronous client with one connection, for one thread, which closes it."""
        return self._clients.for_thread(COMMAND_TIMEOUT_S)

    def _asyncio_client(self, timeout_s: float) -> "redis.asyncio.Redis":
        return self._clients.for_loop(timeout_s, patience_s=COMMAND_TIMEOUT_S)

    def _count(self, code: str) -> None:
        self.answered_errors[code] += 1


@contextmanager
def store_errors() -> Iterator[None]:
    """Raise ``StoreUnavailable`` for what says that the store cannot answer now; let mistakes in commands through."""
    try:
        yield
    except (
        exceptions.ConnectionError,
        exceptions.TimeoutError,
        exceptions.ReadOnlyError,
        exceptions.NoPermissionError,
        OSError,
    ) as error:
        raise StoreUnavailable(why=said_by(error)) from error
    except exceptions.OutOfMemoryError as error:
        raise StoreFull(why=said_by(error)) from error
    except exceptions.ResponseError as error:
        code = error_code(error)
        if code in TEMPORARY or NOT_LET_IN in str(error):
            raise StoreUnavailable(why=said_by(error)) from error
        if code == "WRONGTYPE":
            raise StrangeKey(why=said_by(error)) from error
        raise
