"""What became of messages, in Redis: a hash by id, and the order of their first tries."""

import re
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from application.monitoring.channel_desk import Deliveries, DeliveryPage, DeliveryQuery
from application.runs.asking import Note
from domain.monitoring.channel_errors import InvalidDeliveryCursor
from domain.monitoring.delivery import DatedDelivery, Delivery
from infrastructure.monitoring.outbox import OutboxOptions
from infrastructure.monitoring.scripts import MonitoringScripts
from infrastructure.redis.connection import store_errors

PAGE = 200
CURSOR = re.compile(r"(\d{1,15})-([A-Za-z0-9_]{1,64})")

Place = tuple[int, str]
"""Milliseconds of the first try, and id: what orders deliveries."""


class RedisDeliveries(Deliveries):
    """Deliveries that ``RedisOutbox`` keeps. Whoever reads on sees each once, whatever is sent meanwhile."""

    def __init__(self, scripts: MonitoringScripts, options: OutboxOptions | None = None) -> None:
        self._scripts = scripts
        self._redis = scripts.store.command
        self._options = options or OutboxOptions()

    async def note(self, delivery: Delivery, note: Note | None) -> None:
        """Keep what became of a message that is in no outbox."""
        kept_ms = round(self._options.deliveries_kept_s * 1000)
        text = delivery.model_dump_json(exclude_defaults=True)
        args: list[str | int] = [delivery.id, text, self._options.deliveries_kept, kept_ms]
        await self._scripts.run("note_delivery", args, note)

    async def page(self, query: DeliveryQuery) -> DeliveryPage:
        """Return what is looked for."""
        before = _place(query.cursor) if query.cursor else None
        items: list[DatedDelivery] = []
        places: list[Place] = []
        offset = 0
        while rows := await self._rows(before, offset):
            offset += len(rows)
            older = [row for row in rows if before is None or row < before]
            for place, delivery in zip(older, await self._read(older), strict=True):
                if delivery is None or not _fits(delivery, query):
                    continue
                if len(items) == query.limit:
                    ms, id_ = places[-1]
                    return DeliveryPage(items, f"{ms}-{id_}")
                items.append(delivery)
                places.append(place)
        return DeliveryPage(items, None)

    async def _rows(self, before: Place | None, offset: int) -> list[Place]:
        newest = "+inf" if before is None else before[0]
        with store_errors():
            found: Any = await self._redis.zrange(
                self._scripts.key("delivery_times"),
                newest,
                "-inf",
                desc=True,
                byscore=True,
                withscores=True,
                offset=offset,
                num=PAGE,
            )
        return [(int(score), id_) for id_, score in found]

    async def _read(self, places: Sequence[Place]) -> list[DatedDelivery | None]:
        if not places:
            return []
        with store_errors():
            texts = await cast(
                Awaitable[list[str | None]],
                self._redis.hmget(self._scripts.key("deliveries"), [id_ for _, id_ in places]),
            )
        return [_dated(text, ms) if text else None for (ms, _), text in zip(places, texts, strict=True)]


def _dated(text: str, first_ms: int) -> DatedDelivery:
    tried_ms, _, facts = text.partition(" ")
    delivery = Delivery.model_validate_json(facts)
    return DatedDelivery(
        **delivery.model_dump(),
        first_tried_at=datetime.fromtimestamp(first_ms / 1000, UTC),
        tried_at=datetime.fromtimestamp(int(tried_ms) / 1000, UTC),
    )


def _fits(delivery: Delivery, query: DeliveryQuery) -> bool:
    if query.channel is not None and delivery.channel != query.channel:
        return False
    if query.outcome is not None and delivery.outcome != query.outcome:
        return False
    return query.alert_id is None or any(alert.alert_id == query.alert_id for alert in delivery.alerts)


def _place(cursor: str) -> Place:
    found = CURSOR.fullmatch(cursor)
    if found is None:
        raise InvalidDeliveryCursor(cursor=cursor[:100])
    return int(found[1]), found[2]
