"""Count the fires that this process left out, by listening to what the store announces of them."""

from application.events.bus import EventBus
from domain.events.event import Event

WHYS = ("overlap", "missed", "paused", "stopped", "changed", "parked")
"""Why a fire is left out: nobody could take it in time, or what stands in the way of it."""


class SkipMeter:
    """How many fires were left out, by why; counts from 0 when the process begins."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(WHYS, 0)

    def listen(self, events: EventBus, instance_id: str) -> None:
        """Count what ``instance_id`` leaves out from now on, or from the bus's start; it ends with the bus.

        Every process hears of every fire; each counts its own, so that their sum is right.
        """

        async def count(event: Event) -> None:
            why = event.data.get("why")
            if event.source == instance_id and why in self.counts:
                self.counts[why] += int(event.data.get("count", 1))

        events.subscribe(["schedule.fire_skipped"], count)
