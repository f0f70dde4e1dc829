"""Counters that only grow, and the rates between two looks at them."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU time in seconds: busy, and all that could have been."""

    busy: float
    total: float


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes so far: read or received, and written or sent."""

    incoming: int
    outgoing: int


@dataclass(frozen=True, slots=True)
class Counters:
    """One look. ``at`` is a clock that only grows, in seconds. What could not be read has its reason in ``missing``."""

    at: float
    cpu: Cpu | None = None
    cpu_source: str = ""
    disks: Mapping[str, Traffic] | None = None
    networks: Mapping[str, Traffic] | None = None
    missing: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Rates:
    """What two looks tell: values by metric name, and reasons for those that they do not tell."""

    values: dict[str, float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def rates_between(before: Counters, after: Counters) -> Rates:
    """Return CPU utilisation (0..1) and bytes per second between two looks.

    A counter that went back (a reset, an overflow, a device taken away) gives no value. A device that appeared between
    counts from the next look on: its counter has history that is not of this time.
    """
    rates = Rates()
    _cpu(rates, before, after)
    _traffic(rates, "disk", ("read", "write"), before.disks, after.disks, before, after)
    _traffic(rates, "network", ("rx", "tx"), before.networks, after.networks, before, after)
    return rates


def _cpu(rates: Rates, before: Counters, after: Counters) -> None:
    name = "cpu_utilization"
    if before.cpu is None or after.cpu is None:
        rates.missing[name] = _unread("cpu", before, after)
        return
    busy, total = after.cpu.busy - before.cpu.busy, after.cpu.total - before.cpu.total
    if before.cpu_source != after.cpu_source:
        rates.missing[name] = "the limits of this container changed since the last look"
    elif busy < 0 or total < 0:
        rates.missing[name] = "the CPU time counters went back since the last look"
    elif total == 0:
        rates.missing[name] = "no CPU time was counted since the last look"
    else:
        # Ticks are coarse, and a container may use more than its quota for a moment: 1 is the most there is.
        rates.values[name] = min(busy / total, 1.0)


def _traffic(
    rates: Rates,
    kind: str,
    ways: tuple[str, str],
    old: Mapping[str, Traffic] | None,
    new: Mapping[str, Traffic] | None,
    before: Counters,
    after: Counters,
) -> None:
    names = [f"{kind}_{way}_bytes_per_s" for way in ways]
    why = _unread(kind, before, after) if old is None or new is None else None
    elapsed = after.at - before.at
    if why is None and elapsed <= 0:
        why = "no time passed since the last look"
    if why is not None or old is None or new is None:
        rates.missing |= dict.fromkeys(names, why or "")
        return
    shared = old.keys() & new.keys()
    if not shared:
        rates.missing |= dict.fromkeys(names, f"there is no {kind} device that was there at the last look too")
        return
    for name, way in zip(names, ("incoming", "outgoing"), strict=True):
        deltas = [getattr(new[device], way) - getattr(old[device], way) for device in shared]
        if min(deltas) < 0:
            rates.missing[name] = f"a {kind} counter went back since the last look"
        else:
            rates.values[name] = sum(deltas) / elapsed


def _unread(kind: str, before: Counters, after: Counters) -> str:
    return after.missing.get(kind) or before.missing.get(kind) or "it was not read"
