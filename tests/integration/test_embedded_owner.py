"""A data directory has one owner, and the server ends with it, however that ends."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from infrastructure.redis.connection import RedisStore
from infrastructure.redis.embedded import EmbeddedValkey
from infrastructure.redis.errors import DataDirectoryInUse
from support import wait_until, wait_until_sync

pytestmark = pytest.mark.usefixtures("no_server_left")

TESTS = Path(__file__).parent.parent


@dataclass
class Owner:
    """A program in a process of its own, and what it said."""

    process: "subprocess.Popen[str]"
    said: dict[str, str]

    @property
    def server(self) -> psutil.Process:
        return psutil.Process(int(self.said["pid"]))


Launch = Callable[..., Owner]


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    owners: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> Owner:
        process = subprocess.Popen(
            [sys.executable, TESTS / "valkey_owner.py", tmp_path, *arguments],
            env={**os.environ, "PYTHONPATH": f"{TESTS.parent / 'src'}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        owners.append(process)
        assert process.stdout is not None
        return Owner(process, json.loads(process.stdout.readline()))

    yield start
    for process in owners:
        process.kill()
        process.communicate()


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("mode", ["", "watchdog"])
def test_a_killed_program_takes_its_server_along_and_loses_nothing(launch: Launch, tmp_path: Path, mode: str) -> None:
    owner = launch(mode)
    server = owner.server
    with RedisStore(owner.said["url"]).threaded() as client:
        for n in range(100):
            client.xadd("s", {"n": n})
        client.xgroup_create("s", "g", "0")
        client.xreadgroup("g", "c", {"s": ">"}, count=7)
    family = [server, *server.children(recursive=True)]
    os.kill(owner.process.pid, signal.SIGKILL)
    again = EmbeddedValkey(tmp_path)
    again.open()
    wait_until_sync(lambda: all(map(is_gone, family)), "the orphan to end")
    with RedisStore(again.url).threaded() as client:
        assert client.xlen("s") == 100
        assert client.xpending("s", "g")["pending"] == 7
    again.close()


@pytest.mark.parametrize("mode", ["", "watchdog"])
def test_killing_program_and_server_together_loses_nothing(launch: Launch, tmp_path: Path, mode: str) -> None:
    owner = launch(mode)
    with RedisStore(owner.said["url"]).threaded() as client:
        client.set("a", "1")
    family = [owner.server, *owner.server.children(recursive=True)]
    os.kill(owner.server.pid, signal.SIGKILL)
    os.kill(owner.process.pid, signal.SIGKILL)
    again = EmbeddedValkey(tmp_path)
    again.open()
    with RedisStore(again.url).threaded() as client:
        assert client.get("a") == "1"
    again.close()
    wait_until_sync(lambda: all(map(is_gone, family)), "server and watchdog to end")


@pytest.mark.parametrize("mode", ["", "watchdog"])
def test_an_orderly_end_takes_the_whole_family_along(launch: Launch, mode: str) -> None:
    owner = launch(mode)
    family = [owner.server, *owner.server.children(recursive=True)]
    owner.process.communicate()
    assert owner.process.returncode == 0
    wait_until_sync(lambda: all(map(is_gone, family)), "server and watchdog to end")


def test_a_second_program_is_refused_and_harms_nothing(launch: Launch) -> None:
    first = launch()
    second = launch()
    assert second.said["error"] == "DataDirectoryInUse"
    assert f"process {first.process.pid}:" in second.said["message"]
    assert "data_dir" in second.said["message"]
    assert second.process.wait(timeout=30) == 0
    with RedisStore(first.said["url"]).threaded() as client:
        assert client.set("a", "1")


async def test_a_second_server_in_one_program_is_refused_too(tmp_path: Path) -> None:
    first, second = EmbeddedValkey(tmp_path), EmbeddedValkey(tmp_path)
    await first.start()
    with pytest.raises(DataDirectoryInUse, match=f"in use by process {os.getpid()}"):
        await second.start()
    await second.stop()
    store = RedisStore(first.url)
    await store.open()
    await store.close()
    await first.stop()
    await second.start()
    await second.stop()


async def test_an_ending_orphan_is_waited_for(launch: Launch, tmp_path: Path) -> None:
    owner = launch()
    owner.server.suspend()  # it cannot end before it is resumed
    os.kill(owner.process.pid, signal.SIGKILL)
    again = EmbeddedValkey(tmp_path, orphan_patience_s=60)
    starting = asyncio.create_task(again.start())
    await wait_until(lambda: again.state == "starting")
    await asyncio.wait([starting], timeout=0.1)
    assert not starting.done()
    owner.server.resume()
    await starting
    assert again.state == "running"
    await again.stop()


async def test_an_orphan_that_does_not_end_is_named(launch: Launch, tmp_path: Path) -> None:
    owner = launch()
    server = owner.server
    server.suspend()
    os.kill(owner.process.pid, signal.SIGKILL)
    again = EmbeddedValkey(tmp_path, orphan_patience_s=0.05)
    with pytest.raises(DataDirectoryInUse, match=f"in use by process {server.pid}"):
        await again.start()
    assert again.state == "stopped"
    server.resume()
    wait_until_sync(lambda: is_gone(server), "the orphan to end")


def test_ctrl_c_in_the_terminal_does_not_reach_the_server(launch: Launch) -> None:
    owner = launch()
    server = owner.server
    assert os.getsid(server.pid) == server.pid != os.getsid(owner.process.pid)
    assert os.getpgid(server.pid) != os.getpgid(owner.process.pid)


def test_a_parent_that_is_gone_before_the_server_started_stops_the_launch(tmp_path: Path) -> None:
    shim = TESTS.parent / "src" / "infrastructure" / "redis" / "launch_shim.py"
    marker = tmp_path / "was-run"
    nobody = 2**22 + 1
    done = subprocess.run(
        [sys.executable, "-I", "-S", shim, "deathsig", str(nobody), "-1", "/bin/touch", marker],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1
    assert "has ended" in done.stderr
    assert not marker.exists()


def test_a_forked_child_does_not_keep_the_directory(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path)
    server.open()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads is what happens to people
        child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    try:
        server.close()
        server.open()
        server.close()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
