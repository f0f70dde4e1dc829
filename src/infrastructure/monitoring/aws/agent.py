"""What the CloudWatch agent reports of each instance: found by ListMetrics, as only it knows the exact dimensions.

GetMetricData answers only for the very set of dimensions that the agent sends, which its configuration decides: an
instance id alone, or with image, type and group, or several sets at once. The agents of a whole region are listed in
some pages every ten minutes, whatever the number of workers; an instance that is not in the list has no agent until the
next one.
"""

import json
import logging
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict

from infrastructure.monitoring.aws.board import RegionBoard
from infrastructure.monitoring.aws.calls import RegionCalls
from infrastructure.monitoring.aws.trouble import AwsTrouble

log = logging.getLogger(__name__)

NAMESPACE = "CWAgent"
MEMORY = "mem_used_percent"
DISK = "disk_used_percent"
LISTED_S = 600.0
RETRY_S = 60.0
"""When a list could not be had, the next try is after this."""
UNREAL = frozenset(
    {"autofs", "cgroup", "cgroup2", "devtmpfs", "efivarfs", "iso9660", "overlay", "proc", "squashfs", "sysfs", "tmpfs"}
)
"""Types of file systems that hold nothing of their own."""

Dimensions = dict[str, str]


class AgentSeries(BaseModel):
    """The series of one instance: dimensions of its memory, and of each file system by mount point."""

    model_config = ConfigDict(frozen=True)

    memory: Dimensions | None = None
    filesystems: dict[str, Dimensions] = {}


class Agents:
    """The agents of one region, known to all processes."""

    def __init__(self, board: RegionBoard, calls: RegionCalls, filesystems: int) -> None:
        """``filesystems`` is how many are read for each worker: each is a metric that is paid for."""
        self._board = board
        self._calls = calls
        self._filesystems = filesystems

    async def of(self, ids: Collection[str], now: datetime) -> tuple[dict[str, AgentSeries], str | None]:
        """Return the series of those that have an agent, and why the list could not be had, if so.

        Lists them anew when that was long ago. With a list that is old because a newer one failed, the old one stays.
        """
        known = await self._board.agents(sorted(ids))
        why = known.why
        if known.again_at is None or now >= known.again_at:
            why = await self._list(now)
            known = await self._board.agents(sorted(ids))
        found = {name: AgentSeries.model_validate_json(text) for name, text in known.series.items()}
        return found, why

    async def _list(self, now: datetime) -> str | None:
        try:
            found = await self._all_series()
        except AwsTrouble as trouble:
            log.warning("the agents of %s could not be listed: %s", self._calls.region, trouble.why)
            await self._board.note_agents(now + timedelta(seconds=RETRY_S), trouble.why)
            return trouble.why
        await self._board.replace_agents(found, now + timedelta(seconds=LISTED_S))
        return None

    async def _all_series(self) -> dict[str, str]:
        found: dict[str, dict[str, list[Dimensions]]] = {}
        for metric in (MEMORY, *((DISK,) if self._filesystems else ())):
            async for page in self._calls.metrics(NAMESPACE, metric):
                for dimensions in page:
                    name = dimensions.get("InstanceId")
                    if name:
                        found.setdefault(name, {}).setdefault(metric, []).append(dimensions)
        return {name: self._chosen(series) for name, series in found.items()}

    def _chosen(self, series: Mapping[str, list[Dimensions]]) -> str:
        """Return, as JSON, the series to read: of several sets for one thing, the one with the fewest dimensions."""
        memory = min(series.get(MEMORY, []), key=_size, default=None)
        mounts: dict[str, Dimensions] = {}
        for dimensions in sorted(series.get(DISK, []), key=_size):
            mount = dimensions.get("path")
            if mount and dimensions.get("fstype") not in UNREAL:
                mounts.setdefault(mount, dimensions)
        # "/" and other short paths first: what is mounted deep inside is seldom what fills up unseen.
        kept = sorted(mounts, key=lambda mount: (mount.count("/") + len(mount.strip("/")) * 0.001, mount))
        chosen = {mount: mounts[mount] for mount in kept[: self._filesystems]}
        return json.dumps({"memory": memory, "filesystems": chosen}, separators=(",", ":"))


def _size(dimensions: Dimensions) -> tuple[int, str]:
    return len(dimensions), json.dumps(dimensions, sort_keys=True)
