"""The handler of samples: hears on the event bus that there is a new one, and has the alerts catch up."""

import asyncio
import logging
from datetime import datetime

from application.events.bus import EventBus, Subscription
from application.monitoring.alerting import AlertEngine
from application.monitoring.intake import SampleIntake
from application.scheduling.moments import milliseconds
from domain.events.event import Event

log = logging.getLogger(__name__)

GROUP = "alerts"
AT_ONCE = 256
"""Workers that are evaluated at the same moment, in rounds of many: thousands come at once."""
GRACE_S = 0.25
"""For so long another instance has a sample that it stored for itself: it evaluates it at once, if it lives."""
LOOKED, FAILED = "worker.metrics.collected", "worker.collection.failed"


class WorkerNotificationHandler:
    """Hosted service: one group over all instances, so that each sample nudges one of them.

    An event only nudges. What is evaluated is read from the worker's own series, in order; so events that come twice,
    late, in another order, or not at all, change no alert. Who stores a sample evaluates it, so most find that done.
    """

    def __init__(self, bus: EventBus, alerts: AlertEngine, intake: SampleIntake, instance_id: str) -> None:
        """``instance_id`` is what this process is called in events."""
        self._bus = bus
        self._alerts = alerts
        self._intake = intake
        self._instance_id = instance_id
        self._subscription: Subscription | None = None

    async def start(self) -> None:
        """Subscribe, and have this process evaluate what it stores; twice is once."""
        if self._subscription is None:
            self._subscription = self._bus.subscribe(
                [LOOKED, FAILED], self.handle, group=GROUP, from_start=True, at_once=AT_ONCE
            )
            self._intake.open()

    async def stop(self) -> None:
        """Unsubscribe; a sample that is being evaluated is waited for."""
        await self._intake.close()
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await subscription.close()
        await self._alerts.stop()

    async def handle(self, event: Event) -> None:
        """Evaluate what is new of the worker that the event is about, or that a look at it failed."""
        worker_id = event.data.get("worker_id")
        if not isinstance(worker_id, str):
            log.warning("event %s names no worker and is ignored", event.id)
        elif event.topic == FAILED:
            await self._alerts.look_failed(worker_id, event.time)
        elif not await self._was_evaluated(worker_id, event):
            await self._alerts.catch_up(worker_id)

    async def _was_evaluated(self, worker_id: str, event: Event) -> bool:
        """Tell whether this process knows that a sample was evaluated; leave another one the time to do it."""
        if event.source != self._instance_id:
            await asyncio.sleep(GRACE_S)
            return False
        try:
            observed_at = milliseconds(datetime.fromisoformat(event.data["observed_at"]))
        except (KeyError, TypeError, ValueError):  # not one that a look has told
            return False
        return await self._intake.has_evaluated(worker_id, observed_at)
