"""Read from the store which instances there are, and who is gone."""

import json
from typing import Any

from domain.runs.instance import Instance, InstancePage, InstanceStatus, heard_status
from infrastructure.redis.connection import RedisStore, store_errors

GONE_SHOWN_MS = 24 * 3600 * 1000
"""As long as instances.lua keeps them; it trims when the next one goes."""
UNTOLD = {"role": "?", "version": "?", "host": "?", "pid": 0, "lease_ms": 5_000}


class RedisInstances:
    """All instances, of any role, as they announced themselves."""

    def __init__(self, store: RedisStore) -> None:
        self._redis = store.command
        self._key = store.key

    async def page(
        self, *, status: InstanceStatus | None = None, gone: bool = True, limit: int = 50, cursor: str = ""
    ) -> InstancePage:
        """Return instances in the order of their ids, those after ``cursor``; raises ``StoreUnavailable``."""
        found = [
            instance
            for instance in sorted(await self._all(), key=lambda instance: instance.id)
            if instance.id > cursor
            and status in (None, instance.status)
            and (gone or instance.status is not InstanceStatus.GONE)
        ]
        return InstancePage(items=found[:limit], next_cursor=found[limit - 1].id if len(found) > limit else None)

    async def _all(self) -> list[Instance]:
        with store_errors():
            pipe = self._redis.pipeline(transaction=True)
            pipe.time()
            pipe.hgetall(self._key("instances"))
            pipe.zrange(self._key("beats"), 0, -1, withscores=True)
            pipe.zrange(self._key("gone"), 0, -1, withscores=True)
            pipe.hgetall(self._key("departed"))
            (seconds, microseconds), announced, beats, gone, departed = await pipe.execute()
        now = seconds * 1000 + microseconds // 1000
        seen = {instance_id: int(score) for instance_id, score in beats}
        here = [_heard(json.loads(text), seen.get(found, 0), now) for found, text in announced.items()]
        left = [
            _departed(json.loads(departed[found]), int(when))
            for found, when in gone
            if found in departed and now - when <= GONE_SHOWN_MS
        ]
        return here + left


def _heard(announcement: dict[str, Any], seen: int, now: int) -> Instance:
    facts = _facts(announcement, seen)
    return Instance.model_validate({**facts, "status": heard_status(now - seen, facts["lease_ms"])})


def _departed(departure: dict[str, Any], when: int) -> Instance:
    """Return an instance that left: it holds nothing any more."""
    facts = _facts(departure["announcement"], departure["last_seen"]) | {"claimed": 0, "loop_blocked": False}
    facts |= {"gone_at": when, "why": departure["why"]}
    return Instance.model_validate({**facts, "status": InstanceStatus.GONE})


def _facts(announcement: dict[str, Any], seen: int) -> dict[str, Any]:
    """Return what an instance said, and "?" for what another version of the program does not say."""
    return {**UNTOLD, "started_at": seen, **announcement, "last_seen_at": seen}
