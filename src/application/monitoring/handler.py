"""The handler of samples: hears on the event bus that there is a new one, and has the alerts catch up."""

import logging
from collections.abc import Callable

from application.events.bus import EventBus, Subscription
from application.monitoring.alerting import AlertEngine
from domain.events.event import Event

log = logging.getLogger(__name__)

GROUP = "alerts"
AT_ONCE = 256
"""Workers that are evaluated at the same moment, in rounds of many: thousands come at once."""
LOOKED, FAILED = "worker.metrics.collected", "worker.collection.failed"


class WorkerNotificationHandler:
    """Hosted service: one group over all instances, so that each sample nudges one of them.

    An event only nudges. What is evaluated is read from the worker's own series, in order; so events that come twice,
    late, in another order, or not at all, change no alert.
    """

    def __init__(self, bus: EventBus, alerts: AlertEngine, wake_sender: Callable[[], None] = lambda: None) -> None:
        self._bus = bus
        self._alerts = alerts
        self._wake_sender = wake_sender
        self._subscription: Subscription | None = None

    async def start(self) -> None:
        """Subscribe; twice is once."""
        if self._subscription is None:
            self._subscription = self._bus.subscribe(
                [LOOKED, FAILED], self.handle, group=GROUP, from_start=True, at_once=AT_ONCE
            )

    async def stop(self) -> None:
        """Unsubscribe; a sample that is being evaluated is waited for."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await subscription.close()
        await self._alerts.stop()

    async def handle(self, event: Event) -> None:
        """Evaluate what is new of the worker that the event is about, or that a look at it failed."""
        worker_id = event.data.get("worker_id")
        if not isinstance(worker_id, str):
            log.warning("event %s names no worker and is ignored", event.id)
            return
        news = self._alerts.look_failed(worker_id, event.time) if event.topic == FAILED else self._catch_up(worker_id)
        if await news:
            self._wake_sender()

    async def _catch_up(self, worker_id: str) -> bool:
        return bool(await self._alerts.catch_up(worker_id))
