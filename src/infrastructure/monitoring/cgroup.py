"""Read a container's own limits (cgroup v2, or v1). A machine of its own, or without limits, has nothing to read."""

import re
from dataclasses import dataclass
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")
SOURCE = "cgroup"
SOURCE_V1 = "cgroup_v1"
UNLIMITED_V1 = 2**62
"""Version 1 has no word for "no limit": it says the largest number of whole pages."""


@dataclass(frozen=True, slots=True)
class CpuBudget:
    """CPU time used so far, in seconds, and how many CPUs' worth of it may be used."""

    used_s: float
    cpus: float
    source: str = SOURCE


@dataclass(frozen=True, slots=True)
class MemoryBudget:
    """Memory that cannot be given back at once, and the limit, in bytes."""

    used: int
    limit: int
    source: str = SOURCE


class Cgroup:
    """The control group that a container sees as the root. The root of a whole machine has none of these files.

    A host may have both versions mounted; the limits are where the controllers are, so each is looked for in both.
    """

    def __init__(self, root: Path = CGROUP_ROOT) -> None:
        self._root = root

    def cpu(self, machine_cpus: int | None = None) -> CpuBudget | None:
        """Return the CPU budget; None where all ``machine_cpus`` may be used: no quota is set, and no set of CPUs.

        Raises ``OSError`` or ``ValueError`` for what is broken.
        """
        cpus, source = self._quota()
        if chosen := self._cpus_of_set("cpuset.cpus.effective") or self._cpus_of_set("cpuset/cpuset.effective_cpus"):
            cpus = min(cpus, chosen)
        if cpus >= (float("inf") if machine_cpus is None else machine_cpus):
            return None
        used_s = self._used_v1() if source == SOURCE_V1 else self._stat("cpu.stat", "usage_usec") / 1e6
        return CpuBudget(used_s, cpus, source)

    def memory(self) -> MemoryBudget | None:
        """Return the memory budget; None where no limit is set. File cache that is idle counts as free."""
        limit = self._read("memory.max").strip()
        if limit == "max":
            return None
        if limit:
            used = int(self._read("memory.current")) - self._stat("memory.stat", "inactive_file")
            return MemoryBudget(max(used, 0), int(limit))
        old_limit = self._read("memory/memory.limit_in_bytes").strip()
        if not old_limit or int(old_limit) >= UNLIMITED_V1:
            return None
        cache = self._stat("memory/memory.stat", "total_inactive_file")
        used = int(self._read("memory/memory.usage_in_bytes")) - cache
        return MemoryBudget(max(used, 0), int(old_limit), SOURCE_V1)

    def _quota(self) -> tuple[float, str]:
        """Return how many CPUs' worth of time may be used, infinitely many without a quota, and who says so."""
        is_old = not (self._root / "cpu.stat").exists() and (self._root / "cpuacct").is_dir()
        source = SOURCE_V1 if is_old else SOURCE
        quota = self._read("cpu.max").split()
        if not quota:
            quota = [self._read("cpu/cpu.cfs_quota_us").strip(), self._read("cpu/cpu.cfs_period_us").strip()]
        if quota[0] in ("", "max", "-1"):
            return float("inf"), source
        period_us = int(quota[1]) if len(quota) > 1 and quota[1] else 100_000
        return int(quota[0]) / period_us, source

    def _used_v1(self) -> float:
        return int(self._read("cpuacct/cpuacct.usage")) / 1e9

    def _cpus_of_set(self, name: str) -> int | None:
        """Return how many CPUs a list such as ``0-3,7`` names; None without one."""
        text = self._read(name).strip()
        if not text:
            return None
        ends = [(part.split("-")[0], part.split("-")[-1]) for part in text.split(",")]
        return sum(int(last) - int(first) + 1 for first, last in ends)

    def _read(self, name: str) -> str:
        """Return a file's text, or nothing where there is no such file."""
        try:
            return (self._root / name).read_text(encoding="ascii")
        except (FileNotFoundError, NotADirectoryError):
            return ""

    def _stat(self, name: str, field: str) -> int:
        found = re.search(rf"^{field} (\d+)$", self._read(name), re.MULTILINE)
        if found is None:
            raise ValueError(f"{name} has no {field}")
        return int(found[1])
