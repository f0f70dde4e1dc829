"""The audit in Redis: two streams that the changes themselves write into (``record.lua``), read newest first."""

import json
import logging
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from heapq import merge
from operator import itemgetter
from typing import Any

from pydantic import ValidationError

from application.audit.writing import CHANGES, JOBS
from domain.audit.entry import AuditEntry
from domain.audit.errors import InvalidAuditAction, InvalidAuditCursor
from domain.events.event import TOPIC
from domain.events.topics import matches
from infrastructure.redis.connection import RedisStore, store_errors

log = logging.getLogger(__name__)

LOGS = {"c": CHANGES, "j": JOBS}
PAGE = 500
CURSOR = re.compile(r"([cj])-(\d{1,16})-(\d{1,18})")
PATTERN = re.compile(rf"{TOPIC.pattern}|[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*\.\*|\*")

Place = tuple[int, int, str]
"""Milliseconds, sequence and log of an entry: what orders the two logs as one."""
Raw = tuple[Place, Mapping[str, str]]


@dataclass(frozen=True)
class AuditQuery:
    """What is looked for; what is None, or '', is not asked about."""

    actor: str | None = None
    """Who asked: the name that is recorded, or what a caller said of itself."""
    action: str | None = None
    """An action, or ``schedule.*`` for all that begin so."""
    target: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: int = 50
    cursor: str = ""


@dataclass(frozen=True)
class AuditPage:
    """Some entries, newest first; ``next_cursor`` asks for older ones, None at the end."""

    items: list[AuditEntry]
    next_cursor: str | None


class RedisAuditLog:
    """Read the audit of a store. Whoever reads sees each entry once, whatever is written or trimmed meanwhile."""

    def __init__(self, store: RedisStore, kept_s: float = 90 * 86_400.0) -> None:
        self._store = store
        self._kept_ms = round(kept_s * 1000)

    async def page(self, query: AuditQuery) -> AuditPage:
        """Return entries; raises ``InvalidAuditCursor``, ``InvalidAuditAction`` and ``StoreUnavailable``."""
        if query.action and not PATTERN.fullmatch(query.action):
            raise InvalidAuditAction(action=query.action[:100])
        before = _place(query.cursor) if query.cursor else None
        items: list[AuditEntry] = []
        async with aclosing(self._matching(query, before)) as matching:
            async for place, fields in matching:
                if (found := _entry(place, fields)) is None or not _is_by(found, query.actor):
                    continue
                if len(items) == query.limit:
                    return AuditPage(items, items[-1].id)
                items.append(found)
        return AuditPage(items, None)

    async def _matching(self, query: AuditQuery, before: Place | None) -> AsyncGenerator[Raw, None]:
        """Yield what fits by action and target, newest first, before a place."""
        now = await self._store.now()
        oldest = max(now - self._kept_ms, _ms(query.since) if query.since else 0, 0)
        newest = _ms(query.until) if query.until else None
        logs = [_Log(self._store, letter, oldest, newest, before) for letter in LOGS]
        for one in logs:
            await one.fill()
        while any(one.page for one in logs):
            # What is older than the end of a log's page waits for its next one: that may hold what belongs before.
            reached = max(one.page[-1][0] for one in logs if one.page)
            for place, fields in merge(*(one.take(reached) for one in logs), key=itemgetter(0), reverse=True):
                if _fits(query, fields):
                    yield place, fields
            for one in logs:
                await one.fill()


class _Log:
    """One stream, read in pages from the newest entry to the oldest that is asked for; ``page`` is what is in hand."""

    def __init__(self, store: RedisStore, letter: str, oldest: int, newest: int | None, before: Place | None) -> None:
        self._store = store
        self._letter = letter
        self._key = store.key(*LOGS[letter])
        self._oldest = str(oldest)
        self._before = before
        self._end = "+" if newest is None else str(newest)
        if before is not None and (newest is None or before[0] <= newest):
            self._end = f"{before[0]}-{before[1]}"
        self._is_over = False
        self.page: list[Raw] = []

    async def fill(self) -> None:
        """Read on when nothing is in hand."""
        while not self.page and not self._is_over:
            with store_errors():
                rows: Any = await self._store.command.xrevrange(self._key, self._end, self._oldest, count=PAGE)
            read = [((*_ids(raw_id), self._letter), fields) for raw_id, fields in rows]
            self.page = [item for item in read if self._before is None or item[0] < self._before]
            self._is_over = len(rows) < PAGE
            if rows:
                self._end = f"({rows[-1][0]}"

    def take(self, reached: Place) -> list[Raw]:
        """Give away what is not older than ``reached``."""
        ready = [item for item in self.page if item[0] >= reached]
        self.page = self.page[len(ready) :]
        return ready


def _fits(query: AuditQuery, fields: Mapping[str, str]) -> bool:
    if query.target and fields.get("t") != query.target:
        return False
    return not query.action or matches(query.action, fields.get("a", ""))


def _is_by(entry: AuditEntry, actor: str | None) -> bool:
    return not actor or actor in (entry.actor, entry.client)


def _entry(place: Place, fields: Mapping[str, str]) -> AuditEntry | None:
    """Return an entry; None for what is not one, which the log tells."""
    try:
        facts = json.loads(fields["d"])
        found = json.loads(fields.get("f") or "{}")
        return AuditEntry.model_validate(
            {
                **facts,
                "id": _cursor(place),
                "at": datetime.fromtimestamp(place[0] / 1000, UTC),
                "action": fields["a"],
                "target": fields["t"],
                "actor": fields["w"],
                "instance": fields["s"],
                "reason": facts.get("reason") or facts.get("why"),
                "facts": {**facts.get("facts", {}), **found},
            }
        )
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, ValidationError) as error:
        log.warning("entry %s of the audit cannot be read: %s", _cursor(place), type(error).__name__)
        return None


def _ids(raw: str) -> tuple[int, int]:
    ms, _, sequence = raw.partition("-")
    return int(ms), int(sequence)


def _cursor(place: Place) -> str:
    return f"{place[2]}-{place[0]}-{place[1]}"


def _place(cursor: str) -> Place:
    found = CURSOR.fullmatch(cursor)
    if found is None:
        raise InvalidAuditCursor(cursor=cursor[:100])
    return int(found[2]), int(found[3]), found[1]


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
