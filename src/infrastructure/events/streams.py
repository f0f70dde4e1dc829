"""The Redis calls of the event bus. Answers are bytes: no entry, whatever it holds, must break the reply it is in."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import redis.asyncio
from redis.exceptions import NoScriptError, ResponseError

from infrastructure.events.lua import digest, script
from infrastructure.events.positions import Extent, Position
from infrastructure.events.wire import Entry, entry, stream_id

Key = Callable[..., str]


class Backlog(NamedTuple):
    """What a group has before it: events that a member has and did not acknowledge, and those that none has read."""

    pending: int
    lag: int
    """0 where the store cannot tell, as after entries were deleted."""


class Streams:
    """The streams of one namespace. ``command`` answers at once, ``blocking`` may wait for ``block_s``."""

    def __init__(self, command: "redis.asyncio.Redis", blocking: "redis.asyncio.Redis", key: Key) -> None:
        self._command = command
        self._blocking = blocking
        self._key = key
        self.parked = key("ev", "parked")

    def name(self, family: str) -> str:
        """Return the key of a family's stream."""
        return self._key("ev", family)

    async def add(self, family: str, fields: Sequence[str], kept: int) -> bytes:
        """Append an entry, trim the stream to about ``kept``, and return the entry's id."""
        answer: bytes = await self._send(self._command, "XADD", self.name(family), "MAXLEN", "~", kept, "*", *fields)
        return answer

    async def read(self, family: str, after: Position, count: int, block_s: float = 0.0) -> list[Entry]:
        """Return entries behind ``after``, waiting up to ``block_s`` for the first one; with 0 it does not wait."""
        head, client = _blocking("XREAD", "COUNT", count, block_s), self._blocking if block_s else self._command
        place = f"{after.id[0]}-{after.id[1]}"
        answer = await self._send(client, *head, "STREAMS", self.name(family), place)
        return [item for _, entries in _by_stream(answer) for item in entries]

    async def read_group(
        self, group: str, member: str, families: Sequence[str], count: int, block_s: float
    ) -> list[tuple[str, Entry]]:
        """Return entries that no member of the group got yet, up to ``count`` a family, and make them this member's."""
        head = _blocking("XREADGROUP", "GROUP", group, member, "COUNT", count, block_s)
        names = [self.name(family) for family in families]
        answer = await self._send(self._blocking, *head, "STREAMS", *names, *(">" for _ in names))
        known = dict(zip(names, families, strict=True))
        return [(known[name], item) for name, entries in _by_stream(answer) for item in entries]

    async def acknowledge(self, family: str, group: str, ids: Sequence[bytes]) -> None:
        """Tell that a group has handled entries."""
        await self._send(self._command, "XACK", self.name(family), group, *ids)

    async def extents(self, families: Sequence[str]) -> list[Extent]:
        """Return what the streams of ``families`` hold, as of one moment."""
        answer = await self.run("extents", [self.name(family) for family in families])
        return [
            Extent(stream_id(last), stream_id(first) if first else None, length, added)
            for last, first, length, added in answer
        ]

    async def backlogs(self, family: str) -> dict[str, Backlog]:
        """Return the groups of a family's stream; none where there is no stream yet."""
        try:
            answer = await self._send(self._command, "XINFO", "GROUPS", self.name(family))
        except ResponseError as error:
            if "no such key" in str(error).lower():
                return {}
            raise
        groups = (dict(zip(row[::2], row[1::2], strict=True)) for row in answer)
        return {
            group[b"name"].decode(errors="replace"): Backlog(int(group[b"pending"]), int(group.get(b"lag") or 0))
            for group in groups
        }

    async def parked_before(self, before: str, count: int) -> list[Entry]:
        """Return parked entries, the newest first, up to and including the id ``before`` (``+``: all)."""
        answer = await self._send(self._command, "XREVRANGE", self.parked, before, "-", "COUNT", count)
        return [entry(raw_id, fields) for raw_id, fields in answer]

    async def run(self, name: str, keys: Sequence[str], *args: str | bytes | float) -> Any:
        """Run ``lua/<name>.lua``."""
        try:
            return await self._send(self._command, "EVALSHA", digest(name), len(keys), *keys, *args)
        except NoScriptError:
            return await self._send(self._command, "EVAL", script(name), len(keys), *keys, *args)

    async def _send(self, client: "redis.asyncio.Redis", *words: str | bytes | float) -> Any:
        # mypy: redis-py's execute_command has no annotations.
        return await client.execute_command(*words, NEVER_DECODE=True)  # type: ignore[no-untyped-call]


def _blocking(*words: str | float) -> tuple[str | float, ...]:
    """Turn the last word, seconds, into ``BLOCK``; 0 means not to block, while for Redis it means for ever."""
    *head, block_s = words
    return (*head, "BLOCK", max(1, round(float(block_s) * 1000))) if block_s else tuple(head)


def _by_stream(answer: Any) -> list[tuple[str, list[Entry]]]:
    return [(name.decode(), [entry(raw_id, fields) for raw_id, fields in rows]) for name, rows in answer or ()]
