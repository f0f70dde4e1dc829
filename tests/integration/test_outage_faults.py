"""Living with a broken store: whatever happens to it, all goes on when it is over, and nothing settles twice."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from cluster import Cluster
from external_server import ExternalServer, free_port
from fault_proxy import FaultProxy
from infrastructure.redis import connection
from integration.outage_kit import AtWork
from support import wait_until

Servers = Callable[..., ExternalServer]


@pytest.fixture
async def work(external: Servers, namespace: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AtWork]:
    """Two instances at work, with commands that are given up after a second."""
    monkeypatch.setattr(connection, "COMMAND_TIMEOUT_S", 1.0)
    server = external(appendfsync="always", port=free_port())
    async with FaultProxy(server) as proxy, Cluster(proxy.url, namespace) as cluster:
        yield await AtWork(server, proxy, cluster).begin()
        await proxy.set_fault("none")


@pytest.fixture(autouse=True)
def _the_loop_turns(caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:  # type: ignore[misc]
    """No fault of the store may block the event loop, or surprise anybody."""
    yield
    said = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert not [line for line in said if "event loop" in line]
    assert not [record for record in caplog.records if record.exc_info], caplog.text


@pytest.mark.parametrize("fault", ["down", "reset", "black hole"])
async def test_away_and_back(work: AtWork, fault: str) -> None:
    await work.proxy.set_fault(fault)  # type: ignore[arg-type]
    await work.refused("StoreUnavailable")
    await work.proxy.set_fault("none")
    await work.goes_on()
    await work.end()


async def test_away_for_longer_than_a_lease(work: AtWork) -> None:
    """Nobody is overtaken by somebody who was away just as long."""
    await work.proxy.set_fault("down")
    waited = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(2.5, waited.set_result, None)
    await waited
    await work.proxy.set_fault("none")
    await work.goes_on()
    await work.end()


async def test_killed_and_started_again(work: AtWork) -> None:
    for _ in range(2):
        await asyncio.to_thread(work.server.kill)
        await work.refused("StoreUnavailable")
        await asyncio.to_thread(work.server.start)
        await work.goes_on()
    await work.end()


async def test_loading_its_data_for_a_while(work: AtWork) -> None:
    await work.tell("EVAL", "for i = 1, 1000 do redis.call('SET', 'filler' .. i, string.rep('x', 100)) end", 0)
    await work.tell("BGREWRITEAOF")
    await wait_until(lambda: not work.server.tell("INFO")["aof_rewrite_in_progress"], "a file with a snapshot in it")
    await asyncio.to_thread(work.server.kill)
    work.server.options |= {"key_load_delay": "10000", "loading_process_events_interval_bytes": "1024"}
    work.server.launch()
    await wait_until(lambda: work.server.is_loading(), "the server to say that it is loading")
    await work.refused("StoreUnavailable")
    await work.tell("CONFIG", "SET", "key-load-delay", "0")
    await work.goes_on()
    await work.end()


async def test_slow(work: AtWork) -> None:
    """A reply takes 40 % of a lease: what 2 s are of 5 s."""
    work.proxy.latency_s = 0.4
    before = work.proxy.accepted
    for _ in range(3):
        await work.goes_on()
    assert work.proxy.accepted - before < 20, "calls pile up: each opens a connection"
    work.proxy.latency_s = 0.0
    await work.end()


async def test_its_scripts_forgotten_again_and_again(work: AtWork) -> None:
    for _ in range(20):
        await work.tell("SCRIPT", "FLUSH")
        await asyncio.sleep(0.02)
    await work.goes_on()
    await work.end()


async def test_its_clients_killed_again_and_again(work: AtWork) -> None:
    for _ in range(20):
        await work.tell("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await work.tell("CLIENT", "KILL", "TYPE", "pubsub")
        await asyncio.sleep(0.02)
    await work.goes_on()
    await work.end()


async def test_its_clients_paused(work: AtWork) -> None:
    await work.tell("CLIENT", "PAUSE", "1500", "WRITE")
    await work.refused("StoreUnavailable")
    await work.tell("CLIENT", "UNPAUSE")
    await work.goes_on()
    await work.end()


async def test_its_password_changed_and_put_back(work: AtWork) -> None:
    await work.tell("CONFIG", "SET", "requirepass", "another")
    work.server.password = "another"
    await work.tell("CLIENT", "KILL", "TYPE", "normal")
    await work.refused("StoreUnavailable")
    await work.tell("CONFIG", "SET", "requirepass", "")
    work.server.password = ""
    await work.goes_on()
    await work.end()


async def test_no_room_for_more_clients(work: AtWork) -> None:
    with work.server.admin() as admin:
        await asyncio.to_thread(admin.config_set, "maxclients", 1)
        await asyncio.to_thread(admin.execute_command, "CLIENT", "KILL", "TYPE", "normal")
        await work.refused("StoreUnavailable")
        await asyncio.to_thread(admin.config_set, "maxclients", 1000)
    await work.goes_on()
    await work.end()


async def test_a_fail_over_behind_its_name(work: AtWork, external: Servers) -> None:
    """The primary becomes a replica, and lets its clients stay: they must look for the new one themselves."""
    heir = external(port=free_port())
    here = ("127.0.0.1", heir.options["port"])
    await asyncio.to_thread(heir.tell, "REPLICAOF", "127.0.0.1", work.server.options["port"])
    await wait_until(lambda: heir.tell("INFO")["master_link_status"] == "up", "the replica to follow")
    await work.tell("CLIENT", "PAUSE", "5000", "WRITE")
    offset = work.server.tell("INFO")["master_repl_offset"]
    await wait_until(lambda: heir.tell("INFO")["slave_repl_offset"] >= offset, "the replica to have everything")
    await asyncio.to_thread(heir.tell, "REPLICAOF", "NO", "ONE")
    work.proxy.lead_to(heir)
    await work.tell("REPLICAOF", *here)
    await work.tell("CLIENT", "UNPAUSE")
    await work.goes_on()
    await work.end()


async def test_full(work: AtWork) -> None:
    await work.tell("CONFIG", "SET", "maxmemory", "1")
    await work.refused("StoreFull")
    await work.one.scheduler.pause("s0", "to make room")
    await work.one.scheduler.resume("s0")
    await work.one.scheduler.stop_task("s1")
    work.cluster.ledger.gate("plain").set()
    await wait_until(lambda: work._is_settled("long"), "what runs to end and to be settled")
    await work.tell("CONFIG", "SET", "maxmemory", "0")
    await work.refused_no_more()
    await work.end()


async def test_keys_of_strangers_among_ours(work: AtWork, tmp_path: Path) -> None:
    """A key of ours that somebody overwrote stops what needs it, with its name; what is beside ours is let alone."""
    await work.tell("SET", "{other}:states", "theirs")
    later = f"{work.one.store.prefix}:later"
    await work.tell("SET", later, "theirs")
    await wait_until(lambda: work.one.store.answered_errors["WRONGTYPE"] > 1, "somebody to meet it")
    await work.tell("DEL", later)
    await work.goes_on()
    await work.end()
    assert await work.tell("GET", "{other}:states") == "theirs"
