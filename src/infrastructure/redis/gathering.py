"""Send what many coroutines want at the same time together: a pipeline costs a tenth of as many single calls."""

import asyncio
from collections.abc import Sequence
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
        self._sender: asyncio.Task[None] | None = None

    async def command(self, *parts: Any) -> Any:
        """Send one command and return its reply; raises redis-py's errors. Cancelled, it may still take effect."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((parts, answer))
        if self._sender is None:
            self._sender = asyncio.create_task(self._send_all(), name="gathered commands")
        return await answer

    async def script(self, script: AsyncScript, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run a script and return its reply; one that the server has forgotten is sent whole."""
        parts = (len(keys), *keys, *args)
        try:
            return await self.command("EVALSHA", script.sha, *parts)
        except exceptions.NoScriptError:
            return await self.command("EVAL", script.script, *parts)

    @property
    def length(self) -> int:
        """How many wait, with the pipeline that is under way for one more."""
        return len(self._waiting) + (self._sender is not None)

    async def close(self) -> None:
        """Send nothing more; who waits hears that there is no connection. Twice is fine."""
        await end_task(self._sender)
        self._sender = None
        self._fail([], exceptions.ConnectionError(CLOSED))  # the sender may not have begun

    async def _send_all(self) -> None:
        sent: list[Wanted] = []
        try:
            while self._waiting:
                sent, self._waiting = self._waiting[:TOGETHER], self._waiting[TOGETHER:]
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
        pipe = self._client.pipeline(transaction=False)
        for parts, _ in wanted:
            pipe.execute_command(*parts)
        return await pipe.execute(raise_on_error=False)

    def _fail(self, sent: "list[Wanted]", error: Exception) -> None:
        waiting, self._waiting = self._waiting, []
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
