"""A process that ends does not wait for a store that is silent, and speaks to it again when it answers."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable

import pytest
from redis import exceptions

from domain.errors import StoreUnavailable
from infrastructure.redis import last_calls
from infrastructure.redis.connection import RedisStore, store_errors
from infrastructure.redis.embedded import EmbeddedValkey
from support import wait_until


@pytest.fixture
async def frozen(
    fresh_valkey: Callable[[], EmbeddedValkey], namespace: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[RedisStore, int]]:
    """Give an open store and the process of its server, which goes on at the end whatever the test did to it."""
    monkeypatch.setattr(last_calls, "SILENT_AFTER_S", 0.5)
    server = await asyncio.to_thread(fresh_valkey)
    store = RedisStore(server.url, namespace)
    await store.open()
    pid = server.pid
    yield store, pid
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
    await store.close()


async def test_calls_under_way_and_new_ones_fail_until_the_store_answers_again(frozen: tuple[RedisStore, int]) -> None:
    store, pid = frozen
    client = store.threaded()
    client.ping()
    os.kill(pid, signal.SIGSTOP)
    on_loop = asyncio.create_task(store.command.blpop(store.key("nothing"), 0))  # type: ignore[arg-type]  # redis-py
    in_thread = asyncio.create_task(asyncio.to_thread(client.blpop, store.key("nothing"), 0))
    await asyncio.sleep(0)
    store.expect_end()
    store.expect_end()
    await asyncio.wait([on_loop, in_thread])
    assert store.is_silent
    for call in (on_loop, in_thread):
        assert isinstance(call.exception(), exceptions.ConnectionError), "cut off, and not timed out"
    with pytest.raises(StoreUnavailable, match="the store is silent"), store_errors():
        await store.command.ping()
    with pytest.raises(StoreUnavailable, match="the store is silent"), store_errors():
        await asyncio.to_thread(client.ping)
    os.kill(pid, signal.SIGCONT)
    await wait_until(lambda: not store.is_silent, "the store to be heard")
    assert await store.command.ping()
    assert await asyncio.to_thread(client.ping)
    await asyncio.to_thread(client.close)


async def test_a_store_that_answers_and_one_that_refuses_are_not_silent(frozen: tuple[RedisStore, int]) -> None:
    store, pid = frozen
    store.expect_end()
    for number in range(20):
        await store.command.set(store.key("n"), number)
        await asyncio.sleep(0.05)
    assert not store.is_silent
    os.kill(pid, signal.SIGKILL)  # it is gone, and says so: calls fail by themselves
    await wait_until(lambda: _refuses(store), "the store to be away, or back already")
    assert not store.is_silent


async def _refuses(store: RedisStore) -> bool:
    try:
        with store_errors():
            await store.command.get(store.key("n"))
    except StoreUnavailable as error:
        return "silent" not in str(error)
    return True


async def test_nobody_looks_before_the_end_and_nothing_is_left_after_it(frozen: tuple[RedisStore, int]) -> None:
    store, _ = frozen
    before = asyncio.all_tasks()
    store.expect_end()
    assert len(asyncio.all_tasks()) == len(before) + 1
    await store.close()
    await store.close()
    assert asyncio.all_tasks() == before
