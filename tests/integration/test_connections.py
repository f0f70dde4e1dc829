"""Connect to a real server, and say what is wrong with those that will not do."""

import asyncio
from collections.abc import Callable

import pytest

from infrastructure.redis import connection
from infrastructure.redis.connection import RedisStore
from infrastructure.redis.embedded import EmbeddedValkey


async def test_keys_carry_the_namespace_as_a_hash_tag(store: RedisStore, namespace: str) -> None:
    assert store.key("states", "a") == f"{{{namespace}}}:states:a"
    assert store.prefix == f"{{{namespace}}}"


async def test_each_client_speaks_text_to_the_same_server(store: RedisStore) -> None:
    await store.command.set(store.key("a"), "ä")
    assert await store.blocking.get(store.key("a")) == "ä"

    def in_a_thread() -> object:
        with store.threaded() as client:
            return client.get(store.key("a"))

    assert await asyncio.to_thread(in_a_thread) == "ä"


async def test_a_blocking_read_may_be_longer_than_a_command(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await store.blocking.xread({store.key("s"): "$"}, block=50) in ([], {}, None)
    timeouts = [
        client.connection_pool.connection_kwargs["socket_timeout"] for client in (store.command, store.blocking)
    ]
    assert timeouts[0] < connection.LONGEST_BLOCK_S < timeouts[1]


async def test_a_hundred_callers_share_the_pool(store: RedisStore) -> None:
    counts = await asyncio.gather(*(store.command.incr(store.key("n")) for _ in range(200)))
    assert sorted(counts) == list(range(1, 201))


async def test_scripts_work_with_both_kinds_of_clients_and_after_a_flush(
    fresh_valkey: Callable[[], EmbeddedValkey],
) -> None:
    store = RedisStore(fresh_valkey().url)
    await store.open()
    script = store.command.register_script("return redis.call('INCR', KEYS[1])")
    assert await script(keys=[store.key("n")]) == 1
    await store.command.script_flush()
    assert await script(keys=[store.key("n")]) == 2
    await store.close()
