"""Read a container's own limits (cgroup v2). On a machine without one, or with none set, there is nothing to read."""

import re
from dataclasses import dataclass
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")
SOURCE = "cgroup"


@dataclass(frozen=True, slots=True)
class CpuBudget:
    """CPU time used so far, in seconds, and how many CPUs' worth of it may be used."""

    used_s: float
    cpus: float


@dataclass(frozen=True, slots=True)
class MemoryBudget:
    """Memory that cannot be given back at once, and the limit, in bytes."""

    used: int
    limit: int


class Cgroup:
    """The control group that a container sees as the root. The root of a whole machine has none of these files."""

    def __init__(self, root: Path = CGROUP_ROOT) -> None:
        self._root = root

    def cpu(self) -> CpuBudget | None:
        """Return the CPU budget; None where no quota is set. Raises ``OSError`` or ``ValueError`` for what is
        broken."""
        quota = self._read("cpu.max").split()
        if not quota or quota[0] == "max":
            return None
        period_us = int(quota[1]) if len(quota) > 1 else 100_000
        return CpuBudget(self._stat("cpu.stat", "usage_usec") / 1e6, int(quota[0]) / period_us)

    def memory(self) -> MemoryBudget | None:
        """Return the memory budget; None where no limit is set. File cache that is idle counts as free."""
        limit = self._read("memory.max").strip()
        if limit in ("", "max"):
            return None
        used = int(self._read("memory.current")) - self._stat("memory.stat", "inactive_file")
        return MemoryBudget(max(used, 0), int(limit))

    def _read(self, name: str) -> str:
        """Return a file's text, or nothing where there is no such file."""
        try:
            return (self._root / name).read_text(encoding="ascii")
        except FileNotFoundError:
            return ""

    def _stat(self, name: str, field: str) -> int:
        found = re.search(rf"^{field} (\d+)$", self._read(name), re.MULTILINE)
        if found is None:
            raise ValueError(f"{name} has no {field}")
        return int(found[1])
