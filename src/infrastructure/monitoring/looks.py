"""Looks at workers in Redis: by provider's region, who was reached and who was not."""

from collections.abc import Mapping
from datetime import datetime

from application.monitoring.looks import Looks
from application.scheduling.moments import milliseconds
from domain.monitoring.observation import Reach
from infrastructure.monitoring.scripts import MonitoringScripts

COUNTS_MS = 3_600_000
"""A worker that was reached counts as one that can be for this long: who is no longer looked at says nothing."""


class RedisLooks(Looks):
    """Two sorted sets a region; storing a sample moves a worker from the one to the other."""

    def __init__(self, scripts: MonitoringScripts) -> None:
        self._scripts = scripts

    async def failed(self, worker_id: str, group: str, at: datetime) -> bool:
        """Note a failure."""
        return bool(await self._scripts.run("look_failed", [worker_id, group, milliseconds(at)]))

    async def forget(self, worker_id: str, group: str) -> None:
        """Count a worker no more."""
        await self._scripts.run("forget_looks", [worker_id, group])

    async def reach(self, now: datetime) -> Mapping[str, Reach]:
        """Count who is reached."""
        found = await self._scripts.run("reach", [COUNTS_MS])
        regions = zip(found[::3], found[1::3], found[2::3], strict=True)
        return {region: Reach(now, int(failing), int(reached)) for region, failing, reached in regions}

    async def settle(self, group: str) -> None:
        """Look at a region no more."""
        await self._scripts.run("forget_looks", ["", group])
