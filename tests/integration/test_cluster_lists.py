"""Lists of schedules while others add and remove: who stays is shown once, and a page costs what a page holds."""

import asyncio
from typing import Any

import pytest

from application.scheduling import RecurrentTaskDescriptor
from application.scheduling.answers import SchedulePage
from cluster import Cluster, Instance
from domain.scheduling.errors import ScheduleNotFound

MANY = 1_000
PER_SCHEDULE = 1_024
"""Bytes of the store that a schedule may cost."""


async def add(instance: Instance, *ids: str, name: str = "Note") -> None:
    await asyncio.gather(
        *(instance.bus.schedule_task(RecurrentTaskDescriptor(id=one, name=name, interval=3600)) for one in ids)
    )


async def pages(instance: Instance, limit: int, **wanted: Any) -> list[SchedulePage]:
    found, cursor = [], ""
    while True:
        page = await instance.scheduler.list_tasks(limit=limit, cursor=cursor, **wanted)
        found.append(page)
        if page.next_cursor is None:
            return found
        cursor = page.next_cursor


def ids_of(found: list[SchedulePage]) -> list[str]:
    return [info.id for page in found for info in page.items]


async def calls(cluster: Cluster, command: str) -> int:
    """Return how often the server was asked for something so far."""
    stats: dict[str, Any] = await cluster.redis.command.info("commandstats")
    return int(stats.get(f"cmdstat_{command}", {"calls": 0})["calls"])


async def test_who_stays_is_shown_once_whatever_others_add_and_remove(cluster: Cluster) -> None:
    one, other = await cluster.start(executes=False), await cluster.start(executes=False)
    stays = [f"k{n:03}" for n in range(0, 200, 2)]
    await add(one, *stays)
    shown: list[str] = []
    cursor, step = "", 0
    while True:
        page = await one.scheduler.list_tasks(limit=7, cursor=cursor)
        shown += [info.id for info in page.items]
        # Before, at and behind the place where the list is.
        await add(other, f"k{(13 * step) % 200 // 2 * 2 + 1:03}x{step}", f"a{step}", f"{cursor or 'k'}0")
        for gone in (f"a{step - 1}", f"{cursor or 'k'}0"):
            try:
                await other.scheduler.stop_task(gone)
            except ScheduleNotFound:
                assert gone == "a-1"
        step += 1
        if page.next_cursor is None:
            break
        cursor = page.next_cursor
    assert [one for one in shown if one in set(stays)] == stays
    assert len(set(shown)) == len(shown)
    assert shown == sorted(shown)


async def test_a_page_reads_what_it_holds_and_not_all(cluster: Cluster) -> None:
    api = await cluster.start(executes=False)
    for start in range(0, MANY, 100):
        await add(api, *(f"s{n:04}" for n in range(start, start + 100)))
    scans = [await calls(cluster, command) for command in ("hkeys", "hgetall", "hscan", "hvals")]
    read = await calls(cluster, "hmget")
    page = await api.scheduler.list_tasks(limit=50, cursor="s0500")
    assert [info.id for info in page.items] == [f"s{n:04}" for n in range(501, 551)]
    assert [await calls(cluster, command) for command in ("hkeys", "hgetall", "hscan", "hvals")] == scans
    assert await calls(cluster, "hmget") - read <= 6
    assert ids_of(await pages(api, 50)) == [f"s{n:04}" for n in range(MANY)]
    assert await _memory(cluster) / MANY < PER_SCHEDULE


async def _memory(cluster: Cluster) -> int:
    redis, total = cluster.redis.command, 0
    async for key in redis.scan_iter(match=f"{cluster.redis.prefix}:*", count=1000):
        if not key.startswith(cluster.redis.key("ev")):
            total += await redis.memory_usage(key, samples=0) or 0
    return total


@pytest.mark.parametrize("limit", [1, 2, 3, 50])
async def test_filters_and_limits_leave_nobody_out(cluster: Cluster, limit: int) -> None:
    api = await cluster.start(executes=False)
    await add(api, *(f"s{n}" for n in range(6)))
    for n in (1, 4, 5):
        await api.scheduler.pause(f"s{n}")
    assert ids_of(await pages(api, limit)) == [f"s{n}" for n in range(6)]
    assert ids_of(await pages(api, limit, status="paused")) == ["s1", "s4", "s5"]
    assert ids_of(await pages(api, limit, status="parked")) == []
    assert ids_of(await pages(api, limit, name="Note", status="active")) == ["s0", "s2", "s3"]
    assert ids_of(await pages(api, limit, name="Nothing")) == []
    assert all(len(page.items) == limit for page in (await pages(api, limit))[:-1])


async def test_a_cursor_stays_good_when_its_schedule_is_gone(cluster: Cluster) -> None:
    api = await cluster.start(executes=False)
    await add(api, "a", "b", "c")
    page = await api.scheduler.list_tasks(limit=2)
    assert page.next_cursor == "b"
    await api.scheduler.stop_task("b")
    assert ids_of([await api.scheduler.list_tasks(cursor="b")]) == ["c"]


async def test_an_index_that_another_program_left_behind_is_made_anew(cluster: Cluster) -> None:
    """As a version without it would: what it added is not in the index, and what it removed is."""
    api = await cluster.start(executes=False)
    await add(api, "a", "b", "c")
    await cluster.redis.command.zrem(cluster.redis.key("ids"), "a", "c")
    assert ids_of(await pages(api, 50)) == ["a", "b", "c"]
    await cluster.redis.command.zadd(cluster.redis.key("ids"), {"d": 0})
    assert ids_of(await pages(api, 50)) == ["a", "b", "c"]
    assert await cluster.redis.command.zrange(cluster.redis.key("ids"), 0, -1) == ["a", "b", "c"]
    await api.scheduler.stop_task("b")
    assert await cluster.redis.command.zrange(cluster.redis.key("ids"), 0, -1) == ["a", "c"]
