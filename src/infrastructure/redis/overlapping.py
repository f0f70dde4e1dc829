"""Calls of one script from a thread, sent before the server has answered those before."""

from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import redis
from redis.commands.core import Script
from redis.exceptions import NoScriptError, ResponseError


class OverlappingCalls:
    """Keep the client's only connection while it is entered; nothing else may ask the client meanwhile.

    ``send`` as many as the caller likes; each ``answer`` is that of the oldest call without one. Raises redis-py's
    errors; a connection with an answer that nobody took is closed.
    """

    def __init__(self, client: redis.Redis, script: Script, keys: Sequence[str]) -> None:
        self._pool = client.connection_pool
        self._script = script
        self._before = (len(keys), *keys)
        self._under_way: deque[Sequence[Any]] = deque()
        """The arguments of the calls whose answer was not asked for, the oldest first."""
        self._read: list[Any] = []
        """What was read of their answers before its turn, errors too."""

    def __enter__(self) -> Self:
        self._connection: Any = self._pool.get_connection()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if len(self._under_way) > len(self._read):
            self._connection.disconnect()
        self._connection.owes_answers = False
        self._pool.release(self._connection)

    def send(self, args: Sequence[Any]) -> None:
        """Send a call."""
        packed = self._connection.pack_command("EVALSHA", self._script.sha, *self._before, *args)
        self._connection.owes_answers = len(self._under_way) > len(self._read)
        self._under_way.append(args)
        self._connection.send_packed_command(packed)

    def answer(self) -> Any:
        """Wait for the answer to the oldest call; a server that forgot the script is told it again."""
        if not self._read:
            self._read.append(self._reply())
            if isinstance(self._read[0], NoScriptError):
                self._tell_again()
        self._under_way.popleft()
        reply = self._read.pop(0)
        if isinstance(reply, ResponseError):
            raise reply
        return reply

    def _reply(self) -> Any:
        try:
            return self._connection.read_response()
        except ResponseError as error:
            return error

    def _tell_again(self) -> None:
        """Read all answers that are still to come, then send what was refused once more, with the script."""
        while len(self._read) < len(self._under_way):
            self._read.append(self._reply())
        for n, args in enumerate(self._under_way):
            if isinstance(self._read[n], NoScriptError):
                self._connection.send_command("EVAL", self._script.script, *self._before, *args)
                self._read[n] = self._reply()
