"""An outbox on a real store, filled as the alerts fill it, without the rest of monitoring."""

import warnings
from typing import Any

from apprise import Apprise

from application.monitoring.alert_book import AlertStep
from application.monitoring.channel_desk import ChannelDesk, DeliveryQuery
from application.monitoring.channels import Channels
from application.monitoring.outbox import Ending, Sending
from application.monitoring.sender import NotificationSender
from application.scheduling.deeds import unwritten
from domain.monitoring.delivery import DatedDelivery
from domain.monitoring.notification import Notification
from domain.monitoring.routing import Grouping, Route, Routing
from infrastructure.monitoring.alerts import RedisAlertBook
from infrastructure.monitoring.deliveries import RedisDeliveries
from infrastructure.monitoring.outbox import OutboxOptions, RedisOutbox
from infrastructure.monitoring.scripts import MonitoringScripts
from infrastructure.redis.connection import RedisStore


def load_apprise() -> None:
    """Load the library with what it still imports of old, which warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert Apprise().add("json://127.0.0.1")


class Post:
    """The stores of sending, on one store; ``routes`` are the channels by name."""

    def __init__(
        self,
        store: RedisStore,
        routes: dict[str, Route] | None = None,
        grouping: Grouping | None = None,
        **options: Any,
    ) -> None:
        self.store = store
        self.scripts = MonitoringScripts(store, "i1")
        grouping = grouping or Grouping()
        self.book = RedisAlertBook(self.scripts, Routing(routes or {"log": Route()}, grouping))
        self.options = OutboxOptions(**{"interval_s": grouping.interval_s, **options})
        self.outbox = RedisOutbox(self.scripts, "i1", self.options)
        self.history = RedisDeliveries(self.scripts, self.options)

    async def put(self, *notifications: Notification) -> None:
        """Commit each in a step of its own, as alerts do."""
        for one in notifications:
            await self.store.command.hset(self.scripts.key("workers"), one.worker_id, "{}")
            before = await self.book.read(one.worker_id)
            assert await self.book.commit(AlertStep(before, notifications=[one])) == "done"

    async def take(self, channel: str = "log", lanes: int = 10, lease_s: float = 30.0) -> list[Sending]:
        return await self.outbox.take(channel, lanes, lease_s)

    async def sent(self, sending: Sending) -> bool:
        return await self.outbox.settle(sending, Ending("sent"))

    async def deliveries(self, **query: Any) -> list[DatedDelivery]:
        return (await self.history.page(DeliveryQuery(**query))).items

    def sender(self, channels: Channels, **options: Any) -> NotificationSender:
        return NotificationSender(self.outbox, channels, **{"poll_s": 0.01, **options})

    def desk(self, channels: Channels) -> ChannelDesk:
        return ChannelDesk(channels, self.outbox, self.history, unwritten, "i1")

    async def rested(self, channel: str = "log") -> None:
        """Let all waits, leases and rests of a channel be over."""
        redis, due = self.store.command, self.scripts.key("outbox_due", channel)
        for lane in await redis.zrange(due, 0, -1):
            await redis.zadd(due, {lane: 0})
        await redis.hdel(self.scripts.key("circuit", channel), "until")

    async def messages(self) -> int:
        """Return how many notifications wait, on all channels."""
        return sum(one.messages for one in (await self.outbox.backlogs()).values())


def told(sending: Sending) -> list[str]:
    """Return what goes out together: ``firing w1``."""
    return [f"{one.kind} {one.worker_id}" for one in sending.notifications]
