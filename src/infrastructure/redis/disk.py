"""Acknowledge a write when it is on disk: ``WAITAOF`` on the connection of the write."""

from collections.abc import Sequence
from typing import Any

import redis.asyncio
from redis.commands.core import AsyncScript

from domain.errors import NotConfirmedOnDisk
from infrastructure.redis.gathering import Gathering, Wanted

PATIENCE_S = 5.0
"""A server that syncs each second answers within one; a disk that stalls takes longer."""
AT_ONCE = 8
"""Connections that wait for the disk at the same time: who comes while all wait goes with the next that is free."""
MARK = "#!lua flags=allow-oom\nreturn redis.call('HSET', KEYS[1], 'confirmed', redis.call('TIME')[1])"
"""A write of our own in front of ``WAITAOF``, which waits for this connection's last write only: so what others wrote,
and what is acknowledged because it is there already, is waited for too."""


class DiskConfirmation:
    """Run scripts and return when what they wrote is on disk; many that are asked for together wait together.

    ``WAITAOF`` does not exist within scripts (it blocks), so it follows them in the same pipeline, on the same
    connection: after a fail-over the answer is an error, and never the word of a server that lacks the write.
    """

    def __init__(self, client: "redis.asyncio.Redis", mark: str) -> None:
        """Use ``client``, whose connections wait, and write the key ``mark``."""
        self._waits = [_Wait(client, mark) for _ in range(AT_ONCE)]

    async def run(self, script: AsyncScript, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run a script and return its reply; raises ``NotConfirmedOnDisk`` when that is not certain in time."""
        return await self._shortest().script(script, keys, args)

    async def confirm(self) -> None:
        """Return when all that was written so far, by whomever, is on disk."""
        await self._shortest().command("PING")

    async def close(self) -> None:
        """Wait for nothing more; twice is fine."""
        for wait in self._waits:
            await wait.close()

    def _shortest(self) -> "_Wait":
        return min(self._waits, key=lambda wait: wait.length)


class _Wait(Gathering):
    """Commands that are sent together, and whose answers come when all of them are on disk."""

    def __init__(self, client: "redis.asyncio.Redis", mark: str) -> None:
        super().__init__(client)
        self._mark = mark

    async def _send(self, wanted: list[Wanted]) -> list[Any]:
        pipe = self._client.pipeline(transaction=False)
        for parts, _ in wanted:
            pipe.execute_command(*parts)
        pipe.execute_command("EVAL", MARK, 1, self._mark)
        pipe.execute_command("WAITAOF", 1, 0, round(PATIENCE_S * 1000))
        *replies, mark, confirmed = await pipe.execute(raise_on_error=False)
        doubt = _doubt(mark, confirmed)
        if not doubt:
            return replies
        return [reply if isinstance(reply, Exception) else NotConfirmedOnDisk(why=doubt) for reply in replies]


def _doubt(mark: Any, confirmed: Any) -> str:
    """Return why it is not certain that the writes are on disk; nothing when it is."""
    for answer in (mark, confirmed):
        if isinstance(answer, Exception):
            return f"it says: {answer}"
    return "" if confirmed[0] else f"not within {PATIENCE_S:g} s"
