"""An embedded server starts, keeps its data, and leaves nothing behind."""

import asyncio
import stat
import threading
from pathlib import Path

import psutil
import pytest
import redis

from infrastructure.redis.connection import RedisStore
from infrastructure.redis.embedded import EmbeddedValkey
from infrastructure.redis.server_process import KEEP_LOG_BYTES
from support import wait_until

pytestmark = pytest.mark.usefixtures("no_server_left")


def connect(server: EmbeddedValkey) -> "redis.Redis":
    return RedisStore(server.url).threaded()


def open_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "embedded-valkey"]


async def test_what_was_written_is_there_after_a_restart(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path)
    await server.start()
    first_url = server.url
    with connect(server) as client:
        client.set("a", "1")
        client.xadd("stream", {"b": "2"})
    await server.stop()
    await server.start()
    with connect(server) as client:
        assert client.get("a") == "1"
        assert client.xlen("stream") == 1
    assert server.url != first_url, "the password must be new"
    await server.stop()


async def test_stop_leaves_no_process_thread_or_socket(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path)
    before = len(open_threads())
    await server.start()
    pid, socket_path = server.pid, server.socket_path
    assert server.state == "running"
    assert psutil.pid_exists(pid)
    await server.stop()
    assert server.state == "stopped"
    assert not psutil.pid_exists(pid)
    assert not socket_path.exists()
    assert len(open_threads()) == before


async def test_start_and_stop_may_be_called_twice_and_out_of_turn(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path)
    await server.stop()
    await server.start()
    pid = server.pid
    await server.start()
    assert server.pid == pid
    await server.stop()
    await server.stop()


async def test_a_cancelled_start_leaves_nothing(tmp_path: Path) -> None:
    before = set(psutil.Process().children())
    for turns in (0, 1, 3, 6, 10, 15):
        server = EmbeddedValkey(tmp_path)
        starting = asyncio.create_task(server.start())
        for _ in range(turns):
            await asyncio.sleep(0.002)
        starting.cancel()
        await asyncio.wait([starting])
        if not starting.cancelled():
            await server.stop()  # it was quicker
        assert server.state == "stopped"
        assert set(psutil.Process().children()) <= before
    await server.start()  # the directory is free again
    await server.stop()


async def test_only_this_user_reaches_the_socket_and_the_files(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path)
    await server.start()
    assert stat.S_IMODE(server.socket_path.stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "valkey").stat().st_mode) == 0o700
    stranger = RedisStore(f"unix://{server.socket_path}").threaded()
    with stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()
    await server.stop()


async def test_the_password_is_in_no_repr_and_no_file(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path)
    await server.start()
    password = server.url.split(":")[2].split("@")[0]
    assert len(password) >= 32
    store = RedisStore(server.url)
    shown = f"{server!r} {store!r} {server._plan!r}"
    command_line = " ".join(psutil.Process(server.pid).cmdline())
    await server.stop()
    assert password not in shown + command_line
    for file in tmp_path.rglob("*"):
        assert file.is_dir() or password.encode() not in file.read_bytes(), file


@pytest.mark.parametrize("name", ["d" * 120, "with space \"and' #%?@ünï\\x41"], ids=["deep", "odd"])
async def test_any_directory_name_will_do(tmp_path: Path, name: str) -> None:
    server = EmbeddedValkey(tmp_path / name)
    await server.start()
    socket_path = server.socket_path
    store = RedisStore(server.url)
    await store.open()
    await store.command.set("a", "1")
    await store.close()
    await server.stop()
    assert not socket_path.exists()
    assert (tmp_path / name / "valkey" / "appendonlydir").is_dir()
    if len(name) > 100:
        assert not socket_path.parent.exists(), "the private directory must go"


async def test_a_stale_socket_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "valkey").mkdir(mode=0o700)
    (tmp_path / "valkey" / "valkey.sock").write_text("not a socket at all")
    server = EmbeddedValkey(tmp_path)
    await server.start()
    assert server.socket_path == tmp_path / "valkey" / "valkey.sock"
    await server.stop()


async def test_a_long_log_is_set_aside_at_start(tmp_path: Path) -> None:
    (tmp_path / "valkey").mkdir(mode=0o700)
    log = tmp_path / "valkey" / "valkey.log"
    log.write_bytes(b"x" * (KEEP_LOG_BYTES + 1))
    server = EmbeddedValkey(tmp_path)
    await server.start()
    await server.stop()
    assert log.with_suffix(".log.1").stat().st_size == KEEP_LOG_BYTES + 1
    assert 0 < log.stat().st_size < KEEP_LOG_BYTES


@pytest.mark.parametrize("durability", ["everysec", "always"])
async def test_it_is_durable_and_never_evicts(tmp_path: Path, durability: str) -> None:
    server = EmbeddedValkey(tmp_path, durability=durability)  # type: ignore[arg-type]
    await server.start()
    with connect(server) as client:
        found = client.config_get("appendonly", "appendfsync", "maxmemory-policy", "save", "port", "aof-load-truncated")
    assert found == {
        "appendonly": "yes",
        "appendfsync": durability,
        "maxmemory-policy": "noeviction",
        "save": "",
        "port": "0",
        "aof-load-truncated": "yes",
    }
    await server.stop()


async def test_clients_reconnect_to_a_server_that_was_killed(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path)
    await server.start()
    store = RedisStore(server.url)
    await store.open()
    await store.command.set("a", "1")
    threaded = store.threaded()
    assert threaded.get("a") == "1"
    url, pid = server.url, server.pid
    psutil.Process(pid).kill()
    await wait_until(lambda: server.pid != pid and server.state == "running", "the restart")
    assert server.url == url
    assert await store.command.get("a") == "1"
    assert threaded.get("a") == "1"
    threaded.close()
    await store.close()
    await server.stop()
