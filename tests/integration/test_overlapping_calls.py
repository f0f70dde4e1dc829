"""Calls of one script that are sent before the server has answered those before."""

from collections.abc import Iterator

import pytest
import redis
from redis import exceptions
from redis.commands.core import Script

from infrastructure.redis.connection import RedisStore
from infrastructure.redis.overlapping import OverlappingCalls

ADD = "return redis.call('INCRBY', KEYS[1], ARGV[1])"


@pytest.fixture
def client(store: RedisStore) -> Iterator[redis.Redis]:
    client = store.threaded()
    yield client
    client.close()


def calls_of(client: redis.Redis, store: RedisStore, text: str = ADD) -> OverlappingCalls:
    script: Script = client.register_script(text)
    return OverlappingCalls(client, script, [store.key("sum")])


def test_each_answer_is_that_of_the_oldest_call_without_one(client: redis.Redis, store: RedisStore) -> None:
    sums = []
    with calls_of(client, store) as calls:
        calls.send([1])
        for n in (2, 3, 4):
            calls.send([n])
            sums.append(calls.answer())
        sums.append(calls.answer())
    assert sums == [1, 3, 6, 10]
    assert client.get(store.key("sum")) == "10"


def test_a_server_that_forgot_the_script_in_between_does_each_call_once(client: redis.Redis, store: RedisStore) -> None:
    other = store.threaded()
    with calls_of(client, store) as calls:
        calls.send([1])
        assert calls.answer() == 1
        other.script_flush()
        for n in (2, 30, 400):
            calls.send([n])
        assert calls.answer() == 3
        calls.send([5000])
        assert [calls.answer() for _ in range(3)] == [33, 433, 5433]
    other.close()


def test_only_those_that_were_refused_are_sent_again(client: redis.Redis, store: RedisStore) -> None:
    other = store.threaded()
    with calls_of(client, store) as calls:
        calls.send([1])
        assert calls.answer() == 1
        other.script_flush()
        before = refused(other)
        calls.send([2])
        while refused(other) == before:
            pass
        other.eval(ADD, 1, store.key("sum"), 0)  # now another process has told it
        calls.send([30])
        assert sorted(calls.answer() for _ in range(2)) == [31, 33]
    assert client.get(store.key("sum")) == "33"
    other.close()


def refused(other: redis.Redis) -> int:
    """Count the calls of scripts that the server did not know."""
    return int(other.info("errorstats").get("errorstat_NOSCRIPT", {"count": 0})["count"])


def test_an_error_of_the_script_leaves_the_connection_usable(client: redis.Redis, store: RedisStore) -> None:
    client.ping()
    (before,) = client.connection_pool._available_connections
    with calls_of(client, store) as calls:
        calls.send(["x"])
        calls.send([5])
        with pytest.raises(exceptions.ResponseError, match="not an integer"):
            calls.answer()
        assert calls.answer() == 5
    assert client.connection_pool._available_connections == [before]
    assert before._sock is not None


@pytest.mark.parametrize("taken", [0, 1])
def test_an_answer_that_nobody_took_is_not_given_to_the_next(
    client: redis.Redis, store: RedisStore, taken: int
) -> None:
    with calls_of(client, store) as calls:
        calls.send([1])
        calls.send([2])  # and then something fails
        for _ in range(taken):
            calls.answer()
    assert client.echo("mine") == "mine"


def test_a_primary_that_changes_between_two_calls_is_told_and_mixes_nothing(
    client: redis.Redis, store: RedisStore
) -> None:
    """A new connection would take the answer to the second call for that to the first."""
    with calls_of(client, store) as calls:
        calls.send([1])
        assert calls.answer() == 1
        calls.send([20])
        store._clients._demotions.note(calls._connection._connected_at)
        with pytest.raises(exceptions.ConnectionError, match="the primary changed"):
            calls.send([300])
    with calls_of(client, store) as calls:
        calls.send([4000])
        assert calls.answer() in (4001, 4021)
    assert client.echo("mine") == "mine"


def test_who_has_all_answers_follows_the_primary(client: redis.Redis, store: RedisStore) -> None:
    with calls_of(client, store) as calls:
        calls.send([1])
        assert calls.answer() == 1
        before = calls._connection._sock
        store._clients._demotions.note(calls._connection._connected_at)
        calls.send([20])
        assert calls.answer() == 21
        assert calls._connection._sock is not before
