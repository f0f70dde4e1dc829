"""What an operator is told of a server that works and does not do what it should."""

import asyncio

import pytest

from domain.errors import StoreUnavailable
from integration.watched_kit import OK, QUICK, Servers, Start, counts, health, is_ok, says
from support import wait_until


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
