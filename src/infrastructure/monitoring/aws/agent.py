"""What the CloudWatch agent reports of each instance: found by ListMetrics, as only it knows the exact dimensions.

GetMetricData answers only for the very set of dimensions that the agent sends, which its configuration decides: an
instance id alone, or with image, type and group, or several sets at once. The agents of a whole region are listed in
some pages every ten minutes, whatever the number of workers; an instance that is not in the list has no agent until the
next one.
"""

import asyncio
import contextvars
import json
import logging
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict

from application.tasks import end_task
from domain.errors import StoreUnavailable
from infrastructure.monitoring.aws.board import RegionBoard
from infrastructure.monitoring.aws.calls import RegionCalls, all_of
from infrastructure.monitoring.aws.trouble import AwsTrouble

log = logging.getLogger(__name__)

NAMESPACE = "CWAgent"
MEMORY = "mem_used_percent"
DISK = "disk_used_percent"
LISTED_S = 600.0
RETRY_S = 60.0
"""When a list could not be had, the next try is after this; and nobody else begins one while one is being made."""
WAIT_S = 4.0
LISTING = "they are being listed"
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
        self._listing: asyncio.Task[None] | None = None
        self._board = board
        self._calls = calls
        self._filesystems = filesystems

    async def of(self, ids: Collection[str], now: datetime) -> tuple[dict[str, AgentSeries], str | None]:
        """Return the series of those that have an agent, and why the list could not be had, if so.

        Lists them anew when that was long ago. That takes as long as it takes, and the look waits for some seconds
        only: until there is a new list, or where none can be had, the old one stays.
        """
        known = await self._board.agents(sorted(ids))
        if known.again_at is None or now >= known.again_at:
            if self._listing is None or self._listing.done():
                await self._board.note_agents(now + timedelta(seconds=RETRY_S), LISTING)  # for the other processes
                self._listing = asyncio.get_running_loop().create_task(self._list(now), context=contextvars.Context())
            await asyncio.wait([self._listing], timeout=WAIT_S)
            known = await self._board.agents(sorted(ids))
        found = {name: AgentSeries.model_validate_json(text) for name, text in known.series.items()}
        return found, known.why

    async def stop(self) -> None:
        """End a list that is being made."""
        await end_task(self._listing)

    async def _list(self, now: datetime) -> None:
        try:
            metrics = (MEMORY, DISK) if self._filesystems else (MEMORY,)
            found = await all_of(self._series(metric) for metric in metrics)
            names = {name for series in found for name in series}
            chosen = {name: self._chosen([series.get(name, []) for series in found]) for name in sorted(names)}
            await self._board.replace_agents(chosen, now + timedelta(seconds=LISTED_S))
        except AwsTrouble as trouble:
            log.warning("the agents of %s could not be listed: %s", self._calls.region, trouble.why)
            await self._board.note_agents(now + timedelta(seconds=RETRY_S), trouble.why)
        except StoreUnavailable as error:
            log.warning("the agents of %s could not be noted: %s", self._calls.region, error)

    async def _series(self, metric: str) -> dict[str, list[Dimensions]]:
        found: dict[str, list[Dimensions]] = {}
        async for page in self._calls.metrics(NAMESPACE, metric):
            for dimensions in page:
                if name := dimensions.get("InstanceId"):
                    found.setdefault(name, []).append(dimensions)
        return found

    def _chosen(self, series: Sequence[list[Dimensions]]) -> str:
        """Return, as JSON, what to read of memory and disks: of several sets for one thing, that with the fewest."""
        memory = min(series[0], key=_size, default=None)
        mounts: dict[str, Dimensions] = {}
        for dimensions in sorted((one for disks in series[1:] for one in disks), key=_size):
            mount = dimensions.get("path")
            if mount and dimensions.get("fstype") not in UNREAL:
                mounts.setdefault(mount, dimensions)
        # "/" and other short paths first: what is mounted deep inside is seldom what fills up unseen.
        kept = sorted(mounts, key=lambda mount: (mount.count("/") + len(mount.strip("/")) * 0.001, mount))
        chosen = {mount: mounts[mount] for mount in kept[: self._filesystems]}
        return json.dumps({"memory": memory, "filesystems": chosen}, separators=(",", ":"))


def _size(dimensions: Dimensions) -> tuple[int, str]:
    return len(dimensions), json.dumps(dimensions, sort_keys=True)
