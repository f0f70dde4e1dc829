"""``schedule_task_sync``: from threads while the program runs, before its start and after its end; never on a loop."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from application.scheduling import RecurrentTaskDescriptor
from domain.runs.errors import InvalidData, UnknownJob
from domain.scheduling.errors import LoopIsRunning, NotStarted
from infrastructure.program import Program
from infrastructure.redis.connection import RedisStore
from infrastructure.settings import Settings
from support import wait_until


def greet(task_id: str, interval: float = 3600, **data: Any) -> RecurrentTaskDescriptor:
    return RecurrentTaskDescriptor(id=task_id, name="Greet", data={"label": "a", **data}, interval=interval)


def make(**settings: Any) -> Program:
    jobs = {"modules": ["cli_jobs"], "shutdown_grace_s": 0}
    return Program(
        Settings.model_validate({"background_jobs": jobs, "monitoring": {"local_worker": False}, **settings})
    )


@pytest.fixture
async def program(redis_url: str, namespace: str, store: RedisStore) -> AsyncIterator[Program]:
    """A program on the shared server, prepared and not opened."""
    made = make(store={"redis_url": redis_url, "namespace": namespace})
    yield made
    await made.stop()


async def ids(program: Program) -> list[str]:
    page = await program.services().scheduler.list_tasks(name="Greet")
    return [info.id for info in page.items]


async def test_from_a_thread_while_the_program_runs(program: Program) -> None:
    await program.start()
    services = program.services()
    scheduled = await asyncio.to_thread(services.bus.schedule_task_sync, greet("s", interval=0.05))
    assert scheduled.result == "created"

    async def counted() -> bool:
        return (await services.scheduler.get_task_info("s")).counts.succeeded >= 2

    await wait_until(counted, "two runs")


async def test_from_many_threads_at_once(program: Program) -> None:
    await program.start()
    bus = program.services().bus
    await asyncio.gather(*(asyncio.to_thread(bus.schedule_task_sync, greet(f"s{n:02}")) for n in range(20)))
    assert await ids(program) == [f"s{n:02}" for n in range(20)]


async def test_what_is_wrong_is_raised_in_the_thread(program: Program) -> None:
    await program.start()
    bus = program.services().bus
    with pytest.raises(InvalidData, match="colour"):
        await asyncio.to_thread(bus.schedule_task_sync, greet("s", colour="red"))
    with pytest.raises(UnknownJob, match="Did you mean Greet"):
        await asyncio.to_thread(bus.schedule_task_sync, RecurrentTaskDescriptor(name="Great", interval=5))
    assert await ids(program) == []


async def test_on_a_running_loop_it_is_refused_before_and_after_the_start(program: Program) -> None:
    await program.open()
    bus = program.services().bus
    with pytest.raises(LoopIsRunning, match="await"):
        bus.schedule_task_sync(greet("s"))
    await program.start()
    with pytest.raises(LoopIsRunning, match="await"):
        bus.schedule_task_sync(greet("s"))
    assert await ids(program) == []


async def test_from_a_thread_before_the_start(program: Program) -> None:
    await program.open()
    bus = program.services().bus
    await asyncio.to_thread(bus.schedule_task_sync, greet("early"))
    with pytest.raises(InvalidData, match="colour"):
        await asyncio.to_thread(bus.schedule_task_sync, greet("s", colour="red"))
    await program.start()
    assert await ids(program) == ["early"]


async def test_from_a_thread_before_the_start_into_the_embedded_store(tmp_path: Path, no_server_left: None) -> None:
    program = make(data_dir=tmp_path)
    try:
        await program.open()
        await asyncio.to_thread(program.services().bus.schedule_task_sync, greet("early"))
        await program.start()
        assert await ids(program) == ["early"]
    finally:
        await program.stop()


async def test_from_a_thread_after_the_end_it_is_stored_where_the_store_lives_on(program: Program) -> None:
    await program.start()
    bus = program.services().bus
    await program.stop()
    await asyncio.to_thread(bus.schedule_task_sync, greet("late"))
    await program.open()
    assert await ids(program) == ["late"]


async def test_from_a_thread_after_the_end_of_the_embedded_store_it_is_refused(
    tmp_path: Path, no_server_left: None
) -> None:
    program = make(data_dir=tmp_path)
    await program.start()
    bus = program.services().bus
    await program.stop()
    with pytest.raises(NotStarted, match="its embedded store is not running"):
        await asyncio.to_thread(bus.schedule_task_sync, greet("late"))
