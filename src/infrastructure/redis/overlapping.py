"""Calls of one script from a thread, each made ready while the server still works on the one before."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import redis
from redis.commands.core import Script
from redis.exceptions import NoScriptError, ResponseError


class OverlappingCalls:
    """Keep the client's only connection while it is entered; nothing else may ask the client meanwhile.

    One call is under way at a time: ``pack`` the next, take the ``answer`` to the last, then ``send``. Raises
    redis-py's errors; a connection with an answer that nobody took is closed.
    """

    def __init__(self, client: redis.Redis, script: Script, keys: Sequence[str]) -> None:
        self._pool = client.connection_pool
        self._script = script
        self._before = (len(keys), *keys)
        self._args: Sequence[Any] | None = None

    def __enter__(self) -> Self:
        self._connection: Any = self._pool.get_connection()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._args is not None:
            self._connection.disconnect()
        self._pool.release(self._connection)

    def pack(self, args: Sequence[Any]) -> Any:
        """Return a call as it is sent."""
        return self._connection.pack_command("EVALSHA", self._script.sha, *self._before, *args)

    def send(self, packed: Any, args: Sequence[Any]) -> None:
        """Send a call that was packed of these arguments."""
        self._args = args
        self._connection.send_packed_command(packed)

    def answer(self) -> Any:
        """Wait for the answer to what was sent last; a server that forgot the script is told it again."""
        args, again = self._args or (), False
        while True:
            try:
                reply = self._connection.read_response()
            except NoScriptError:
                if again:
                    raise
                again = True
                self._connection.send_command("EVAL", self._script.script, *self._before, *args)
            except ResponseError:
                self._args = None
                raise
            else:
                self._args = None
                return reply
