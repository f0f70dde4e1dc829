"""The shop's background jobs."""

import os

from application.scheduling import (
    Injected,
    JobContext,
    RecurrentBackgroundJob,
    ScheduledBackgroundJob,
    backgroundjob,
)
from shop import Orders


@backgroundjob(task_type="scheduled")
class SendReceipt(ScheduledBackgroundJob):
    """Send the receipt of one order."""

    order: int
    orders: Injected[Orders]

    def run_at(self) -> None:
        """Send it. A plain ``def`` has a thread of its own, and may block."""
        self.orders.note_receipt(self.order)


@backgroundjob(task_type="recurrent")
class CountOrders(RecurrentBackgroundJob):
    """Write down how many orders there are."""

    orders: Injected[Orders]

    def run_every(self, ctx: JobContext) -> int:
        """Count; the result is kept with the run."""
        return self.orders.note_count(ctx.fire_time, ctx.missed, ctx.attempt, os.getpid())
