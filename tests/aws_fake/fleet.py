"""What the stand-in has: instances by region, faults to come, and counts of the calls that were made."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field

OPEN_PERIOD_CPU = 98.76
"""What a period that is not closed yet is said to have: whoever shows this has read too early."""


@dataclass
class FakeInstance:
    """One instance. ``hidden_until`` is when EC2 begins to have it; times are seconds since the epoch.

    ``memory`` and ``disks`` (percent in use, by mount point) are there when it has the CloudWatch agent, with
    ``agent_dimensions`` beside the instance id.
    """

    id: str
    state: str = "running"
    launched_at: float = 0.0
    hidden_until: float = 0.0
    is_detailed: bool = False
    kind: str = "m7g.large"
    zone: str = "eu-west-1a"
    tags: dict[str, str] = field(default_factory=dict)
    system: str = "ok"
    instance: str = "ok"
    attached_ebs: str = "ok"
    cpu: float = 12.5
    bytes_in: float = 6_000.0
    """Bytes a minute."""
    has_metrics: bool = True
    memory: float | None = None
    disks: dict[str, float] = field(default_factory=dict)
    agent_dimensions: dict[str, str] = field(default_factory=dict)


@dataclass
class Fault:
    """What goes wrong with the next ``times`` calls of an action (``*`` is any) in a region.

    ``kind`` is an AWS error code, or ``hang`` (no answer before ``until``, if ever), ``cut`` (the connection is
    closed), ``unavailable`` (HTTP 503), ``partial`` (GetMetricData answers PartialData without values), ``internal``
    (it answers InternalError).
    ``key`` limits it to callers whose access key begins so.
    """

    kind: str
    action: str = "*"
    region: str = "*"
    times: int = 1_000_000
    key: str = ""
    message: str = ""
    until: asyncio.Event | None = None


class Fleet:
    """The state of the stand-in."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.regions: dict[str, dict[str, FakeInstance]] = {}
        self.faults: list[Fault] = []
        self.calls: Counter[str] = Counter()
        """``region action`` → how often it was asked, whatever was answered."""
        self.refused: Counter[str] = Counter()
        """Error code → how often it was answered."""
        self.queries = 0
        """Metrics asked for: what CloudWatch sends a bill for."""
        self.listed: dict[tuple[str, str], list[dict[str, str]]] = {}
        self.clock_offset_s = 0.0
        self.fixed_now: float | None = None
        self.lag_s = 100.0
        """How long after its end a period's value is right."""
        self.page = 1_000
        """Results on a page at most, to see that pages are followed."""
        self.names_unknown_ids = True
        self.external_ids: dict[str, str] = {}
        """Role → the external id without which it cannot be assumed."""
        self.role_expires_s = 3_600.0
        self.keys_seen: Counter[str] = Counter()

    @property
    def now(self) -> float:
        """The stand-in's time."""
        return self.fixed_now if self.fixed_now is not None else time.time() + self.clock_offset_s

    def add(self, region: str, *instances: FakeInstance) -> None:
        """Add instances to a region."""
        self.regions.setdefault(region, {}).update({one.id: one for one in instances})

    def grow(self, region: str, count: int, **facts: object) -> list[str]:
        """Add ``count`` running instances that have the agent; return their ids."""
        made = [f"i-{number:017x}" for number in range(1, count + 1)]
        common = {"memory": 40.0, "disks": {"/": 30.0}, **facts}
        self.add(region, *(FakeInstance(id=name, tags={"Name": f"w-{name[-6:]}"}, **common) for name in made))  # type: ignore[arg-type]
        return made

    def visible(self, region: str) -> dict[str, FakeInstance]:
        """Return the instances that EC2 has by now."""
        now = self.now
        return {name: one for name, one in self.regions.get(region, {}).items() if one.hidden_until <= now}

    def count(self, action: str) -> int:
        """Return how often an action was asked, in all regions."""
        return sum(times for call, times in self.calls.items() if call.endswith(f" {action}"))

    def fault(self, region: str, action: str, key: str) -> Fault | None:
        """Return the fault that this call meets, and count it."""
        for fault in self.faults:
            applies = fault.action in ("*", action) and fault.region in ("*", region) and key.startswith(fault.key)
            if applies and fault.times > 0:
                fault.times -= 1
                return fault
        return None
