"""What this program's connections do otherwise than redis-py's: cancelling, and leaving a server that was demoted."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from redis import exceptions

from domain.errors import StoreFull, StoreUnavailable
from external_server import ExternalServer
from fault_proxy import FaultProxy
from infrastructure.redis import sockets
from infrastructure.redis.connection import RedisStore, store_errors
from infrastructure.runs.wake import Hearing, WakeListener
from support import wait_until

Servers = Callable[..., ExternalServer]
Connect = Callable[[str], RedisStore]


@pytest.fixture
async def connected() -> AsyncIterator[Callable[[str], RedisStore]]:
    """Make stores that are closed at the end; they are not checked as ``open`` would."""
    made: list[RedisStore] = []

    def connect(url: str) -> RedisStore:
        made.append(RedisStore(url))
        return made[-1]

    yield connect
    for store in made:
        await store.close()


async def test_a_cancellation_at_any_turn_of_the_loop_ends_a_command(store: RedisStore) -> None:
    """redis-py's ``wait_for`` swallows the one that comes when the bytes have just been sent."""
    await store.blocking.ping()
    for turns in range(1, 20):
        reading = asyncio.create_task(store.blocking.xread({store.key("nothing"): "$"}, block=10_000))
        for _ in range(turns):
            await asyncio.sleep(0)
        reading.cancel()
        done, _ = await asyncio.wait([reading], timeout=5)
        assert done, f"cancelled after {turns} turns, it went on"
        assert reading.cancelled()


async def test_every_kind_of_url_gets_these_connections(connected: Connect) -> None:
    ours = {*sockets.LOOP.values(), *sockets.THREAD.values()}
    for url in ("redis://h", "rediss://h", "unix:///s", "redis+sentinel://h/m", "rediss+sentinel://h/m"):
        store = connected(url)
        thread = store.threaded()
        for client in (store.command, store.blocking, thread):
            assert client.connection_pool.connection_class in ours  # type: ignore[union-attr]
        thread.close()


async def test_what_cannot_be_sent_in_time_says_so(external: Servers, connected: Connect) -> None:
    server = external()
    async with FaultProxy(server) as proxy:
        store = connected(proxy.url)
        await store.command.ping()
        await proxy.set_fault("black hole")
        (connection,) = store.command.connection_pool._available_connections
        connection.socket_timeout = 0.1
        with pytest.raises(StoreUnavailable, match="writing to socket"), store_errors():
            await store.command.set("big", b"x" * 30_000_000)


async def test_clients_leave_a_server_that_was_demoted(external: Servers, connected: Connect) -> None:
    """A name that leads to the new primary helps only who connects again."""
    old, new = external(), external()
    async with FaultProxy(old) as proxy:
        store = connected(proxy.url)
        thread = store.threaded()
        await asyncio.to_thread(thread.set, "a", "1")
        await store.command.set("a", "1")
        await asyncio.to_thread(old.tell, "REPLICAOF", "127.0.0.1", "1")
        proxy.lead_to(new)
        with pytest.raises(StoreUnavailable, match="read only"), store_errors():
            await asyncio.to_thread(thread.set, "a", "2")
        await asyncio.to_thread(thread.set, "a", "3")
        await store.command.set("b", "3")
        assert await asyncio.to_thread(new.tell, "MGET", "a", "b") == ["3", "3"]
        assert store.answered_errors["READONLY"] == 1
        await asyncio.to_thread(thread.close)


async def test_who_reads_leaves_it_when_who_writes_has_heard(external: Servers, connected: Connect) -> None:
    """A demoted server answers what is read as it was before."""
    old, new = external(), external()
    async with FaultProxy(old) as proxy:
        store = connected(proxy.url)
        thread = store.threaded()
        await store.blocking.set("a", "1")
        assert await asyncio.to_thread(thread.get, "a") == "1"
        await store.command.ping()
        await asyncio.to_thread(old.tell, "REPLICAOF", "127.0.0.1", "1")
        proxy.lead_to(new)
        assert await store.blocking.get("a") == "1"
        with pytest.raises(StoreUnavailable, match="read only"), store_errors():
            await store.command.set("a", "2")
        await store.command.set("a", "3")
        assert await store.blocking.get("a") == "3"
        assert await asyncio.to_thread(thread.get, "a") == "3"
        accepted = proxy.accepted
        assert [await store.blocking.get("a"), await store.command.get("a")] == ["3", "3"]
        assert proxy.accepted == accepted, "who is connected again stays"
        await asyncio.to_thread(thread.close)


async def test_who_listens_is_told_that_it_has_to_listen_anew(external: Servers, connected: Connect) -> None:
    """What was published meanwhile may be lost."""
    old, new = external(), external()
    async with FaultProxy(old) as proxy:
        store = connected(proxy.url)
        listened: list[bool] = []
        hearing = Hearing(lambda: None, lambda: None, lambda ids: None, lambda text: None, listened.append)
        listener = WakeListener(store, "i", hearing)
        await store.command.ping()
        await listener.start()
        await wait_until(lambda: listened == [True], "the listener to listen")
        await asyncio.to_thread(old.tell, "REPLICAOF", "127.0.0.1", "1")
        proxy.lead_to(new)
        with pytest.raises(StoreUnavailable, match="read only"), store_errors():
            await store.command.set("a", "2")
        (connection,) = store.blocking.connection_pool._in_use_connections
        connection.next_health_check = 0
        await wait_until(lambda: listened == [True, False, True], "the listener to listen anew")
        assert await asyncio.to_thread(new.tell, "PUBSUB", "NUMSUB", store.key("wake")) == [store.key("wake"), 1]
        await listener.stop()


async def test_a_pipeline_leaves_it_too(external: Servers, connected: Connect) -> None:
    old, new = external(), external()
    async with FaultProxy(old) as proxy:
        store = connected(proxy.url)
        script = store.command.register_script("#!lua\nreturn redis.call('INCR', KEYS[1])")
        await script(keys=["n"])
        await asyncio.to_thread(old.tell, "REPLICAOF", "127.0.0.1", "1")
        proxy.lead_to(new)
        pipe = store.command.pipeline(transaction=False)
        for command in (pipe.get, pipe.incr, pipe.get):
            command("n")
        with pytest.raises(StoreUnavailable), store_errors():
            await pipe.execute()
        assert await script(keys=["n"]) == 1, "the new one knows neither the script nor the number"


async def test_a_blocked_reader_leaves_it_too(external: Servers, connected: Connect) -> None:
    server = external()
    store = connected(server.url)
    await store.blocking.xgroup_create("s", "g", mkstream=True)

    async def read() -> None:
        with store_errors():
            await store.blocking.xreadgroup("g", "me", {"s": ">"}, block=10_000)

    reading = asyncio.create_task(read())
    await wait_until(lambda: server.tell("INFO")["blocked_clients"] == 1)
    await asyncio.to_thread(server.tell, "REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(StoreUnavailable, match="UNBLOCKED"):
        await reading


async def test_a_full_store_is_told_apart(external: Servers, connected: Connect) -> None:
    server = external(maxmemory=1)
    store = connected(server.url)
    with pytest.raises(StoreFull, match="Nothing was changed") as failure, store_errors():
        await store.command.set("a", "1")
    assert isinstance(failure.value.__cause__, exceptions.OutOfMemoryError)
    assert failure.value.status == 503
    assert store.answered_errors == {"OOM": 1}


async def test_no_room_for_another_client_is_unavailable(external: Servers, connected: Connect) -> None:
    server = external(maxclients=3)
    store = connected(server.url)
    others = [connected(server.url) for _ in range(3)]
    for other in others:
        await other.command.ping()
    with pytest.raises(StoreUnavailable), store_errors():  # "max number of clients reached", if that is read in time
        await store.command.ping()
    for other in others:
        await other.close()
    with store_errors():
        assert await wait_until(store.command.ping)
