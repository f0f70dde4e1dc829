"""Watch the store: whether it is still the one that it was, and what an operator should know of it."""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

from application.tasks import end_task
from domain.errors import StoreUnavailable, StrangeKey
from infrastructure.redis import server_check
from infrastructure.redis.connection import RedisStore, store_errors
from infrastructure.redis.strangers import find_strange_keys, look_at_names
from infrastructure.redis.url import written

log = logging.getLogger(__name__)

LOOK_S = 2.0
SEARCH_S = 30.0
"""A search for strange keys reads the names of all keys: not more often than this."""
LOSS_SHOWN_S = 3600.0
"""How long health tells that data was lost: long enough for whoever comes to look."""
IDENTITY = "store_id"
SECTIONS = ("server", "clients", "memory", "persistence", "replication")


@dataclass(frozen=True)
class StoreCondition:
    """What is known of the store: facts, and what is wrong with it."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    troubles: tuple[str, ...] = ()


class StoreWatch:
    """Look at the store every two seconds, where the Sentinels say that it is. A hosted service.

    The store carries an identity that this program wrote. When it is gone, or is another one, so is everything else:
    that is said loudly, and ``regained`` is called to write what a new store must have. What else is wrong (data that
    may be evicted or is not kept, memory that is full, keys of strangers) is logged when it begins and when it ends.
    """

    def __init__(
        self, store: RedisStore, key_types: Mapping[str, str], regained: Callable[[], Awaitable[None]]
    ) -> None:
        """``key_types`` tells which type the keys of each name have, as ``find_strange_keys`` reads it."""
        self._store = store
        self._key_types = key_types
        self._regained = regained
        self._identity: str | None = None
        self._lost_at: float | None = None
        self._errors_seen: dict[str, int] = {}
        self._strange: tuple[str, ...] = ()
        self._searched = -SEARCH_S
        self._condition = StoreCondition()
        self._task: asyncio.Task[None] | None = None

    @property
    def condition(self) -> StoreCondition:
        """What was found at the last look, and the loss of the last hour."""
        if self._lost_at is None or time.time() - self._lost_at > LOSS_SHOWN_S:
            return self._condition
        when = datetime.fromtimestamp(self._lost_at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        lost = f"it lost its data at {when}; schedules and jobs from before are gone"
        return StoreCondition({**self._condition.facts, "lost_data_at": when}, (lost, *self._condition.troubles))

    async def start(self) -> None:
        """Look once, then again and again."""
        if self._task is None:
            await self._look()
            self._task = asyncio.create_task(self._keep_looking(), name="store watch")

    async def stop(self) -> None:
        """Stop looking."""
        await end_task(self._task)
        self._task = None

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            await self._look()

    async def _look(self) -> None:
        try:
            with store_errors():
                await self._store.follow()
                await self._recognise()
                self._tell(await self._examine())
        except StoreUnavailable as error:
            log.debug("the store cannot be looked at: %s", error)
        except Exception:
            log.exception("a look at the store failed")

    async def _recognise(self) -> None:
        with contextlib.suppress(StrangeKey), store_errors():  # where it would be is searched for afterwards
            if await self._is_lost():
                await self._after_loss()

    async def _is_lost(self) -> bool:
        """Compare the store's identity with the one it had; give one to a store that has none."""
        meta, client = self._store.key("meta"), self._store.command
        found = await cast(Awaitable[str | None], client.hget(meta, IDENTITY))
        before = self._identity
        if found is None:
            await client.hsetnx(meta, IDENTITY, secrets.token_hex(8))
            found = await cast(Awaitable[str | None], client.hget(meta, IDENTITY))
        self._identity = found
        return before is not None and found != before

    async def _after_loss(self) -> None:
        self._lost_at = time.time()
        log.error(
            "the store at %s HAS LOST ITS DATA, or is another one: all schedules, jobs and histories from before are "
            "gone, and what was running is cancelled. Restore a backup, or schedule anew",
            self._store.address,
        )
        try:
            await self._regained()
        except Exception:
            log.exception("the program's own schedules could not be written into the store that lost its data")

    async def _examine(self) -> StoreCondition:
        info = await self._store.command.info(*SECTIONS)
        saves = await self._store.saves(info)
        troubles = [
            server_check.is_replica(info),
            server_check.keeps_nothing(info, saves),
            server_check.cannot_write(info),
            server_check.may_evict(info),
            "it is full, and refuses new work" if self._grown("OOM") else "",
            *await self._strangers(),
        ]
        if info.get("role", "master") != "master":
            await self._store.reconnect()
        facts = server_check.facts(info)
        if self._store.primary is not None:
            facts["primary"] = written(self._store.primary)
        return StoreCondition(facts, tuple(trouble for trouble in troubles if trouble))

    async def _strangers(self) -> tuple[str, ...]:
        """Look at the keys that there is one of, and search for others if the server has just complained of one."""
        found = await look_at_names(self._store, self._key_types)
        if not self._grown("WRONGTYPE"):
            self._strange = ()
        elif time.monotonic() - self._searched > SEARCH_S or not (self._strange or found):
            self._searched = time.monotonic()
            self._strange = await find_strange_keys(self._store, self._key_types)
        return tuple(dict.fromkeys((*found, *self._strange)))

    def _grown(self, code: str) -> bool:
        """Tell whether the server has answered this error since the last look."""
        count = self._store.answered_errors[code]
        before, self._errors_seen[code] = self._errors_seen.get(code, 0), count
        return count > before

    def _tell(self, condition: StoreCondition) -> None:
        before = self._condition.troubles
        self._condition = condition
        for trouble in condition.troubles:
            if trouble not in before:
                log.error("the store at %s: %s", self._store.address, trouble)
        for trouble in before:
            if trouble not in condition.troubles:
                log.info("the store at %s is over this: %s", self._store.address, trouble)
