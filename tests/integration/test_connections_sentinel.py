"""redis+sentinel://: every connection goes on at the replica that the Sentinels made the primary."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from application.scheduling import RecurrentTaskDescriptor
from certificates import Certificates
from domain.errors import StoreUnavailable
from domain.events.event import Event
from external_server import ExternalServer, free_port
from infrastructure.program import Program
from infrastructure.redis import errors, watch
from infrastructure.redis.access import StoreAccess
from infrastructure.redis.connection import RedisStore, store_errors
from infrastructure.redis.embedded import EmbeddedValkey
from infrastructure.redis.tls import TlsFiles
from infrastructure.settings import Settings
from integration.watched_kit import OK
from sentinels import NAME, SentinelProcess, SentinelSet, sentinel_set
from support import wait_until, wait_until_sync
from tls_front import TlsFront


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Callable[..., SentinelSet]]:
    """Start a primary, a replica and as many Sentinels as are wanted."""
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(sentinel_set(tmp_path / "set", **options))


async def refusal(url: str, **access: Any) -> errors.StoreError:
    with pytest.raises(errors.StoreError) as failure:
        await RedisStore(url, access=StoreAccess(**access)).open()
    assert "s3cret" not in str(failure.value)
    return failure.value


def ping(store: RedisStore) -> bool:
    """Ask from a thread."""
    with store.threaded() as client:
        return bool(client.ping())


async def test_every_kind_of_connection_goes_on_after_a_fail_over(three: Callable[..., SentinelSet]) -> None:
    nodes = three()
    store = RedisStore(nodes.url)
    await store.open()
    thread = store.threaded()
    await store.command.set(store.key("a"), "1")
    assert await asyncio.to_thread(thread.get, store.key("a")) == "1"
    waiting = asyncio.create_task(store.blocking.xread({store.key("s"): "$"}, block=10_000))
    async with store.blocking.pubsub(ignore_subscribe_messages=True) as hearing:
        await hearing.subscribe(store.key("wake"))
        await asyncio.to_thread(lambda: wait_until_sync(lambda: nodes.servers[1].tell("EXISTS", store.key("a"))))
        await asyncio.to_thread(nodes.kill_primary)
        with pytest.raises(StoreUnavailable), store_errors():
            await waiting
        with contextlib.suppress(StoreUnavailable), store_errors():
            await asyncio.to_thread(thread.get, store.key("a"))  # this one hears now that its server is gone
        assert await asyncio.to_thread(thread.get, store.key("a")) == "1", "it asks without the loop's help"
        assert await store.command.get(store.key("a")) == "1"
        assert await store.blocking.get(store.key("a")) == "1"

        async def heard() -> object:
            await store.command.publish(store.key("wake"), "x")
            with contextlib.suppress(StoreUnavailable), store_errors():
                return await hearing.get_message(timeout=0.05)

        assert await wait_until(heard, "a message by way of the new primary")
    assert store.primary == ("127.0.0.1", nodes.ports[1])
    thread.close()
    await store.close()


@pytest.fixture
async def program(three: Callable[..., SentinelSet]) -> AsyncIterator[tuple[Program, SentinelSet]]:
    nodes = three()
    settings = {
        "store": {"redis_url": nodes.url},
        "background_jobs": {"modules": ["cli_jobs"], "shutdown_grace_s": 0, "lease_s": 2},
        "monitoring": {"interval_s": 0.2},
    }
    made = Program(Settings.model_validate(settings))
    await made.start()
    yield made, nodes
    await made.stop()


async def succeeded(program: Program) -> int:
    with contextlib.suppress(StoreUnavailable):
        info: Any = await program.services().scheduler.get_task_info("s")
        return int(info.counts.succeeded)
    return 0


async def run_more(program: Program, count: int = 5) -> None:
    before = await wait_until(lambda: succeeded(program), "a run")

    async def more() -> bool:
        return await succeeded(program) >= before + count

    await wait_until(more, "more runs")


async def start_a_schedule(program: Program, nodes: SentinelSet) -> None:
    task = RecurrentTaskDescriptor(id="s", name="Greet", data={"label": "a"}, interval=0.05)
    await program.services().bus.schedule_task(task)
    await run_more(program)
    key = "{roundsman}:schedules"
    await asyncio.to_thread(lambda: wait_until_sync(lambda: nodes.servers[1].tell("EXISTS", key), "the replication"))


async def test_fires_and_events_go_on_after_a_fail_over(
    program: tuple[Program, SentinelSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, nodes = program
    heard: list[str] = []

    async def hear(event: Event) -> None:
        heard.append(event.topic)

    one.services().events.subscribe(["job.succeeded"], hear, group="readers")
    one.services().events.subscribe(["job.succeeded"], hear)
    await start_a_schedule(one, nodes)
    await asyncio.to_thread(nodes.kill_primary)
    await run_more(one)
    heard.clear()
    await wait_until(lambda: len(heard) > 4, "events by both kinds of readers")

    async def is_well() -> bool:
        found = (await one.services().health.look()).components["store"]
        return found.status is OK and found.facts.get("primary") == f"127.0.0.1:{nodes.ports[1]}"

    await wait_until(is_well, "health to be good, and to name the new primary")
    found = (await one.services().health.look()).components
    assert "lost_data_at" not in found["store"].facts
    assert found["scheduler"].status is OK


async def test_a_primary_that_goes_on_as_one_is_left_behind(
    program: tuple[Program, SentinelSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was frozen for too short a time for any call to be given up: nothing but the Sentinels tells of the other."""
    monkeypatch.setattr(watch, "LOOK_S", 0.05)
    one, nodes = program
    await start_a_schedule(one, nodes)
    frozen = nodes.servers[0]
    assert frozen._process is not None
    os.kill(frozen._process.pid, signal.SIGSTOP)
    try:
        await asyncio.to_thread(wait_until_sync, lambda: nodes.led_to() == {nodes.ports[1]}, "the fail-over")
    finally:
        os.kill(frozen._process.pid, signal.SIGCONT)

    def is_alone() -> bool:
        with frozen.admin() as client:
            ours = [one for one in client.client_list() if "sentinel" not in one["name"] and one["flags"] != "S"]
        return len(ours) == 1

    await asyncio.to_thread(wait_until_sync, is_alone, "all connections to leave the old primary")
    assert frozen.tell("ROLE")[0] == "master", "else it is not this that made them leave"
    await run_more(one)


async def test_of_sentinels_that_are_down_or_frozen_the_others_are_asked(three: Callable[..., SentinelSet]) -> None:
    nodes = three(sentinels=3)
    dead, frozen, _ = nodes.sentinels
    dead.stop()
    assert frozen._process is not None
    os.kill(frozen._process.pid, signal.SIGSTOP)
    store = RedisStore(nodes.url)
    try:
        await store.open()
        assert await asyncio.to_thread(ping, store)
    finally:
        os.kill(frozen._process.pid, signal.SIGCONT)
        await store.close()


async def test_nothing_where_sentinels_should_be() -> None:
    ports = [free_port(), free_port()]
    error = await refusal(f"redis+sentinel://user:s3cret@127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}/{NAME}")
    assert type(error) is errors.NoSentinel
    assert isinstance(error, errors.StoreAway)
    for port in ports:
        assert f"127.0.0.1:{port}: Error 111 connecting" in str(error)
    assert ".." not in str(error)


async def test_a_redis_where_a_sentinel_should_be(external: Callable[..., ExternalServer]) -> None:
    port = free_port()
    external(port=port)
    error = await refusal(f"redis+sentinel://127.0.0.1:{port}/{NAME}")
    assert type(error) is errors.NotASentinel
    assert f"127.0.0.1:{port}" in str(error)


@pytest.fixture
def lonely(tmp_path: Path) -> Iterator[Callable[..., SentinelProcess]]:
    """Start a Sentinel that watches a port, where nothing is unless the test puts it there."""
    made: list[SentinelProcess] = []

    def start(port: int, *options: str) -> SentinelProcess:
        made.append(SentinelProcess(tmp_path / f"lonely{len(made)}", port, 1, *options).start())
        wait_until_sync(lambda: _answers(made[-1]), "the Sentinel")
        return made[-1]

    yield start
    for one in made:
        one.stop()


def _answers(sentinel: SentinelProcess) -> bool:
    try:
        with sentinel.client() as client:
            return bool(client.ping())
    except redis.AuthenticationError:
        return True
    except redis.ConnectionError:
        return False


async def test_a_sentinel_where_a_redis_should_be(lonely: Callable[..., SentinelProcess]) -> None:
    sentinel = lonely(free_port())
    error = await refusal(f"redis://127.0.0.1:{sentinel.port}")
    assert type(error) is errors.StoreIsSentinel
    assert f"redis+sentinel://127.0.0.1:{sentinel.port}/name" in str(error)


async def test_a_name_that_the_sentinel_does_not_know(lonely: Callable[..., SentinelProcess]) -> None:
    error = await refusal(f"redis+sentinel://127.0.0.1:{lonely(free_port()).port}/other")
    assert type(error) is errors.UnknownPrimary
    assert f"no primary 'other'. It knows '{NAME}'" in str(error)


async def test_a_primary_that_is_down_and_has_no_heir(lonely: Callable[..., SentinelProcess]) -> None:
    port = free_port()
    sentinel = lonely(port)
    wait_until_sync(lambda: "o_down" in sentinel.state()["flags"], "the Sentinel to notice")
    error = await refusal(f"redis+sentinel://127.0.0.1:{sentinel.port}/{NAME}")
    assert type(error) is errors.PrimaryAway
    assert isinstance(error, errors.StoreAway)
    assert f"127.0.0.1:{port}, is down" in str(error)


async def test_a_sentinel_with_a_password(
    lonely: Callable[..., SentinelProcess], external: Callable[..., ExternalServer]
) -> None:
    external(port=(port := free_port()))
    sentinel = lonely(port, "requirepass s3cret", "user judge on >s3cret ~* +@all")
    url = f"redis+sentinel://127.0.0.1:{sentinel.port}/{NAME}"
    for access in ({}, {"sentinel_password": "s3cret wrong"}):
        error = await refusal(url, **access)
        assert type(error) is errors.SentinelRefuses
        assert "store.sentinel_password" in str(error)
    for access in ({"sentinel_password": "s3cret"}, {"sentinel_user": "judge", "sentinel_password": "s3cret"}):
        store = RedisStore(url, access=StoreAccess(**access))
        await store.open()
        assert await asyncio.to_thread(ping, store)
        await store.close()


async def test_sentinels_and_servers_may_both_be_behind_tls(
    valkey: EmbeddedValkey, tmp_path: Path, namespace: str
) -> None:
    (tmp_path / "certs").mkdir()
    certs = Certificates(tmp_path / "certs")
    server = TlsFront(valkey.socket_path, certs.server())

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        words = ["name", NAME, "ip", "localhost", "port", str(server.port), "flags", "master", "config-epoch", "1"]
        told = "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
        await reader.readuntil(b"MASTERS\r\n")
        writer.write(f"*1\r\n*{len(words)}\r\n{told}".encode())
        await reader.read()
        writer.close()

    fake = await asyncio.start_unix_server(answer, tmp_path / "fake")
    sentinel = TlsFront(tmp_path / "fake", certs.server())
    password = valkey.url.partition("://:")[2].partition("@")[0]
    url = f"rediss+sentinel://:{password}@127.0.0.1:{sentinel.port}/{NAME}"
    store = RedisStore(url, namespace, access=StoreAccess(TlsFiles(tls_ca_file=str(certs.authority))))
    await store.open()
    assert await asyncio.to_thread(ping, store)
    await store.close()
    error = await refusal(url, files=TlsFiles(tls_ca_file=str(certs.stranger)))
    assert type(error) is errors.StoreNotTrusted
    error = await refusal(url.replace("rediss+", "redis+"))
    assert type(error) is errors.StoreWantsTls
    fake.close()
    for front in (sentinel, server):
        front.close()
