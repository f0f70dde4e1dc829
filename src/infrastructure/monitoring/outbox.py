"""The outbox in Redis: a list of messages a lane, and a lease on the lane while its first message is being sent."""

from application.monitoring.outbox import Outbox, Sending
from domain.monitoring.notification import Notification
from infrastructure.monitoring.scripts import MonitoringScripts
from infrastructure.redis.connection import store_errors


class RedisOutbox(Outbox):
    """Messages that ``RedisAlertBook`` has put in."""

    def __init__(self, scripts: MonitoringScripts) -> None:
        self._scripts = scripts
        self._redis = scripts.store.command

    async def take(self, limit: int, lease_s: float) -> list[Sending]:
        """Lease what is due."""
        found = await self._scripts.run("take_outbox", [limit, round(lease_s * 1000)])
        return [
            Sending(lane, token, int(tries), lane.rpartition("@")[2], Notification.model_validate_json(message))
            for lane, token, tries, message in found
        ]

    async def done(self, sending: Sending) -> bool:
        """Take a message out."""
        return bool(await self._scripts.run("settle_outbox", [sending.lane, sending.token, ""]))

    async def again(self, sending: Sending, delay_s: float) -> bool:
        """Put a message off."""
        delay_ms = round(delay_s * 1000)
        return bool(await self._scripts.run("settle_outbox", [sending.lane, sending.token, delay_ms]))

    async def waiting(self) -> int:
        """Return how many lanes wait."""
        with store_errors():
            return await self._redis.zcard(self._scripts.key("outbox_due"))
