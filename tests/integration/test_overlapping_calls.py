"""Calls of one script that are made ready while the server still works on the one before."""

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


def test_each_answer_belongs_to_what_was_sent_last(client: redis.Redis, store: RedisStore) -> None:
    sums = []
    with calls_of(client, store) as calls:
        calls.send(calls.pack([1]), [1])
        for n in (2, 3, 4):
            packed = calls.pack([n])
            sums.append(calls.answer())
            calls.send(packed, [n])
        sums.append(calls.answer())
    assert sums == [1, 3, 6, 10]
    assert client.get(store.key("sum")) == "10"


def test_a_server_that_forgot_the_script_in_between_does_each_call_once(client: redis.Redis, store: RedisStore) -> None:
    other = store.threaded()
    with calls_of(client, store) as calls:
        calls.send(calls.pack([1]), [1])
        assert calls.answer() == 1
        other.script_flush()
        calls.send(calls.pack([2]), [2])
        assert calls.answer() == 3
    other.close()


def test_an_error_of_the_script_leaves_the_connection_usable(client: redis.Redis, store: RedisStore) -> None:
    client.ping()
    (before,) = client.connection_pool._available_connections
    with calls_of(client, store) as calls:
        calls.send(calls.pack(["x"]), ["x"])
        with pytest.raises(exceptions.ResponseError, match="not an integer"):
            calls.answer()
        calls.send(calls.pack([5]), [5])
        assert calls.answer() == 5
    assert client.connection_pool._available_connections == [before]
    assert before._sock is not None


def test_an_answer_that_nobody_took_is_not_given_to_the_next(client: redis.Redis, store: RedisStore) -> None:
    with calls_of(client, store) as calls:
        calls.send(calls.pack([1]), [1])  # and then something fails
    assert client.echo("mine") == "mine"
