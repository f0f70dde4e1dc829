"""A store that comes back without its data, and other things that an operator must be told of."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from application.scheduling import RecurrentTaskDescriptor, SchedulePolicy
from domain.errors import StoreUnavailable, StrangeKey
from external_server import ExternalServer
from infrastructure.key_types import KEY_TYPES
from infrastructure.program import Program
from infrastructure.redis import watch
from infrastructure.redis.connection import RedisStore
from infrastructure.redis.strangers import find_strange_keys, kind_of
from infrastructure.settings import Settings
from infrastructure.web.health import Finding, HealthStatus
from support import wait_until

Servers = Callable[..., ExternalServer]
Start = Callable[..., Awaitable[Program]]

HOLDING = RecurrentTaskDescriptor(id="holding", name="Greet", data={"label": "a", "hold": True}, interval=0.05)
QUICK = RecurrentTaskDescriptor(id="quick", name="Greet", data={"label": "a"}, interval=0.05)
DEGRADED, OK = HealthStatus.DEGRADED, HealthStatus.OK


@pytest.fixture
async def begin(namespace: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    """Start programs on a server, which look at it often."""
    monkeypatch.setattr(watch, "LOOK_S", 0.05)
    programs: list[Program] = []

    async def start(server: ExternalServer, role: Any = "all", durability: str = "memory", **more: Any) -> Program:
        settings = {
            "store": {"redis_url": server.url, "namespace": namespace, "durability": durability},
            "background_jobs": {"modules": ["cli_jobs"], "shutdown_grace_s": 0, "lease_s": 2},
            **more,
        }
        programs.append(Program(Settings.model_validate(settings), role))
        await programs[-1].start()
        return programs[-1]

    yield start
    for program in programs:
        await program.stop()


async def health(program: Program) -> Finding:
    return (await program.services().health.look()).components["store"]


async def says(program: Program, what: str) -> bool:
    found = await health(program)
    return found.status is not OK and what in found.detail


async def counts(program: Program, task_id: str) -> Any:
    return (await program.services().scheduler.get_task_info(task_id)).counts  # type: ignore[union-attr]


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
    assert await store.command.hget(store.key("meta"), "layout") == "1"  # type: ignore[misc]
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


async def test_one_that_keeps_nothing_is_told(
    external: Servers, begin: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    server = external(appendonly="no", save='""')
    program = await begin(server)
    assert "can lose data: it writes nothing to disk" in caplog.text
    assert await says(program, "it writes nothing to disk, so that its restart loses everything: set appendonly yes")
    assert (await health(program)).facts["append_only_file"] is False
    await asyncio.to_thread(server.tell, "CONFIG", "SET", "appendonly", "yes")
    await wait_until(lambda: is_ok(program), "health to be well")
    assert "is over this: it writes nothing to disk" in caplog.text


async def is_ok(program: Program) -> bool:
    return (await health(program)).status is OK


@pytest.mark.parametrize(
    ("options", "says_what"),
    [
        ({"save": "3600 1"}, "it has no append-only file, and its snapshots are all that outlives a restart"),
        ({"rename_command": 'CONFIG ""'}, "it has no append-only file, and snapshots, if it makes any, are all"),
    ],
)
async def test_one_that_keeps_little_is_told_at_start(
    options: dict[str, str], says_what: str, external: Servers, begin: Start, caplog: pytest.LogCaptureFixture
) -> None:
    program = await begin(external(appendonly="no", **options))
    assert says_what in caplog.text
    found = await health(program)
    assert (found.status, found.facts["append_only_file"]) == (OK, False), "that may be what its owner wants"


async def test_one_that_may_evict_is_told(external: Servers, begin: Start) -> None:
    program = await begin(external(maxmemory="100mb", maxmemory_policy="allkeys-lru"))
    assert await says(program, "it may evict schedules when memory is short: set maxmemory-policy noeviction")


async def test_health_shows_what_a_yes_means_here(external: Servers, begin: Start) -> None:
    facts = (await health(await begin(external(), durability="disk"))).facts
    assert facts["durability"] == "disk"
    assert facts["server"].startswith("Valkey ")
    assert facts["append_only_file"] is True
    assert facts["memory_used_bytes"] > 0


async def test_strange_keys_are_found_by_their_names(store: RedisStore, namespace: str) -> None:
    await store.command.hset(store.key("meta"), "layout", "1")  # type: ignore[misc]
    await store.command.set("{other}:states", "x")
    await store.command.set(store.key("nobody", "knows"), "x")
    assert await find_strange_keys(store, KEY_TYPES) == ()
    await store.command.set(store.key("states"), "x")
    await store.command.set(store.key("mon", "samples", "w"), "x")
    await store.command.rpush(store.key("run", "a@1.2"), "x")  # type: ignore[misc]
    found = await find_strange_keys(store, KEY_TYPES)
    assert sorted(found) == [
        f"the key '{{{namespace}}}:mon:samples:w' is a string and not a stream: somebody else wrote it; remove it",
        f"the key '{{{namespace}}}:run:a@1.2' is a list and not a hash: somebody else wrote it; remove it",
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
    rule = {"id": "always", "metric": "cpu_utilization", "comparison": ">=", "fire": 0.0, "severity": "info"}
    program = await begin(server, alerts={"rules": [rule]}, monitoring={"interval_s": 0.1})
    services, store = program.services(), program.container.store()
    await services.bus.schedule_task(QUICK)

    async def alerted() -> bool:
        return bool(await asyncio.to_thread(server.tell, "EXISTS", store.key("mon", "open_alerts")))

    await wait_until(alerted, "an alert")
    before = lasting()
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


async def test_one_whose_disk_is_full_is_told_and_used_again(external: Servers, begin: Start) -> None:
    server = external()
    program = await begin(server)
    bus = program.services().bus
    await asyncio.to_thread(server.fill_disk)

    async def refused() -> bool:
        try:
            await bus.schedule_task(QUICK)
            await program.services().scheduler.stop_task("quick")
        except StoreUnavailable as error:
            return "MISCONF" in str(error)
        return False

    await wait_until(refused, "writes to be refused")
    await wait_until(lambda: says(program, "it cannot write its append-only file"), "health to say why")
    await asyncio.to_thread(server.fill_disk, False)
    await wait_until(lambda: is_ok(program), "health to be well again")
    await bus.schedule_task(QUICK)

    async def ran() -> bool:
        return (await counts(program, "quick")).succeeded > 2

    await wait_until(ran, "work to go on")


async def test_a_process_uses_a_few_connections(external: Servers, begin: Start) -> None:
    """What docs/operations.md says of ``maxclients``."""
    server = external()
    program = await begin(server)
    await program.services().bus.schedule_task(QUICK)
    for _ in range(20):
        await program.services().health.look()
    connected = (await asyncio.to_thread(server.tell, "INFO", "clients"))["connected_clients"]
    assert 5 <= connected <= 25


async def test_every_key_of_a_busy_program_is_known_by_its_type(external: Servers, begin: Start) -> None:
    """A name that is missing here is to be added to ``KEY_TYPES``: else a stranger under it would not be found."""
    server = external()
    rule = {"id": "always", "metric": "cpu_utilization", "comparison": ">=", "fire": 0.0, "severity": "info"}
    program = await begin(server, alerts={"rules": [rule]}, monitoring={"interval_s": 0.1})
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
