"""Each server that will not do is refused with what is wrong and how to mend it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from external_server import ExternalServer, free_port
from infrastructure.redis import errors
from infrastructure.redis.connection import RedisStore
from infrastructure.redis.embedded import EmbeddedValkey

Answer = Callable[[str], bytes]


@asynccontextmanager
async def server_that(answer: Answer) -> AsyncIterator[str]:
    """Serve a Redis that answers each command by ``answer(name)``; an empty answer cuts the connection."""
    talks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.add(asyncio.current_task())  # type: ignore[arg-type]
        try:
            while head := await reader.readline():
                words = []
                for _ in range(int(head[1:])):
                    words.append((await reader.readexactly(int((await reader.readline())[1:]) + 2)).decode().strip())
                if not (reply := answer(words[0].upper())):
                    break
                writer.write(reply)
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1")
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in talks:
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)


def info(**facts: str) -> Answer:
    text = "# Server\r\n" + "".join(f"{name}:{value}\r\n" for name, value in facts.items())
    answers = {"INFO": f"${len(text)}\r\n{text}\r\n".encode(), "EVAL": b"*2\r\n*0\r\n*0\r\n"}
    return lambda command: answers.get(command, b"+PONG\r\n")


async def refusal(url: str) -> errors.StoreError:
    store = RedisStore(url)
    with pytest.raises(errors.StoreError) as failure:
        await store.open()
    idle, in_use = store.command.connection_pool.get_connection_count()
    assert in_use[0] == 0
    assert all(not connection.is_connected for connection in store.command.connection_pool._available_connections), idle
    assert "s3cret" not in str(failure.value)
    return failure.value


GOOD = {"redis_version": "7.0.0", "redis_mode": "standalone", "role": "master"}
VALKEY = {**GOOD, "redis_version": "7.2.4", "server_name": "valkey"}


@pytest.mark.parametrize("facts", [GOOD, {**GOOD, "redis_version": "8.4.1"}, {**VALKEY, "valkey_version": "7.2.0"}])
async def test_these_servers_will_do(facts: dict[str, str]) -> None:
    async with server_that(info(**facts)) as url:
        store = RedisStore(url)
        await store.open()
        await store.close()


@pytest.mark.parametrize(
    ("facts", "kind", "says"),
    [
        ({**GOOD, "redis_version": "6.2.14"}, errors.StoreTooOld, "Redis 6.2.14, which is too old"),
        ({**VALKEY, "valkey_version": "7.1.9"}, errors.StoreTooOld, "Valkey 7.1.9, which is too old"),
        ({**GOOD, "redis_mode": "cluster"}, errors.StoreIsCluster, "cluster mode"),
        ({**GOOD, "redis_mode": "sentinel"}, errors.StoreIsSentinel, "Write redis+sentinel://127.0.0.1:"),
        ({**GOOD, "role": "slave"}, errors.StoreIsReplica, "read-only replica"),
        ({"something": "else"}, errors.NotARedis, "not a Redis"),
    ],
)
async def test_these_servers_will_not(facts: dict[str, str], kind: type[Exception], says: str) -> None:
    async with server_that(info(**facts)) as url:
        error = await refusal(url)
    assert type(error) is kind
    assert says in str(error)
    assert url.removeprefix("redis://") in str(error)


async def test_a_real_cluster_is_refused(external: Callable[..., ExternalServer]) -> None:
    port = free_port()
    external(port=port, cluster_enabled="yes", cluster_config_file="nodes", cluster_port=free_port())
    assert isinstance(await refusal(f"redis://127.0.0.1:{port}"), errors.StoreIsCluster)


async def test_one_that_may_evict_is_used_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    async with server_that(info(**GOOD, maxmemory="1000", maxmemory_policy="allkeys-lru")) as url:
        store = RedisStore(url)
        await store.open()
        await store.close()
    assert "allkeys-lru" in caplog.text
    assert "noeviction" in caplog.text


async def test_one_that_is_loading_is_said_to_be() -> None:
    async with server_that(lambda _: b"-LOADING the dataset in memory\r\n") as url:
        assert isinstance(await refusal(url), errors.StoreLoading)


@pytest.mark.parametrize("how", ["unix", "tcp"])
async def test_one_without_room(external: Callable[..., ExternalServer], how: str) -> None:
    """It hangs up before it is asked: over a unix socket the first command is never sent, and nothing read by it."""
    port = free_port()
    server = external(port=port)
    with server.admin() as admin:
        await asyncio.to_thread(admin.config_set, "maxclients", 1)
        for _ in range(3):  # TCP loses the server's words now and then
            error = await refusal(server.url if how == "unix" else f"redis://127.0.0.1:{port}")
            assert isinstance(error, errors.StoreTakesNoMore)
            assert "Raise its setting maxclients" in str(error)
        await asyncio.to_thread(admin.config_set, "maxclients", 1000)


async def test_one_that_asks_for_a_password(valkey: EmbeddedValkey) -> None:
    error = await refusal(f"unix://{valkey.socket_path}?db=0")
    assert isinstance(error, errors.StorePasswordRequired)
    assert str(valkey.socket_path) in str(error)


@pytest.mark.parametrize("user", ["", "somebody"])
async def test_one_that_refuses_the_password(valkey: EmbeddedValkey, user: str) -> None:
    assert isinstance(await refusal(f"unix://{user}:s3cret@{valkey.socket_path}?db=0"), errors.StorePasswordRefused)


async def test_one_that_wants_no_password() -> None:
    said = "-ERR AUTH <password> called without any password configured for the default user.\r\n"
    async with server_that(lambda _: said.encode()) as url:
        error = await refusal(url.replace("redis://", "redis://:s3cret@"))
    assert isinstance(error, errors.StorePasswordRefused)
    assert "without any password configured" in str(error)


async def test_one_that_denies_commands(fresh_valkey: Callable[[], EmbeddedValkey]) -> None:
    server = fresh_valkey()
    with RedisStore(server.url).threaded() as admin:
        admin.execute_command("ACL", "SETUSER", "weak", "on", ">s3cret", "+ping")
    error = await refusal(f"unix://weak:s3cret@{server.socket_path}?db=0")
    assert isinstance(error, errors.StorePermissionDenied)
    assert "~{roundsman}:*" in str(error)


async def test_nobody_listening() -> None:
    listener = await asyncio.start_server(lambda *_: None, "127.0.0.1")
    port = listener.sockets[0].getsockname()[1]
    listener.close()
    await listener.wait_closed()
    error = await refusal(f"redis://:s3cret@127.0.0.1:{port}/0")
    assert isinstance(error, errors.StoreUnreachable)
    assert f"127.0.0.1:{port}" in str(error)
    assert "store.redis_url" in str(error)
    assert ".." not in str(error)


@pytest.mark.parametrize("url", ["unix:///nowhere/at/all.sock", "redis://host.invalid:1"])
async def test_no_such_place(url: str) -> None:
    assert isinstance(await refusal(url), errors.StoreUnreachable)


@pytest.mark.parametrize(
    "banner",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH\r\n", b"220 mail ESMTP\r\n", b"$-1\r\n", b"+OK\r\n"],
)
async def test_something_else_listening(banner: bytes) -> None:
    async with server_that(lambda _: banner) as url:
        error = await refusal(url)
    assert isinstance(error, errors.NotARedis), banner
    assert "rediss://" in str(error)


async def test_something_that_hangs_up() -> None:
    async with server_that(lambda _: b"") as url:
        assert isinstance(await refusal(url), errors.StoreUnreachable)


async def test_tls_asked_of_a_server_without() -> None:
    async with server_that(lambda _: b"") as url:
        assert isinstance(await refusal(url.replace("redis:", "rediss:")), errors.StoreUnreachable)


async def test_a_server_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infrastructure.redis.connection.COMMAND_TIMEOUT_S", 0.05)
    answered = asyncio.Event()

    async def never(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answered.wait()
        writer.close()

    async with await asyncio.start_server(never, "127.0.0.1") as server:
        error = await refusal(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        answered.set()
    assert isinstance(error, errors.StoreUnreachable)
    assert "Timeout" in str(error)
