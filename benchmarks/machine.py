"""What the figures were taken on."""

import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def facts() -> dict[str, Any]:
    """Return the machine's facts; the load is that of the minutes before."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "load_before": [round(load, 2) for load in os.getloadavg()],
    }


def _cpu() -> str:
    """Return the processor's name, where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def stolen_share(before: Any, after: Any) -> float:
    """Return how much of all its cores this machine did not get from its host between two ``psutil.cpu_times()``.

    0.0 where the system does not tell: only Linux does, as a guest.
    """
    spent = [end - begin for begin, end in zip(before, after, strict=True)]
    return (getattr(after, "steal", 0.0) - getattr(before, "steal", 0.0)) / max(sum(spent), 0.01)
