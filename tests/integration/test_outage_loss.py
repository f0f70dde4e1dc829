"""A store that comes back without its data, or whose keys strangers took."""

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from application.scheduling import SchedulePolicy
from domain.errors import StrangeKey
from external_server import ExternalServer
from infrastructure.key_types import KEY_TYPES
from infrastructure.redis.connection import RedisStore
from infrastructure.redis.strangers import find_strange_keys, kind_of
from infrastructure.runs.layout import LAYOUT
from integration.watched_kit import (
    ALWAYS_FIRING,
    DEGRADED,
    HOLDING,
    OK,
    QUICK,
    Servers,
    Start,
    counts,
    health,
    is_ok,
    says,
)
from support import wait_until


async def flushed(server: ExternalServer) -> None:
    await asyncio.to_thread(server.tell, "FLUSHALL")


async def replaced(server: ExternalServer) -> None:
    await asyncio.to_thread(server.kill)
    server.lose_data()
    await asyncio.to_thread(server.start)


@pytest.mark.parametrize("lose", [flushed, replaced])
async def test_a_store_that_lost_its_data_is_told_loudly_and_used_again(
    lose: Callable[[ExternalServer], Awaitable[None]],
    external: Servers,
    begin: Start,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = external()
    program, other = await begin(server), await begin(server, role="api")
    services = program.services()
    await services.bus.schedule_task(HOLDING)
    condition = program.container.scheduling.engine().condition
    await wait_until(lambda: condition().executing, "the body to be executing")
    await lose(server)
    for one in (program, other):
        await wait_until(lambda one=one: says(one, "it lost its data at 20"), "health to tell")
        found = await health(one)
        assert found.status is DEGRADED, "the program works"
        assert found.facts["lost_data_at"].endswith("Z")
    assert "HAS LOST ITS DATA" in caplog.text
    await wait_until(lambda: condition().executing == 0, "the running body to be told and cancelled")

    async def seeded() -> bool:
        tasks = await services.scheduler.list_tasks()
        return [info.id for info in tasks.items] == ["monitoring-silence-check", "worker-metrics-local"]

    await wait_until(seeded, "the program's own schedules")
    await services.bus.schedule_task(QUICK)

    async def ran() -> bool:
        return (await counts(program, "quick")).succeeded > 2

    await wait_until(ran, "new work to run")
    store = program.container.store()

    async def announced() -> bool:
        here = set(await store.command.hkeys(store.key("instances")))  # type: ignore[misc]
        return {program.instance_id, other.instance_id} <= here

    await wait_until(announced, "both instances to be announced")
    assert await store.command.hget(store.key("meta"), "layout") == str(LAYOUT)  # type: ignore[misc]
    assert await find_strange_keys(store, KEY_TYPES) == ()


async def test_a_restart_with_its_data_is_no_loss(external: Servers, begin: Start) -> None:
    server = external(appendfsync="always")
    program = await begin(server)
    await program.services().bus.schedule_task(QUICK)
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)

    async def looked_again() -> bool:
        found = await health(program)
        return found.status is OK

    await wait_until(looked_again)
    before = (await counts(program, "quick")).succeeded

    async def runs_on() -> bool:
        return (await counts(program, "quick")).succeeded > before

    await wait_until(runs_on)
    assert "lost_data_at" not in (await health(program)).facts


async def test_strange_keys_are_found_by_their_names(store: RedisStore, namespace: str) -> None:
    await store.command.hset(store.key("meta"), "layout", "2")  # type: ignore[misc]
    await store.command.set("{other}:states", "x")
    await store.command.set(store.key("nobody", "knows"), "x")
    assert await find_strange_keys(store, KEY_TYPES) == ()
    await store.command.set(store.key("states"), "x")
    await store.command.set(store.key("mon", "samples", "w"), "x")
    await store.command.rpush(store.key("active", "a"), "x")  # type: ignore[misc]
    found = await find_strange_keys(store, KEY_TYPES)
    assert sorted(found) == [
        f"the key '{{{namespace}}}:active:a' is a list and not a set: somebody else wrote it; remove it",
        f"the key '{{{namespace}}}:mon:samples:w' is a string and not a stream: somebody else wrote it; remove it",
        f"the key '{{{namespace}}}:states' is a string and not a hash: somebody else wrote it; remove it",
    ]
    await store.command.unlink("{other}:states")


async def test_a_key_that_a_stranger_took_is_named(
    external: Servers, begin: Start, caplog: pytest.LogCaptureFixture
) -> None:
    server = external()
    program = await begin(server)
    await program.services().bus.schedule_task(QUICK)
    later = program.container.store().key("later")
    await asyncio.to_thread(server.tell, "SET", later, "theirs")
    named = f"the key '{later}' is a string and not a zset: somebody else wrote it; remove it"
    await wait_until(lambda: says(program, named), "health to name it")
    assert named in caplog.text
    assert not [record for record in caplog.records if record.exc_info], "no tracebacks for what is no bug"
    await asyncio.to_thread(server.tell, "DEL", later)
    await wait_until(lambda: is_ok(program), "health to be well again")


@pytest.mark.parametrize("key", ["meta", "instances"])
async def test_a_stranger_under_the_first_keys_is_named_at_start_or_soon(
    key: str, external: Servers, namespace: str, begin: Start
) -> None:
    server = external()
    await asyncio.to_thread(server.tell, "SET", f"{{{namespace}}}:{key}", "theirs")
    if key == "meta":
        with pytest.raises(StrangeKey, match="another type"):
            await begin(server)
        return
    program = await begin(server)
    await wait_until(lambda: says(program, f"the key '{{{namespace}}}:{key}' is a string and not a hash"))


async def test_nothing_dies_when_strangers_take_all_keys_and_when_all_are_gone(external: Servers, begin: Start) -> None:
    server = external()
    program = await begin(server, alerts={"rules": [ALWAYS_FIRING]}, monitoring={"interval_s": 0.1})
    services, store = program.services(), program.container.store()
    await services.bus.schedule_task(QUICK)

    async def alerted() -> bool:
        return bool(await asyncio.to_thread(server.tell, "EXISTS", store.key("mon", "open_alerts")))

    await wait_until(alerted, "an alert")
    before = lasting() - {"gathered commands"}  # it comes and goes with what is asked
    for key in await asyncio.to_thread(server.tell, "KEYS", "*"):
        await asyncio.to_thread(server.tell, "SET", key, "theirs")
    await wait_until(lambda: says(program, f"the key '{store.key('states')}' is a string"), "health to name them")
    await wait_until(lambda: store.answered_errors["WRONGTYPE"] > 20, "everybody to meet them")
    await flushed(server)
    await wait_until(alerted, "monitoring to go on")
    await services.bus.schedule_task(QUICK)

    async def ran() -> bool:
        return (await counts(program, "quick")).succeeded > 2

    await wait_until(ran, "new work to run")
    assert before <= lasting()


def lasting() -> set[str]:
    """Return the names of tasks and threads that are to live as long as the program."""
    tasks = {task.get_name() for task in asyncio.all_tasks()}
    threads = {thread.name for thread in threading.enumerate() if not thread.name.startswith("asyncio_")}
    return threads | {name for name in tasks if not name.startswith(("Task-", "run "))}


async def test_every_key_of_a_busy_program_is_known_by_its_type(external: Servers, begin: Start) -> None:
    """A name that is missing here is to be added to ``KEY_TYPES``: else a stranger under it would not be found."""
    server = external()
    program = await begin(server, alerts={"rules": [ALWAYS_FIRING]}, monitoring={"interval_s": 0.1})
    bus = program.services().bus
    for descriptor in (QUICK, HOLDING.model_copy(update={"policy": SchedulePolicy(overlap="queue_one")})):
        await bus.schedule_task(descriptor)
    await wait_until(lambda: program.container.scheduling.engine().condition().executing)

    store = program.container.store()

    async def names() -> set[str]:
        return set(await asyncio.to_thread(server.tell, "KEYS", "*"))

    async def alerted() -> bool:
        return store.key("mon", "open_alerts") in await names()

    await wait_until(alerted, "an alert")
    found = await names()
    await program.services().workers.remove("local")
    found |= await names()
    assert {name for name in found if kind_of(name.removeprefix(f"{store.prefix}:"), KEY_TYPES) is None} == set()
    assert await find_strange_keys(store, KEY_TYPES) == ()
    assert len(found) > 20
