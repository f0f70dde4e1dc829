"""Fires that were late when a change took them away are announced and counted, as nobody will run them."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from application.scheduling import BackgroundTaskScheduler, RecurrentTaskDescriptor
from cluster import Cluster
from domain.scheduling.schedule import ScheduleInfo
from support import wait_until

Deed = Callable[[BackgroundTaskScheduler], Awaitable[Any]]

DEEDS: dict[str, Deed] = {
    "paused": lambda scheduler: scheduler.pause("s", "enough"),
    "changed": lambda scheduler: scheduler.modify("s", {"interval": 3600}),
    "stopped": lambda scheduler: scheduler.stop_task("s"),
}


async def late_schedule(cluster: Cluster) -> BackgroundTaskScheduler:
    """A schedule of which at least three fires are late, as nobody executes anything."""
    api = await cluster.start(executes=False)
    await api.bus.schedule_task(RecurrentTaskDescriptor(id="s", name="Note", interval=0.05))
    created = (await api.scheduler.get_task_info("s")).created_at  # type: ignore[union-attr]

    async def three_are_late() -> bool:
        return await api.schedules.now() > created.timestamp() * 1000 + 200

    await wait_until(three_are_late)
    return api.scheduler


@pytest.mark.parametrize("why", DEEDS)
async def test_what_a_change_takes_away_is_told(cluster: Cluster, why: str) -> None:
    scheduler = await late_schedule(cluster)
    first = (await scheduler.get_task_info("s")).next_fire  # type: ignore[union-attr]
    await DEEDS[why](scheduler)
    (event,) = await cluster.events("schedule", "schedule.fire_skipped")
    assert (event["id"], event["why"]) == ("s", why)
    assert event["count"] >= 3
    assert event["since"] == first.isoformat().replace("+00:00", "Z")
    if why != "stopped":
        info = await scheduler.get_task_info("s")
        assert isinstance(info, ScheduleInfo)
        assert info.counts.missed == event["count"]


async def test_a_change_that_keeps_the_rhythm_takes_nothing_away(cluster: Cluster) -> None:
    scheduler = await late_schedule(cluster)
    await scheduler.modify("s", {"data": {"label": "other"}})
    assert await cluster.events("schedule", "schedule.fire_skipped") == []
    await cluster.start()
    await wait_until(lambda: cluster.ledger.of("s"))
    assert cluster.ledger.of("s")[0].missed >= 3


async def test_what_rests_has_nothing_to_take_away(cluster: Cluster) -> None:
    scheduler = await late_schedule(cluster)
    await scheduler.pause("s")
    told = len(await cluster.events("schedule", "schedule.fire_skipped"))
    paused = await scheduler.get_task_info("s")
    assert isinstance(paused, ScheduleInfo)
    assert paused.paused is not None
    await wait_until(lambda: _is_later(cluster, paused.paused.at + timedelta(seconds=0.2)))  # type: ignore[union-attr]
    await scheduler.stop_task("s")
    assert len(await cluster.events("schedule", "schedule.fire_skipped")) == told


async def _is_later(cluster: Cluster, moment: Any) -> bool:
    seconds, microseconds = await cluster.redis.command.time()
    return bool(seconds + microseconds / 1e6 > moment.timestamp())
