"""Make redis-py's clients: the one place that knows how they must be set up."""

from typing import Any

import redis
import redis.asyncio
import redis.asyncio.retry
import redis.retry
from redis.backoff import NoBackoff

from infrastructure.redis.access import StoreAccess
from infrastructure.redis.last_calls import Silence
from infrastructure.redis.sentinel import ANSWER_S, Sentinels
from infrastructure.redis.sockets import LOOP, THREAD, Demotions, Heard
from infrastructure.redis.url import Host, StoreUrl

CONNECT_TIMEOUT_S = 2.0
MAX_CONNECTIONS = 64
HEALTH_CHECK_INTERVAL_S = 15
FOR_ONE_QUESTION: dict[str, Any] = {"health_check_interval": 0}
"""Else a PING would go before it."""


class Clients:
    """Clients of one store, for the event loop and for threads. Making one connects nothing."""

    def __init__(self, url: StoreUrl, access: StoreAccess, heard: Heard) -> None:
        """``heard`` is told each error code that a server answers; raises ``InvalidStoreAccess``."""
        self._url = url
        self._access = access
        self._heard = heard
        self._demotions = Demotions()
        self.silence = Silence()
        """What the clients heed, but for one that looks past it."""
        self.tls = access.check(url)
        self.sentinels: Sentinels | None = None
        if url.primary_name:
            self.sentinels = Sentinels(url.hosts, url.primary_name, self._loop_sentinel, self._thread_sentinel)

    @property
    def server(self) -> Host | None:
        """Where the server is, as far as that is known; None for a unix socket."""
        if self.sentinels is not None:
            return self.sentinels.primary
        return self._url.hosts[0] if self._url.hosts else None

    def for_loop(self, timeout_s: float, patience_s: float, **others: Any) -> "redis.asyncio.Redis":
        """Return a client for the event loop: a command may take ``timeout_s``, the wait for a connection the rest.

        ``others`` are options of its connections that differ.
        """
        pool = redis.asyncio.BlockingConnectionPool(
            connection_class=LOOP[self._url.scheme],
            max_connections=MAX_CONNECTIONS,
            timeout=patience_s,
            **{**self._loop_options(timeout_s, CONNECT_TIMEOUT_S), **self._place(), **others},
        )
        return redis.asyncio.Redis.from_pool(pool)

    def for_thread(self, timeout_s: float) -> "redis.Redis":
        """Return a client with one connection, for one thread, which closes it."""
        pool = redis.ConnectionPool(
            connection_class=THREAD[self._url.scheme],
            max_connections=1,
            **self._thread_options(timeout_s, CONNECT_TIMEOUT_S),
            **self._place(),
        )
        return redis.Redis.from_pool(pool)

    def _place(self) -> dict[str, Any]:
        url = self._url
        place: dict[str, Any] = {"db": url.database, **_login(url.user, url.password), **self._encrypted()}
        if self.sentinels is not None:
            return {**place, "sentinels": self.sentinels}
        if url.path:
            return {**place, "path": url.path}
        (host, port), *_ = url.hosts
        return {**place, "host": host, "port": port}

    def _loop_sentinel(self, host: Host) -> "redis.asyncio.Redis":
        connection = LOOP["rediss" if self.tls else "redis"]
        options = {**self._loop_options(ANSWER_S, ANSWER_S), **FOR_ONE_QUESTION, "silence": Silence()}
        pool = redis.asyncio.ConnectionPool(connection_class=connection, **options, **self._sentinel_place(host))
        return redis.asyncio.Redis.from_pool(pool)

    def _thread_sentinel(self, host: Host) -> "redis.Redis":
        connection = THREAD["rediss" if self.tls else "redis"]
        options = {**self._thread_options(ANSWER_S, ANSWER_S), **FOR_ONE_QUESTION, "silence": Silence()}
        pool = redis.ConnectionPool(connection_class=connection, **options, **self._sentinel_place(host))
        return redis.Redis.from_pool(pool)

    def _sentinel_place(self, host: Host) -> dict[str, Any]:
        login = _login(self._access.sentinel_user, self._access.sentinel_password)
        return {"host": host[0], "port": host[1], **login, **self._encrypted()}

    def _encrypted(self) -> dict[str, Any]:
        return {} if self.tls is None else {"tls": self.tls}

    def _loop_options(self, timeout_s: float, connect_timeout_s: float) -> dict[str, Any]:
        # Not the synchronous Retry: that one takes a coroutine for a result, and never resets a broken connection.
        never = redis.asyncio.retry.Retry(NoBackoff(), 0)
        return self._options(timeout_s, connect_timeout_s, never)

    def _thread_options(self, timeout_s: float, connect_timeout_s: float) -> dict[str, Any]:
        return self._options(timeout_s, connect_timeout_s, redis.retry.Retry(NoBackoff(), 0))

    def _options(self, timeout_s: float, connect_timeout_s: float, retry: object) -> dict[str, Any]:
        return {
            "decode_responses": True,
            # RESP2: a server reads one AUTH instead of a HELLO, and no push messages arrive between answers.
            "protocol": 2,
            "socket_timeout": timeout_s,
            "socket_connect_timeout": connect_timeout_s,
            "retry": retry,
            "health_check_interval": HEALTH_CHECK_INTERVAL_S,
            "driver_info": None,
            "heard": self._heard,
            "silence": self.silence,
            "demotions": self._demotions,
        }


def _login(user: str, password: str) -> dict[str, str]:
    return {name: value for name, value in (("username", user), ("password", password)) if value}
