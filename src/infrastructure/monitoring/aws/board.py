"""The board in Redis on which the processes write what they want to know of a region, and what one of them has seen.

One process at a time fetches, as the lease says: for all of them, and for those that will ask soon. The others find
what they want on the board. When the one that fetches dies, its lease ends, and the next that looks takes over.
"""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import cast

from infrastructure.monitoring.aws.seen import Seen
from infrastructure.monitoring.scripts import MonitoringScripts
from infrastructure.redis.connection import store_errors

LEASE_S = 5.0
FRESH_S = 15.0
"""What was seen less than this ago need not be asked for again."""
KEPT_S = 900.0
ABSENT_KEPT_S = 86_400.0
"""Absences in a row are counted over looks that may be far apart."""
IDS_A_ROUND = 20_000
IDS_A_WRITE = 500
AGENTS_KEPT_S = 3_600
READ_AT_ONCE = 100
"""Texts that are read before others have a turn on the event loop: each takes 30 to 80 µs."""


@dataclass(frozen=True)
class Answer:
    """What the board has; ``may_fetch``: this process has the lease, and is to look.

    For ``expected_s`` seconds nobody asked for an instance that was not expected to be asked for about now.
    """

    may_fetch: bool
    expected_s: float
    seen: dict[str, Seen]


@dataclass(frozen=True)
class Round:
    """What one process is to look at now, with what was known of each before: JSON, '' for nothing.

    A large region is looked at in parts, and what was known of a part is read with it: all at once it would hold the
    event loop.
    """

    now: datetime
    before: dict[str, str]


@dataclass(frozen=True)
class KnownAgents:
    """Series (JSON) by instance; the list is to be made again at ``again_at``, ``why`` it could not be made last."""

    again_at: datetime | None = None
    why: str | None = None
    series: Mapping[str, str] = field(default_factory=dict)


class RegionBoard:
    """The part of the board that is about one account and region. Every method raises ``StoreUnavailable``."""

    def __init__(self, scripts: MonitoringScripts, group: str, owner: str, lease_s: float = LEASE_S) -> None:
        self._scripts = scripts
        self._group = group
        self._owner = owner
        self.lease_s = lease_s
        self._agents_key = scripts.key("aws_agents", group)

    async def ask(self, ids: Sequence[str], *, new: Sequence[str], may_fetch: bool) -> Answer:
        """Return what is fresh, and put the rest on the list. ``new`` are those among ``ids`` not asked for before."""
        head: list[str | int] = [self._group, self._owner, self._lease_ms, round(FRESH_S * 1000), int(may_fetch)]
        got_lease, expected_ms, *found = await self._scripts.run("aws_ask", [*head, len(new), *new, *ids])
        seen = await read(dict(zip(found[::2], found[1::2], strict=True)))
        return Answer(bool(got_lease), expected_ms / 1000, seen)

    async def begin(self) -> Round | None:
        """Take all that is wanted, now or soon; None when the lease is not this process's any more."""
        reply = await self._scripts.run(
            "aws_begin", [self._group, self._owner, self._lease_ms, round(FRESH_S * 1000), IDS_A_ROUND]
        )
        if not reply:
            return None
        now, *found = reply
        return Round(_moment(int(now)), dict(zip(found[::2], found[1::2], strict=True)))

    async def renew(self) -> bool:
        """Keep the lease; False when it is another's."""
        return bool(await self._scripts.run("aws_renew", [self._group, self._owner, self._lease_ms]))

    async def publish(self, seen: Mapping[str, Seen], *, is_last: bool = True) -> None:
        """Write what was seen for all to find, and give the lease back, if it is the last of a look."""
        rows = [
            word
            for name, one in seen.items()
            for word in (name, round((ABSENT_KEPT_S if one.absences else KEPT_S) * 1000), _packed(one))
        ]
        size = 3 * IDS_A_WRITE
        for start in range(0, max(len(rows), 1), size):
            ends = is_last and start + size >= len(rows)
            await self._scripts.run("aws_publish", [self._group, self._owner, int(ends), *rows[start : start + size]])

    async def agents(self, ids: Sequence[str]) -> KnownAgents:
        """Return what is known of the agents of some instances."""
        with store_errors():
            again, why, *found = await cast(
                Awaitable[list[str | None]],
                self._scripts.store.command.hmget(self._agents_key, [":again", ":why", *ids]),
            )
        series = {name: text for name, text in zip(ids, found, strict=True) if text}
        return KnownAgents(datetime.fromisoformat(again) if again else None, why or None, series)

    async def note_agents(self, again_at: datetime, why: str) -> None:
        """Keep the list that there is; note why there is no newer one, and when to try again."""
        with store_errors():
            async with self._scripts.store.command.pipeline(transaction=True) as pipe:
                pipe.hset(self._agents_key, mapping={":again": again_at.isoformat(), ":why": why})
                pipe.expire(self._agents_key, AGENTS_KEPT_S)
                await pipe.execute()

    async def replace_agents(self, series: Mapping[str, str], again_at: datetime) -> None:
        """Replace the whole list."""
        rows = list(series.items())
        with store_errors():
            async with self._scripts.store.command.pipeline(transaction=True) as pipe:
                pipe.delete(self._agents_key)
                pipe.hset(self._agents_key, ":again", again_at.isoformat())
                for start in range(0, len(rows), IDS_A_WRITE):
                    pipe.hset(self._agents_key, mapping=dict(rows[start : start + IDS_A_WRITE]))
                pipe.expire(self._agents_key, AGENTS_KEPT_S)
                await pipe.execute()

    @property
    def _lease_ms(self) -> int:
        return round(self.lease_s * 1000)


async def read(texts: Mapping[str, str]) -> dict[str, Seen]:
    """Return what the board has in JSON; the event loop goes on meanwhile."""
    seen = {}
    for number, (name, text) in enumerate(texts.items(), start=1):
        seen[name] = Seen.model_validate_json(text)
        if number % READ_AT_ONCE == 0:
            await asyncio.sleep(0)
    return seen


def _packed(seen: Seen) -> str:
    """Return JSON without what is not known; tags are for imports only."""
    return seen.model_dump_json(exclude_defaults=True, exclude={"instance": {"tags"}})


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=ms)
