"""Commands that many coroutines send at the same time go together, and each gets its own answer."""

import asyncio
from collections.abc import Callable

import pytest
from redis import exceptions

from domain.errors import StoreUnavailable
from infrastructure.redis.connection import RedisStore
from infrastructure.redis.embedded import EmbeddedValkey
from infrastructure.redis.gathering import TOGETHER, Gathering
from support import wait_until


async def test_each_caller_gets_the_answer_to_its_own_command(store: RedisStore) -> None:
    gathering = Gathering(store.command)
    await asyncio.gather(*(gathering.command("SET", store.key(str(n)), n) for n in range(3 * TOGETHER)))
    found = await asyncio.gather(*(gathering.command("GET", store.key(str(n))) for n in range(3 * TOGETHER)))
    assert found == [str(n) for n in range(3 * TOGETHER)]


async def test_many_go_in_few_round_trips(store: RedisStore) -> None:
    gathering = Gathering(store.command)
    connected = await store.command.info("stats")
    await asyncio.gather(*(gathering.command("PING") for _ in range(10 * TOGETHER)))
    now = await store.command.info("stats")
    assert now["total_connections_received"] - connected["total_connections_received"] <= 1


async def test_an_error_that_the_server_answers_concerns_its_caller_alone(store: RedisStore) -> None:
    gathering = Gathering(store.command)
    await store.command.set(store.key("text"), "x")
    wrong, right = await asyncio.gather(
        gathering.command("INCR", store.key("text")),
        gathering.command("GET", store.key("text")),
        return_exceptions=True,
    )
    assert isinstance(wrong, exceptions.ResponseError)
    assert right == "x"


async def test_a_script_that_the_server_forgot_is_sent_whole_and_once_for_all_who_want_it(
    fresh_valkey: Callable[[], EmbeddedValkey],
) -> None:
    store = RedisStore(fresh_valkey().url, "scripts")
    gathering = Gathering(store.command)
    script = store.command.register_script("return redis.call('INCR', KEYS[1])")
    for _ in range(2):
        await store.command.script_flush()
        await asyncio.gather(*(gathering.script(script, [store.key("n")], []) for _ in range(3 * TOGETHER)))
    assert await store.command.get(store.key("n")) == str(6 * TOGETHER)
    told = await store.command.info("commandstats")
    assert told["cmdstat_script|load"]["calls"] == 2
    assert "cmdstat_eval" not in told
    await gathering.close()
    await store.close()


async def test_a_server_that_loads_no_scripts_runs_them_whole(fresh_valkey: Callable[[], EmbeddedValkey]) -> None:
    server = fresh_valkey()
    with RedisStore(server.url).threaded() as admin:
        admin.execute_command("ACL", "SETUSER", "default", "-script")
    store = RedisStore(server.url, "scripts")
    gathering = Gathering(store.command)
    script = store.command.register_script("return redis.call('INCR', KEYS[1])")
    assert [await gathering.script(script, [store.key("n")], []) for _ in range(2)] == [1, 2]
    await gathering.close()
    await store.close()


async def test_one_who_gives_up_leaves_the_others_their_answers(store: RedisStore) -> None:
    gathering = Gathering(store.command)
    wanted = [asyncio.create_task(gathering.command("ECHO", str(n))) for n in range(5)]
    await asyncio.sleep(0)
    wanted[2].cancel()
    found = await asyncio.gather(*wanted, return_exceptions=True)
    assert [found[n] for n in (0, 1, 3, 4)] == ["0", "1", "3", "4"]
    assert isinstance(found[2], asyncio.CancelledError)


async def test_all_who_wait_hear_that_there_is_no_server(namespace: str) -> None:
    nowhere = RedisStore("redis://127.0.0.1:1", namespace)
    gathering = Gathering(nowhere.command)
    found = await asyncio.gather(*(gathering.command("PING") for _ in range(2 * TOGETHER)), return_exceptions=True)
    assert all(isinstance(error, exceptions.ConnectionError) for error in found)
    with pytest.raises(StoreUnavailable):
        await nowhere.now()
    await nowhere.close()


async def test_closing_ends_the_sender_and_tells_who_waits(store: RedisStore) -> None:
    gathering = Gathering(store.command)
    waiting = asyncio.create_task(gathering.command("BLPOP", store.key("never"), 0))
    await wait_until(lambda: _blocked(store), "the command to arrive")
    behind = asyncio.create_task(gathering.command("PING"))
    await asyncio.sleep(0)
    await gathering.close()
    for task in (waiting, behind):
        with pytest.raises(exceptions.ConnectionError, match="closed"):
            await task
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "gathered commands"]
    await gathering.close()
    assert await gathering.command("ECHO", "again") == "again"


async def test_closing_tells_also_who_wants_something_that_is_not_sent_yet(store: RedisStore) -> None:
    gathering = Gathering(store.command)
    waiting = asyncio.create_task(gathering.command("PING"))
    await asyncio.sleep(0)
    await gathering.close()
    with pytest.raises(exceptions.ConnectionError, match="closed"):
        await waiting


async def _blocked(store: RedisStore) -> bool:
    return any(client["cmd"] == "blpop" for client in await store.command.client_list())


async def test_the_servers_time_comes_in_milliseconds(store: RedisStore) -> None:
    seconds, _ = await store.command.time()
    assert seconds * 1000 <= await store.now() <= (seconds + 60) * 1000


async def times_asked(store: RedisStore) -> int:
    stats = await store.command.info("commandstats")
    return int(stats.get("cmdstat_time", {"calls": 0})["calls"])


async def test_many_who_want_the_time_at_once_are_told_by_one_command(store: RedisStore) -> None:
    gathering = Gathering(store.command)
    before = await times_asked(store)
    first = asyncio.create_task(gathering.time())
    left = asyncio.create_task(gathering.time())
    others = [asyncio.create_task(gathering.time()) for _ in range(3 * TOGETHER)]
    await asyncio.sleep(0)
    left.cancel()  # it wants the same answer, and the others still get it
    told = await asyncio.gather(first, *others)
    assert all(answer == told[0] for answer in told)
    assert await times_asked(store) - before == 1
    with pytest.raises(asyncio.CancelledError):
        await left
    assert await gathering.time() > told[0], "an answer is nobody's who asks later"
    await gathering.close()


async def test_whoever_asks_while_the_time_is_on_its_way_gets_one_of_his_own(store: RedisStore) -> None:
    gathering = Gathering(store.command)
    before = await times_asked(store)
    first = asyncio.create_task(gathering.time())
    while not gathering.length or gathering.length > 1:  # until it is sent
        await asyncio.sleep(0)
    second = asyncio.create_task(gathering.time())
    assert await second > await first
    assert await times_asked(store) - before == 2
    await gathering.close()


async def test_without_a_server_all_who_want_the_time_hear_so() -> None:
    nowhere = RedisStore("redis://127.0.0.1:1")
    gathering = Gathering(nowhere.command)
    found = await asyncio.gather(*(gathering.time() for _ in range(5)), return_exceptions=True)
    assert all(isinstance(answer, exceptions.ConnectionError) for answer in found)
    again = await asyncio.gather(gathering.time(), return_exceptions=True)
    assert isinstance(again[0], exceptions.ConnectionError)
    await gathering.close()
    await nowhere.close()
