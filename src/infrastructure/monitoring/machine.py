"""Read this machine through psutil. Everything here may block for a moment: call it from a thread."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil

from infrastructure.monitoring.cgroup import Cgroup
from infrastructure.monitoring.counters import Counters, Cpu, Traffic

T = TypeVar("T")

UNREADABLE = (psutil.Error, OSError, NotImplementedError, ValueError, AttributeError, LookupError)
"""What psutil and /proc raise where a machine does not offer something (AttributeError: the platform lacks it,
LookupError: a file of /proc is not as it should be)."""
OF_THE_HOST = ("load_1m", "uptime_s")
"""What a container with limits of its own is told about the whole host."""


@dataclass
class Gauges:
    """What one look tells, by metric name: values, reasons for those there are not, and where unusual ones are from."""

    values: dict[str, float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)


class Machine:
    """This machine, as the container that this process runs in sees it."""

    def __init__(self, cgroup: Cgroup | None = None) -> None:
        self._cgroup = cgroup or Cgroup()

    def counters(self) -> Counters:
        """Look at everything that only grows."""
        missing: dict[str, str] = {}
        cpu, source = _try("cpu", self._cpu, missing) or (None, "")
        return Counters(
            at=time.monotonic(),
            cpu=cpu,
            cpu_source=source,
            disks=_try("disk", _disks, missing),
            networks=_try("network", _networks, missing),
            missing=missing,
        )

    def gauges(self) -> Gauges:
        """Look at what can be read at once."""
        found = Gauges()
        if memory := _try("memory_utilization", self._memory, found.missing):
            used, limit, source = memory
            found.values |= {"memory_utilization": min(used / limit, 1.0), "memory_limit_bytes": limit}
            if source:
                found.sources |= dict.fromkeys(("memory_utilization", "memory_limit_bytes"), source)
                found.sources |= dict.fromkeys(OF_THE_HOST, "host")
        else:
            found.missing["memory_limit_bytes"] = found.missing["memory_utilization"]
        for name, read in (("load_1m", _load), ("uptime_s", _uptime), ("process_count", _process_count)):
            if (value := _try(name, read, found.missing)) is not None:
                found.values[name] = value
        found.sources = {name: source for name, source in found.sources.items() if name in found.values}
        return found

    def _cpu(self) -> tuple[Cpu, str]:
        budget = self._cgroup.cpu(psutil.cpu_count())
        if budget is not None:
            return Cpu(budget.used_s, time.monotonic() * budget.cpus), f"{budget.source} {budget.cpus:g}"
        times = psutil.cpu_times()
        # Time of guests is in user and nice already; waiting for a disk is not being busy.
        total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        return Cpu(total - times.idle - getattr(times, "iowait", 0.0), total), ""

    def _memory(self) -> tuple[int, int, str]:
        budget = self._cgroup.memory()
        host = psutil.virtual_memory()
        if budget is not None and 0 < budget.limit < host.total:
            return budget.used, budget.limit, budget.source
        if host.total <= 0:
            raise ValueError("it says that it has no memory")
        return max(host.total - host.available, 0), host.total, ""


def _try(name: str, read: Callable[[], T], missing: dict[str, str]) -> T | None:
    """Return what ``read`` gives; note why it gives nothing."""
    try:
        return read()
    except UNREADABLE as error:
        missing[name] = f"this machine does not tell: {str(error) or type(error).__name__}"
        return None


def _disks() -> dict[str, Traffic]:
    found = psutil.disk_io_counters(perdisk=True, nowrap=False) or {}
    return _physical(
        {name: Traffic(io.read_bytes, io.write_bytes) for name, io in found.items()},
        Path("/sys/block"),
        ("loop", "ram", "zram", "dm-", "md"),
    )


def _networks() -> dict[str, Traffic]:
    found = psutil.net_io_counters(pernic=True, nowrap=False)
    return _physical(
        {name: Traffic(io.bytes_recv, io.bytes_sent) for name, io in found.items()}, Path("/sys/class/net"), ("lo",)
    )


def _physical(devices: dict[str, Traffic], sysfs: Path, virtual: tuple[str, ...]) -> dict[str, Traffic]:
    """Keep the devices with hardware below, lest a byte counts twice (partition and disk, bridge and card).

    Where none has (a container's interface, another system than Linux), keep all that are not known to be virtual.
    """
    physical = {name: traffic for name, traffic in devices.items() if (sysfs / name / "device").exists()}
    return physical or {name: traffic for name, traffic in devices.items() if not name.startswith(virtual)}


def _load() -> float:
    return float(psutil.getloadavg()[0])


def _uptime() -> float:
    clock: Any = getattr(time, "CLOCK_BOOTTIME", None)
    if clock is not None:
        return time.clock_gettime(clock)
    return max(time.time() - psutil.boot_time(), 0.0)


def _process_count() -> int:
    return len(psutil.pids())
