"""Connect to the store: the one place that knows how redis-py must be set up, and which servers will do."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
import redis.asyncio
import redis.asyncio.retry
import redis.retry
from redis import exceptions
from redis.backoff import NoBackoff

from domain.errors import StoreUnavailable
from infrastructure.redis import errors
from infrastructure.redis.url import check_namespace, check_url

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 2.0
COMMAND_TIMEOUT_S = 5.0
LONGEST_BLOCK_S = 10.0
"""No blocking read may ask the server to wait longer than this."""
MAX_CONNECTIONS = 64
HEALTH_CHECK_INTERVAL_S = 15

UNASKED_AUTH = "without any password configured"
OLDEST_REDIS = (7, 0)
OLDEST_VALKEY = (7, 2)
TEMPORARY = ("BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF", "NOREPLICAS", "TRYAGAIN")
"""Error codes of a server that cannot answer now; the commands were not at fault."""


class RedisStore:
    """The connections of one process to one Redis, under one namespace.

    - ``command``: asyncio client for everything that answers at once.
    - ``blocking``: asyncio client for ``XREADGROUP BLOCK`` and pub/sub, up to ``LONGEST_BLOCK_S``.
    - ``threaded()``: a synchronous client for one thread.

    All decode to ``str``. None retries by itself: a command that was cut off may have taken effect, so only the caller
    knows whether it can be sent again. Connections that the server closed are replaced before they are used.
    """

    def __init__(self, url: str, namespace: str = "roundsman") -> None:
        """Prepare the clients, connecting nothing; raises ``InvalidStoreUrl`` or ``InvalidNamespace``."""
        self.prefix = f"{{{check_namespace(namespace)}}}"
        """The namespace as a hash tag: every key of the program begins with it."""
        self.address = check_url(url)
        """Where the server is, without the password."""
        self._url = url
        self.command = self._asyncio_client(COMMAND_TIMEOUT_S)
        self.blocking = self._asyncio_client(LONGEST_BLOCK_S + COMMAND_TIMEOUT_S)

    def __repr__(self) -> str:
        return f"RedisStore({self.address!r}, {self.prefix!r})"

    def key(self, *parts: str) -> str:
        """Return the key ``{namespace}:a:b``."""
        return ":".join((self.prefix, *parts))

    async def open(self) -> None:
        """Connect and check the server; raises the ``StoreError`` that says what is wrong with it."""
        try:
            info = await self.command.info()
        except (exceptions.RedisError, OSError) as error:
            await self.close()
            raise self._refusal(error) from error
        try:
            self._check_server(info)
        except errors.StoreError:
            await self.close()
            raise

    async def close(self) -> None:
        """Close both asyncio clients; twice is fine. A synchronous one is closed by the thread that asked for it."""
        await self.command.aclose()
        await self.blocking.aclose()

    def threaded(self) -> "redis.Redis":
        """Return a new synchronous client with one connection, for one thread, which closes it."""
        never = redis.retry.Retry(NoBackoff(), 0)
        options = _options(COMMAND_TIMEOUT_S, never)
        pool = redis.ConnectionPool.from_url(self._url, max_connections=1, **options)
        return redis.Redis.from_pool(pool)

    def _asyncio_client(self, timeout_s: float) -> "redis.asyncio.Redis":
        # Not the synchronous Retry: that one takes a coroutine for a result, and never resets a broken connection.
        never = redis.asyncio.retry.Retry(NoBackoff(), 0)
        options = _options(timeout_s, never)
        pool = redis.asyncio.BlockingConnectionPool.from_url(
            self._url, max_connections=MAX_CONNECTIONS, timeout=COMMAND_TIMEOUT_S, **options
        )
        return redis.asyncio.Redis.from_pool(pool)

    def _check_server(self, info: dict[str, Any]) -> None:
        mode, role = info.get("redis_mode", "standalone"), info.get("role", "master")
        if "redis_version" not in info or mode not in ("standalone", "cluster"):
            raise errors.NotARedis(address=self.address, why=f"it runs in {mode} mode")
        if mode == "cluster":
            raise errors.StoreIsCluster(address=self.address)
        server, version, oldest = "Redis", str(info["redis_version"]), OLDEST_REDIS
        if "valkey_version" in info:
            server, version, oldest = "Valkey", str(info["valkey_version"]), OLDEST_VALKEY
        if _numbers(version) < oldest:
            raise errors.StoreTooOld(address=self.address, server=f"{server} {version}")
        if role != "master":
            raise errors.StoreIsReplica(address=self.address)
        if int(info.get("maxmemory", 0)) and info.get("maxmemory_policy") != "noeviction":
            log.warning(
                "the Redis at %s may evict schedules when memory is short: set maxmemory-policy noeviction (it is %s)",
                self.address,
                info.get("maxmemory_policy"),
            )

    def _refusal(self, error: Exception) -> errors.StoreError:
        """Say in this program's words why the server cannot be used."""
        if isinstance(error.__cause__, exceptions.RedisError):
            error = error.__cause__  # over a unix socket, redis-py wraps what the handshake raised
        said = str(error)
        if isinstance(error, exceptions.BusyLoadingError):
            return errors.StoreLoading(address=self.address)
        if isinstance(error, exceptions.AuthenticationError) or UNASKED_AUTH in said:
            if error_code(error) == "NOAUTH":
                return errors.StorePasswordRequired(address=self.address)
            return errors.StorePasswordRefused(address=self.address, why=said)
        if isinstance(error, exceptions.NoPermissionError):
            return errors.StorePermissionDenied(address=self.address, why=said, prefix=self.prefix)
        strange = "Bad response" in said  # to the first PING
        if isinstance(error, exceptions.ConnectionError | exceptions.TimeoutError | OSError) and not strange:
            return errors.StoreUnreachable(address=self.address, why=said.rstrip("."))
        return errors.NotARedis(address=self.address, why=said or type(error).__name__)


def error_code(error: BaseException) -> str:
    """Return the word that begins the server's error; redis-py keeps it apart for the errors that it knows."""
    return getattr(error, "status_code", None) or (str(error).split() or [""])[0]


@contextmanager
def store_errors() -> Iterator[None]:
    """Raise ``StoreUnavailable`` for what says that the store cannot answer now; let mistakes in commands through."""
    try:
        yield
    except (
        exceptions.ConnectionError,
        exceptions.TimeoutError,
        exceptions.ReadOnlyError,
        exceptions.OutOfMemoryError,
        exceptions.NoPermissionError,
        OSError,
    ) as error:
        raise StoreUnavailable(why=str(error) or type(error).__name__) from error
    except exceptions.ResponseError as error:
        if error_code(error) in TEMPORARY:
            raise StoreUnavailable(why=str(error)) from error
        raise


def _options(timeout_s: float, retry: object) -> dict[str, Any]:
    return {
        "decode_responses": True,
        # RESP2: a server reads one AUTH instead of a HELLO, and no push messages arrive between answers.
        "protocol": 2,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "retry": retry,
        "health_check_interval": HEALTH_CHECK_INTERVAL_S,
        "driver_info": None,
    }


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])
