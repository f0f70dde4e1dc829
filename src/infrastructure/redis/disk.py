"""Acknowledge a write when it is on disk: ``WAITAOF`` on the connection of the write."""

from collections.abc import Sequence
from typing import Any

import redis.asyncio
from redis import exceptions
from redis.commands.core import AsyncScript

from domain.errors import NotConfirmedOnDisk

PATIENCE_S = 5.0
"""A server that syncs each second answers within one; a disk that stalls takes longer."""
MARK = "#!lua flags=allow-oom\nreturn redis.call('HSET', KEYS[1], 'confirmed', redis.call('TIME')[1])"
"""A write of our own in front of ``WAITAOF``, which waits for this connection's last write only: so what others wrote,
and what is acknowledged because it is there already, is waited for too."""


class DiskConfirmation:
    """Run scripts and return when what they wrote is on disk.

    ``WAITAOF`` does not exist within scripts (it blocks), so it follows the script in the same pipeline, on the same
    connection: after a fail-over the answer is an error, and never the word of a server that lacks the write.
    """

    def __init__(self, client: "redis.asyncio.Redis", mark: str) -> None:
        """Use ``client``, whose connections wait, and write the key ``mark``."""
        self._client = client
        self._mark = mark

    async def run(self, script: AsyncScript, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run a script and return its reply; raises ``NotConfirmedOnDisk`` when that is not certain in time."""
        parts = (len(keys), *keys, *args)
        reply = await self._confirmed("EVALSHA", script.sha, *parts)
        if isinstance(reply, exceptions.NoScriptError):
            reply = await self._confirmed("EVAL", script.script, *parts)
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def confirm(self) -> None:
        """Return when all that was written so far, by whomever, is on disk."""
        await self._confirmed()

    async def _confirmed(self, *command: Any) -> Any:
        """Return the command's reply, or the error that it is."""
        pipe = self._client.pipeline(transaction=False)
        if command:
            pipe.execute_command(*command)
        pipe.execute_command("EVAL", MARK, 1, self._mark)
        pipe.execute_command("WAITAOF", 1, 0, round(PATIENCE_S * 1000))
        *replies, mark, confirmed = await pipe.execute(raise_on_error=False)
        if replies and isinstance(replies[0], Exception):
            return replies[0]
        for answer in (mark, confirmed):
            if isinstance(answer, Exception):
                raise NotConfirmedOnDisk(why=f"it says: {answer}") from answer
        if confirmed[0] < 1:
            raise NotConfirmedOnDisk(why=f"not within {PATIENCE_S:g} s")
        return replies[0] if replies else None
