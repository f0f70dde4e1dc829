"""What a yes means when durability is "disk": it is on disk, or it is no yes."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from application.scheduling import RecurrentTaskDescriptor, ScheduledTaskDescriptor
from cluster import Cluster, Instance
from domain.errors import NotConfirmedOnDisk, StoreUnavailable, StrangeKey
from domain.monitoring.worker import Worker, WorkerPatch, WorkerRequest
from domain.scheduling.schedule import ScheduleStatus
from external_server import ExternalServer
from infrastructure.monitoring.scripts import MonitoringScripts
from infrastructure.monitoring.workers import RedisWorkers
from infrastructure.redis import disk, errors
from infrastructure.redis.connection import RedisStore
from infrastructure.redis.embedded import EmbeddedValkey
from support import wait_until

Servers = Callable[..., ExternalServer]


def hourly(task_id: str, **data: object) -> RecurrentTaskDescriptor:
    return RecurrentTaskDescriptor(id=task_id, name="Note", data=data, interval=3600)


def later(task_id: str) -> ScheduledTaskDescriptor:
    return ScheduledTaskDescriptor(id=task_id, name="Once", scheduled_at=datetime.now(UTC) + timedelta(hours=1))


async def ask_until_cut_off(instance: Instance, name: str, said_yes: set[str]) -> None:
    """Schedule one thing after the other, noting each id that was acknowledged, until the store is away."""
    number = 0
    while True:
        number += 1
        task_id = f"{name}-{number}"
        try:
            await instance.bus.schedule_task(hourly(task_id) if number % 2 else later(task_id))
        except StoreUnavailable:
            return
        said_yes.add(task_id)


async def kept(instance: Instance) -> set[str]:
    schedules = await instance.scheduler.list_tasks(limit=10_000)
    one_shots = await instance.scheduler.list_one_shots(10_000)
    return {info.id for info in (*schedules.items, *one_shots)}


async def test_what_was_acknowledged_is_there_after_a_kill_of_the_server(external: Servers, namespace: str) -> None:
    server, said_yes = external(), set[str]()
    async with Cluster(server.url, namespace) as cluster:
        one = await cluster.start(executes=False, confirm_on_disk=True)
        asking = [asyncio.create_task(ask_until_cut_off(one, f"a{n}", said_yes)) for n in range(8)]
        await wait_until(lambda: len(said_yes) >= 50)
        await asyncio.to_thread(server.kill)
        await asyncio.gather(*asking)
        await asyncio.to_thread(server.start)
        assert said_yes <= await kept(one)


async def test_the_embedded_server_syncs_before_it_answers(tmp_path: Path, namespace: str) -> None:
    server, said_yes = EmbeddedValkey(tmp_path, durability="always"), set[str]()
    await server.start()
    try:
        async with Cluster(server.url, namespace) as cluster:
            one = await cluster.start(executes=False)
            asking = [asyncio.create_task(ask_until_cut_off(one, f"a{n}", said_yes)) for n in range(8)]
            await wait_until(lambda: len(said_yes) >= 50)
            before = server.pid
            os.kill(before, signal.SIGKILL)
            await asyncio.gather(*asking)
            await wait_until(lambda: server.pid != before and server.state == "running")
            assert said_yes <= await kept(one)
    finally:
        await server.stop()


@pytest.fixture
async def unsynced(
    external: Servers, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[ExternalServer, Instance]]:
    """An instance that waits for a disk which, since it is open, is never synced."""
    server = external()
    async with Cluster(server.url, namespace) as cluster:
        one = await cluster.start(executes=False, confirm_on_disk=True)
        server.tell("CONFIG", "SET", "appendfsync", "no")
        monkeypatch.setattr(disk, "PATIENCE_S", 0.1)
        yield server, one


async def test_no_yes_is_said_before_the_disk_has_it(unsynced: tuple[ExternalServer, Instance]) -> None:
    one = unsynced[1]
    with pytest.raises(NotConfirmedOnDisk, match=r"took effect in the store's memory.*\n?.*Ask again"):
        await one.bus.schedule_task(hourly("s"))
    for again in (hourly("s"), later("o")):
        with pytest.raises(NotConfirmedOnDisk):
            await one.bus.schedule_task(again)
    with pytest.raises(NotConfirmedOnDisk):
        await one.bus.schedule_task(later("o"))
    assert await kept(one) == {"s", "o"}
    for control in (one.scheduler.pause, one.scheduler.pause, one.scheduler.resume, one.scheduler.run_now):
        with pytest.raises(NotConfirmedOnDisk):
            await control("s")
    with pytest.raises(NotConfirmedOnDisk):
        await one.scheduler.modify("s", {"cron": "* * * * *"})
    since = datetime.now(UTC) - timedelta(minutes=30)
    with pytest.raises(NotConfirmedOnDisk):
        await one.scheduler.backfill("s", since, datetime.now(UTC))
    for task_id in ("s", "o"):
        with pytest.raises(NotConfirmedOnDisk):
            await one.scheduler.stop_task(task_id)
    assert await kept(one) == set()


async def test_no_yes_for_a_worker_either(unsynced: tuple[ExternalServer, Instance]) -> None:
    workers = RedisWorkers(MonitoringScripts(unsynced[1].store, "i1"))
    request = WorkerRequest(name="w", provider="local")
    with pytest.raises(NotConfirmedOnDisk):
        await workers.create(Worker.register(request, "w", await workers.now()))
    for patch in (WorkerPatch(name="other"), WorkerPatch(name="other")):
        with pytest.raises(NotConfirmedOnDisk):
            await workers.change("w", lambda found, patch=patch: found.change(patch))  # type: ignore[misc]
    seen = await workers.change("w", lambda found: found)
    assert seen.name == "other", "who only looks waits for nothing"
    with pytest.raises(NotConfirmedOnDisk):
        await workers.remove("w", "gone")


async def test_no_yes_is_said_before_the_disk_has_what_others_wrote(
    unsynced: tuple[ExternalServer, Instance], namespace: str
) -> None:
    """The schedule is there already, by somebody who waits for no disk."""
    server, one = unsynced
    async with Cluster(server.url, namespace) as cluster:
        hasty = await cluster.start(executes=False)
        await hasty.bus.schedule_task(hourly("s"))
        with pytest.raises(NotConfirmedOnDisk):
            await one.bus.schedule_task(hourly("s"))


async def test_asking_again_is_answered_when_the_disk_has_it(unsynced: tuple[ExternalServer, Instance]) -> None:
    server, one = unsynced
    with pytest.raises(NotConfirmedOnDisk):
        await one.bus.schedule_task(hourly("s"))
    server.tell("CONFIG", "SET", "appendfsync", "always")
    disk.PATIENCE_S = 5.0  # put back by the fixture
    scheduled = await one.bus.schedule_task(hourly("s"))
    assert scheduled.result == "unchanged"
    assert (await one.scheduler.get_task_info("s")).status is ScheduleStatus.ACTIVE  # type: ignore[union-attr]


async def test_who_executes_waits_for_no_disk(unsynced: tuple[ExternalServer, Instance], namespace: str) -> None:
    server, _ = unsynced
    async with Cluster(server.url, namespace) as cluster:
        other = await cluster.start(executes=False)
        await cluster.make(confirm_on_disk=True).scheduler.start()  # its store would not open on such a disk
        await other.bus.schedule_task(ScheduledTaskDescriptor(id="o", name="Once"))
        info = await wait_until(lambda: settled(other, "o"))
        assert info == "succeeded"


async def settled(instance: Instance, task_id: str) -> str:
    run = await instance.runs.get(task_id)
    return run.status.value if run and run.ended_at else ""


async def test_many_that_ask_together_wait_together(external: Servers, namespace: str) -> None:
    """A server that syncs once a second must not answer a few dozen callers a second."""
    server = external()
    async with Cluster(server.url, namespace) as cluster:
        one = await cluster.start(executes=False, confirm_on_disk=True)
        before = await asyncio.to_thread(server.tell, "INFO", "commandstats")
        await asyncio.gather(*(one.bus.schedule_task(hourly(f"s{number}")) for number in range(1000)))
        after = await asyncio.to_thread(server.tell, "INFO", "commandstats")
        waits = after["cmdstat_waitaof"]["calls"] - before["cmdstat_waitaof"]["calls"]
        assert waits <= 100
        assert len(await kept(one)) == 1000


async def test_one_that_is_refused_concerns_nobody_else(external: Servers, namespace: str) -> None:
    server = external()
    async with Cluster(server.url, namespace) as cluster:
        one = await cluster.start(executes=False, confirm_on_disk=True)
        await one.bus.schedule_task(hourly("bad"))
        await asyncio.to_thread(server.tell, "HSET", f"{one.store.prefix}:open", "bad", "another")
        await asyncio.to_thread(server.tell, "SET", f"{one.store.prefix}:active:bad", "a stranger's")
        asking = (one.bus.schedule_task(later("a")), one.scheduler.run_now("bad"), one.bus.schedule_task(later("b")))
        answers = await asyncio.gather(*asking, return_exceptions=True)
        assert [isinstance(answer, StrangeKey) for answer in answers] == [False, True, False]
        assert {info.id for info in await one.scheduler.list_one_shots(10)} == {"a", "b"}


async def test_closing_leaves_nobody_waiting(unsynced: tuple[ExternalServer, Instance], monkeypatch: Any) -> None:
    monkeypatch.setattr(disk, "PATIENCE_S", 60.0)
    one = unsynced[1]
    asking = asyncio.create_task(one.bus.schedule_task(hourly("s")))
    await wait_until(lambda: kept(one))
    await one.store.close()
    with pytest.raises(StoreUnavailable, match="closed before the answer came"):
        await asking


async def test_a_script_that_the_server_forgot_is_sent_again(external: Servers, namespace: str) -> None:
    server = external()
    async with Cluster(server.url, namespace) as cluster:
        one = await cluster.start(executes=False, confirm_on_disk=True)
        for number in range(3):
            server.tell("SCRIPT", "FLUSH")
            await one.bus.schedule_task(hourly(f"s{number}"))
        assert len(await kept(one)) == 3


async def test_a_log_that_is_switched_off_in_mid_run_ends_the_yes(external: Servers, namespace: str) -> None:
    server = external()
    async with Cluster(server.url, namespace) as cluster:
        one = await cluster.start(executes=False, confirm_on_disk=True)
        server.tell("CONFIG", "SET", "appendonly", "no")
        with pytest.raises(NotConfirmedOnDisk, match="WAITAOF"):
            await one.bus.schedule_task(hourly("s"))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"appendonly": "no"}, "its append-only file is off; set appendonly yes"),
        ({"appendfsync": "no"}, "is appendfsync no?"),
        ({"rename_command": 'WAITAOF ""'}, "unknown command 'WAITAOF'"),
    ],
)
async def test_a_server_that_cannot_confirm_is_refused_at_start(
    options: dict[str, str], says: str, external: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "PATIENCE_S", 0.5)
    server = external(**options)
    store = RedisStore(server.url, confirm_on_disk=True)
    with pytest.raises(errors.DiskNotConfirmed) as failure:
        await store.open()
    assert says in str(failure.value)
    assert 'set store.durability = "memory"' in " ".join(str(failure.value).split())
    in_memory = RedisStore(server.url)
    await in_memory.open()
    await in_memory.close()
