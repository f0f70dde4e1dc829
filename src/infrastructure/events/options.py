"""What can be set on the event bus, and what it counts."""

from dataclasses import dataclass, field

LONGEST_BLOCK_S = 5.0
"""A blocking read comes back after this long, to see whether its stream is still the same one."""
BATCH = 256
"""Entries asked for in one read: enough to make the round trip cheap, few enough to keep the event loop fair."""


@dataclass(frozen=True)
class EventBusOptions:
    """The settings of one bus. Times are seconds."""

    events_kept: int = 100_000
    """Events kept a family, approximately: streams are trimmed by whole nodes."""
    parked_kept: int = 10_000
    visibility_s: float = 30.0
    """How long a member may be silent about an event before another takes it over."""
    max_tries: int = 5
    """Deliveries of one event to a group before it is parked."""
    retry_delay_s: float = 1.0
    """Wait before the second try; it doubles with each, up to half the visibility time."""
    handler_timeout_s: float = 60.0
    """A handler that takes longer has failed: a hung one must not silence its group."""
    stop_grace_s: float = 10.0
    """How long a handler in mid-call may go on when its subscription is closed."""
    buffer: int = 1000
    """Events held in memory for one slow reader; beyond that it reads from the stream by itself."""
    idle_member_s: float = 3600.0
    """A member that holds nothing and was silent for this long is deleted from its group."""

    def retry_delay(self, tries: int) -> float:
        """Return the wait after the given number of failed tries."""
        return float(min(self.retry_delay_s * 2.0 ** min(tries - 1, 30), self.visibility_s / 2))


@dataclass
class EventCounters:
    """What the bus of this process did since it was made. Each only grows."""

    published: int = 0
    handled: int = 0
    """Handler calls that returned."""
    failed: int = 0
    """Handler calls that raised or took too long."""
    reclaimed: int = 0
    """Events taken over from a member that was silent."""
    parked: int = 0
    malformed: int = 0
    """Entries met that are not events."""
    gaps: int = 0
    """Times a reader found that events were trimmed unread."""
    lost: int = 0
    """Events that were in those gaps, as far as that can be told."""
    store_failures: int = 0
    """Times a reader lost the store."""


@dataclass
class Condition:
    """How the bus is doing, for health and metrics."""

    counters: EventCounters = field(default_factory=EventCounters)
    troubles: dict[str, str] = field(default_factory=dict)
    """Reader -> what keeps it from working right now. Empty when all is well."""
