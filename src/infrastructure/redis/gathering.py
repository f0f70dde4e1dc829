"""Send what many coroutines want at the same time together: a pipeline costs a tenth of as many single calls."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import redis.asyncio
from redis import exceptions
from redis.commands.core import AsyncScript

from application.tasks import end_task

TOGETHER = 100
"""Commands in one pipeline: more gain little, and the store serves nobody else meanwhile."""


CLOSED = "the connection was closed before the answer came"

Wanted = tuple[tuple[Any, ...], "asyncio.Future[Any]"]
"""A command, and where its answer goes."""


class Gathering:
    """Gather commands while the ones before them are on their way; one connection, one pipeline at a time.

    A command on its own is sent at once. Each stands for itself: an error that the server answers concerns one caller
    alone. When the server gives no answer, all who wait hear so together, as each would wait as long again by itself.
    """

    def __init__(self, client: "redis.asyncio.Redis") -> None:
        self._client = client
        self._waiting: list[Wanted] = []
        self._loads: dict[str, object] = {}
        """The scripts that the server should know, by their digests, each with the mark of when it was sent."""
        self._connection: Any = None
        self._sender: asyncio.Task[None] | None = None
        self._clock: asyncio.Future[Any] | None = None
        """The answer to a TIME that waits to be sent."""

    async def time(self) -> Any:
        """Return the server's TIME as it is after the call began: one that waits to be sent is everybody's."""
        if self._clock is None:
            self._clock = self._ask("TIME")
        return await asyncio.shield(self._clock)  # who is cancelled leaves the others theirs

    async def command(self, *parts: Any) -> Any:
        """Send one command and return its reply; raises redis-py's errors. Cancelled, it may still take effect."""
        return await self._ask(*parts)

    async def commands(self, commands: Iterable[Sequence[Any]]) -> list[Any]:
        """Send some commands, in their order, and return their replies; raises the first error."""
        return await asyncio.gather(*[self._ask(*parts) for parts in commands])

    async def script(self, script: AsyncScript, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run a script and return its reply. It is loaded once, however many want it; again if it was forgotten."""
        parts = (len(keys), *keys, *args)
        for _ in range(2):
            mark = self._loaded(script)
            try:
                return await self._ask("EVALSHA", script.sha, *parts)
            except exceptions.NoScriptError:
                if self._loads.get(script.sha) is mark:  # else somebody has loaded it anew since
                    del self._loads[script.sha]
        return await self._ask("EVAL", script.script, *parts)

    def _loaded(self, script: AsyncScript) -> object:
        """Send a script, if it was not yet, in front of what is asked next; return the mark of when that was."""
        if script.sha not in self._loads:
            self._loads[script.sha] = object()
            # If this is refused, so is the script itself, and its caller hears why.
            self._ask("SCRIPT LOAD", script.script).add_done_callback(lambda load: load.cancelled() or load.exception())
        return self._loads[script.sha]

    def _ask(self, *parts: Any) -> "asyncio.Future[Any]":
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((parts, answer))
        if self._sender is None:
            self._sender = asyncio.create_task(self._send_all(), name="gathered commands")
        return answer

    @property
    def length(self) -> int:
        """How many wait, with the pipeline that is under way for one more."""
        return len(self._waiting) + (self._sender is not None)

    async def close(self) -> None:
        """Send nothing more; who waits hears that there is no connection. Twice is fine."""
        await end_task(self._sender)
        self._sender = None
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await self._client.connection_pool.release(connection)
        self._fail([], exceptions.ConnectionError(CLOSED))  # the sender may not have begun

    async def _send_all(self) -> None:
        sent: list[Wanted] = []
        try:
            while self._waiting:
                sent, self._waiting = self._waiting[:TOGETHER], self._waiting[TOGETHER:]
                if self._clock is not None and any(answer is self._clock for _, answer in sent):
                    self._clock = None
                for (_, answer), reply in zip(sent, await self._send(sent), strict=True):
                    _give(answer, reply)
        except (exceptions.RedisError, OSError) as error:
            self._fail(sent, error)
        except BaseException:
            self._fail(sent, exceptions.ConnectionError(CLOSED))
            raise
        finally:
            self._sender = None

    async def _send(self, wanted: "list[Wanted]") -> list[Any]:
        connection = await self._connected()
        try:
            await connection.send_packed_command(
                [piece for parts, _ in wanted for piece in connection.pack_command(*parts)]
            )
            return [await self._reply(connection, parts[0]) for parts, _ in wanted]
        except BaseException:
            await connection.disconnect(nowait=True)  # answers may still come that nobody waits for
            raise

    async def _connected(self) -> Any:
        """Return the connection: taken from the pool once, as that costs as much again as a command."""
        pool: Any = self._client.connection_pool
        if self._connection is None:
            self._connection = await pool.get_connection()
        else:
            await pool.ensure_connection(self._connection)  # it may have been closed meanwhile
        return self._connection

    async def _reply(self, connection: Any, name: str) -> Any:
        """Read one answer, in the shape in which the client gives it."""
        try:
            reply = await connection.read_response()
        except exceptions.ResponseError as error:
            return error
        shape: Any = self._client.response_callbacks.get(name)
        return reply if shape is None else shape(reply)

    def _fail(self, sent: "list[Wanted]", error: Exception) -> None:
        waiting, self._waiting, self._clock = self._waiting, [], None
        for _, answer in [*sent, *waiting]:
            _give(answer, error)


def _give(answer: "asyncio.Future[Any]", reply: Any) -> None:
    """Answer, unless nobody waits any more."""
    if answer.done():
        return
    if isinstance(reply, Exception):
        answer.set_exception(reply)
    else:
        answer.set_result(reply)
