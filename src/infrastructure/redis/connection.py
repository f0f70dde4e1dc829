"""Connect to the store: the one place that knows how redis-py must be set up, and which servers will do."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis
import redis.asyncio
import redis.asyncio.retry
import redis.retry
from redis import exceptions
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript

from domain.errors import NotConfirmedOnDisk, StoreFull, StoreUnavailable, StrangeKey
from infrastructure.redis import server_check
from infrastructure.redis.disk import PATIENCE_S, DiskConfirmation
from infrastructure.redis.errors import DiskNotConfirmed, StoreError
from infrastructure.redis.gathering import Gathering
from infrastructure.redis.sockets import OURS, error_code
from infrastructure.redis.url import check_namespace, check_url

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 2.0
COMMAND_TIMEOUT_S = 5.0
LONGEST_BLOCK_S = 10.0
"""No blocking read may ask the server to wait longer than this."""
MAX_CONNECTIONS = 64
HEALTH_CHECK_INTERVAL_S = 15

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

    def __init__(self, url: str, namespace: str = "roundsman", *, confirm_on_disk: bool = False) -> None:
        """Prepare the clients, connecting nothing; raises ``InvalidStoreUrl`` or ``InvalidNamespace``.

        With ``confirm_on_disk`` the server is asked whether an acknowledged write is on disk; without, it is told when
        the server has it (which, where the server syncs before each answer, is the same).
        """
        self.prefix = f"{{{check_namespace(namespace)}}}"
        """The namespace as a hash tag: every key of the program begins with it."""
        self.address = check_url(url)
        """Where the server is, without the password."""
        self._url = url
        self.answered_errors: Counter[str] = Counter()
        """How often the server has answered each error code, such as ``OOM``; it only grows."""
        self.command = self._asyncio_client(COMMAND_TIMEOUT_S)
        self.blocking = self._asyncio_client(LONGEST_BLOCK_S + COMMAND_TIMEOUT_S)
        self._confirming = self._asyncio_client(PATIENCE_S + COMMAND_TIMEOUT_S)
        self._gathering = Gathering(self.command)
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
            raise server_check.refusal(error, self.address, self.prefix) from error
        except StoreError:
            await self.close()
            raise

    async def _check(self) -> None:
        info = await self.command.info()
        server_check.check_server(info, self.address)
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

    async def saves(self, info: server_check.Info) -> str | None:
        """Return when the server writes snapshots, as it is configured; None where nobody may ask, or need not."""
        if info.get("aof_enabled", 1):
            return None
        try:
            found: Any = await self.command.config_get("save")
        except exceptions.ResponseError:
            return None  # a managed server forbids it, or has no such command
        return found.get("save") if isinstance(found, dict) else None

    async def close(self) -> None:
        """Close the asyncio clients; twice is fine. A synchronous one is closed by the thread that asked for it."""
        await self._gathering.close()
        if self._disk is not None:
            await self._disk.close()
        for client in (self.command, self.blocking, self._confirming):
            await client.aclose()

    async def reconnect(self) -> None:
        """Cut all connections, so that the next commands ask anew where the server is; those under way fail."""
        for client in (self.command, self.blocking, self._confirming):
            await client.connection_pool.disconnect(inuse_connections=True)

    async def acknowledged(self, script: AsyncScript, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run a script whose caller is told yes; return its reply when that is as durable as was chosen.

        Raises redis-py's errors, to be called within ``store_errors``, and ``NotConfirmedOnDisk``. Only
        what somebody waits for needs it: a claim or an outcome that gets lost is made up for by the protocol.
        """
        if self._disk is None:
            return await self._gathering.script(script, keys, args)
        return await self._disk.run(script, keys, args)

    async def now(self) -> int:
        """Return the server's time, ms: as it is after the call began. Raises ``StoreUnavailable``."""
        with store_errors():
            seconds, microseconds = await self._gathering.command("TIME")
        return int(seconds) * 1000 + int(microseconds) // 1000

    async def confirm(self) -> None:
        """Return when all that was written so far is as durable as was chosen: for a yes that needs no write."""
        if self._disk is not None:
            with store_errors():
                await self._disk.confirm()

    def threaded(self) -> "redis.Redis":
        """Return a new synchronous client with one connection, for one thread, which closes it."""
        never = redis.retry.Retry(NoBackoff(), 0)
        pool = redis.ConnectionPool.from_url(self._url, max_connections=1, **self._options(COMMAND_TIMEOUT_S, never))
        pool.connection_class = OURS[pool.connection_class]
        return redis.Redis.from_pool(pool)

    def _asyncio_client(self, timeout_s: float) -> "redis.asyncio.Redis":
        # Not the synchronous Retry: that one takes a coroutine for a result, and never resets a broken connection.
        never = redis.asyncio.retry.Retry(NoBackoff(), 0)
        options = self._options(timeout_s, never)
        pool = redis.asyncio.BlockingConnectionPool.from_url(
            self._url, max_connections=MAX_CONNECTIONS, timeout=COMMAND_TIMEOUT_S, **options
        )
        pool.connection_class = OURS[pool.connection_class]
        return redis.asyncio.Redis.from_pool(pool)

    def _options(self, timeout_s: float, retry: object) -> dict[str, Any]:
        return {
            "decode_responses": True,
            # RESP2: a server reads one AUTH instead of a HELLO, and no push messages arrive between answers.
            "protocol": 2,
            "socket_timeout": timeout_s,
            "socket_connect_timeout": CONNECT_TIMEOUT_S,
            "retry": retry,
            "health_check_interval": HEALTH_CHECK_INTERVAL_S,
            "driver_info": None,
            "heard": self._count,
        }

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
        raise StoreUnavailable(why=str(error).rstrip(".") or type(error).__name__) from error
    except exceptions.OutOfMemoryError as error:
        raise StoreFull(why=str(error).rstrip(".")) from error
    except exceptions.ResponseError as error:
        code = error_code(error)
        if code in TEMPORARY or NOT_LET_IN in str(error):
            raise StoreUnavailable(why=str(error)) from error
        if code == "WRONGTYPE":
            raise StrangeKey(why=str(error).rstrip(".")) from error
        raise
