"""What callers see when the store misbehaves, and that nothing is sent twice behind their back."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import redis
import redis.asyncio
from redis import exceptions

from domain.errors import StoreUnavailable, StrangeKey
from fault_proxy import FaultProxy
from infrastructure.redis.connection import RedisStore, store_errors
from infrastructure.redis.embedded import EmbeddedValkey
from infrastructure.redis.words import error_code
from support import wait_until

SHORT_S = 0.4


@pytest.fixture
async def proxy(valkey: EmbeddedValkey) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(valkey) as running:
        yield running


@pytest.fixture
async def far(proxy: FaultProxy, store: RedisStore, namespace: str) -> AsyncIterator[RedisStore]:
    """A store through the proxy, with short timeouts; ``store`` is the same one without it, and cleans up."""
    opened = RedisStore(proxy.url, namespace)
    for client in (opened.command, opened.blocking):
        client.connection_pool.connection_kwargs.update(socket_timeout=SHORT_S, socket_connect_timeout=SHORT_S)
    await opened.open()
    yield opened
    await opened.close()


async def incr(client: "redis.asyncio.Redis", key: str) -> object:
    with store_errors():
        return await client.incr(key)


async def test_a_black_hole_becomes_store_unavailable_and_the_command_takes_effect_once_at_most(
    far: RedisStore, store: RedisStore, proxy: FaultProxy
) -> None:
    assert await incr(far.command, far.key("n")) == 1
    await proxy.set_fault("black hole")
    before = proxy.accepted
    with pytest.raises(StoreUnavailable, match="Timeout"):
        await incr(far.command, far.key("n"))
    assert proxy.accepted == before, "it was tried again"
    await proxy.set_fault("none")
    assert await incr(far.command, far.key("n")) == int(str(await store.command.get(store.key("n"))))
    assert await store.command.get(store.key("n")) in ("2", "3")


async def test_cut_connections_are_replaced_before_they_are_used(far: RedisStore, proxy: FaultProxy) -> None:
    assert await incr(far.command, far.key("n")) == 1
    await proxy.set_fault("reset")
    with pytest.raises(StoreUnavailable):
        await incr(far.command, far.key("n"))
    await proxy.set_fault("down")
    with pytest.raises(StoreUnavailable, match="Connect call failed"):
        await incr(far.command, far.key("n"))
    await proxy.set_fault("none")
    assert await incr(far.command, far.key("n")) == 2


async def test_the_synchronous_client_neither_retries_nor_sticks(far: RedisStore, proxy: FaultProxy) -> None:
    def incr_in_thread() -> object:
        with store_errors():
            return client.incr(far.key("n"))

    client = far.threaded()
    client.connection_pool.connection_kwargs.update(socket_timeout=SHORT_S, socket_connect_timeout=SHORT_S)
    assert await asyncio.to_thread(incr_in_thread) == 1
    await proxy.set_fault("black hole")
    before = proxy.accepted
    with pytest.raises(StoreUnavailable, match="Timeout"):
        await asyncio.to_thread(incr_in_thread)
    assert proxy.accepted == before, "it was tried again"
    await proxy.set_fault("down")
    with pytest.raises(StoreUnavailable):
        await asyncio.to_thread(incr_in_thread)
    await proxy.set_fault("none")
    assert await asyncio.to_thread(incr_in_thread) in (2, 3)
    client.close()


async def test_a_cancelled_command_does_not_answer_the_next_one(far: RedisStore, proxy: FaultProxy) -> None:
    await far.command.set(far.key("secret"), "of another caller")
    proxy.latency_s = 0.05
    for _ in range(5):
        asking = asyncio.create_task(far.command.get(far.key("secret")))
        await asyncio.sleep(0.03)
        asking.cancel()
        await asyncio.wait([asking])
    proxy.latency_s = 0
    assert await asyncio.gather(*(far.command.get(far.key("nothing")) for _ in range(20))) == [None] * 20
    assert far.command.connection_pool.get_connection_count()[1][0] == 0


async def test_a_slow_store_still_answers(far: RedisStore, proxy: FaultProxy) -> None:
    proxy.latency_s = 0.02
    assert await incr(far.command, far.key("n")) == 1


async def test_a_subscriber_hears_after_the_store_came_back(far: RedisStore, proxy: FaultProxy) -> None:
    async with far.blocking.pubsub(ignore_subscribe_messages=True) as hearing:
        await hearing.subscribe(far.key("changed"))
        await proxy.set_fault("down")
        with pytest.raises(StoreUnavailable), store_errors():
            await hearing.get_message(timeout=30)
        await proxy.set_fault("none")

        async def heard() -> object:
            await far.command.publish(far.key("changed"), "x")
            return await hearing.get_message(timeout=0.05)

        assert await wait_until(heard, "the message")


async def test_a_full_store_refuses_plain_scripts_and_lets_flagged_ones_pass(
    fresh_valkey: Callable[[], EmbeddedValkey],
) -> None:
    store = RedisStore(fresh_valkey().url)
    await store.open()
    await store.command.config_set("maxmemory", "1")
    body = "return redis.call('SET', KEYS[1], '1') and 1"
    with pytest.raises(StoreUnavailable, match="maxmemory"), store_errors():
        await store.command.register_script(body)(keys=["a"])
    with pytest.raises(StoreUnavailable, match="maxmemory"), store_errors():
        await store.command.set("a", "1")
    flagged = store.command.register_script("#!lua flags=allow-oom\n" + body)
    assert await flagged(keys=["a"]) == 1
    await store.close()


async def test_a_store_that_became_a_replica_is_unavailable(fresh_valkey: Callable[[], EmbeddedValkey]) -> None:
    store = RedisStore(fresh_valkey().url)
    await store.open()
    await store.command.execute_command("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(StoreUnavailable, match="read only"), store_errors():
        await store.command.set("a", "1")
    await store.close()


@pytest.mark.parametrize(
    "error",
    [
        exceptions.ResponseError("MISCONF Errors writing to the AOF file: No space left on device"),
        exceptions.ResponseError("BUSY Valkey is busy running a script"),
        exceptions.ResponseError("Protocol error: unauthenticated multibulk length", status_code="ERR"),
        exceptions.MasterDownError("Link with MASTER is down", status_code="MASTERDOWN"),
        exceptions.AuthenticationError("invalid username-password pair"),
        exceptions.NoPermissionError("this user has no permissions"),
        ConnectionResetError(104, "reset"),
        TimeoutError(),
    ],
    ids=lambda error: f"{type(error).__name__} {error}"[:24],
)
def test_trouble_of_the_server_is_store_unavailable(error: Exception) -> None:
    with pytest.raises(StoreUnavailable) as failure, store_errors():
        raise error
    assert str(failure.value.facts["why"])
    assert failure.value.__cause__ is error


@pytest.mark.parametrize("error", [exceptions.ResponseError("ERR x"), exceptions.DataError("x"), ValueError("x")])
def test_mistakes_of_the_caller_are_not(error: Exception) -> None:
    with pytest.raises(type(error)), store_errors():
        raise error


def test_a_key_of_another_type_is_told_as_what_it_is() -> None:
    said = "WRONGTYPE Operation against a key holding the wrong kind of value script: 1f, on @user_script:9."
    with pytest.raises(StrangeKey, match=r"Health, and the log,\s+name the key") as failure, store_errors():
        raise exceptions.ResponseError(said)
    assert failure.value.status == 503
    assert not isinstance(failure.value, StoreUnavailable), "waiting does not mend it"


def test_the_code_of_an_error_is_found_wherever_redis_py_puts_it() -> None:
    in_transaction = 'Command # 1 (HGET {n}:states it\'s) of pipeline caused error: ("MISCONF Errors writing",)'
    for error, code in (
        (exceptions.ResponseError("MISCONF Errors writing to the AOF file"), "MISCONF"),
        (exceptions.ResponseError("WRONGTYPE Operation", status_code="ERR"), "WRONGTYPE"),
        (exceptions.OutOfMemoryError("command not allowed", status_code="OOM"), "OOM"),
        (exceptions.ResponseError(in_transaction), "MISCONF"),
        (exceptions.ResponseError("unknown command 'FOO'", status_code="ERR"), "ERR"),
        (exceptions.ResponseError(""), "ERR"),
    ):
        assert error_code(error) == code
