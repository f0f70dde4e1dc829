"""File systems are asked in threads of their own: one that hangs is missing, and harms no other."""

import asyncio
import threading
from collections import namedtuple
from pathlib import Path

import pytest

from infrastructure.monitoring import filesystems
from infrastructure.monitoring.filesystems import FilesystemProbe, list_mounts, utilization
from support import wait_until, wait_until_sync


class Disks:
    """Mount points that answer when they are let."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.asked: list[str] = []

    def ask(self, mount: str) -> float | None:
        self.asked.append(mount)
        if mount == "/hangs":
            self.gate.wait()
        if mount == "/broken":
            raise OSError("stale file handle")
        return None if mount == "/file" else 0.5


async def test_one_that_hangs_is_missing_and_the_others_are_there() -> None:
    disks = Disks()
    probe = FilesystemProbe(lambda: ["/", "/hangs", "/broken", "/file"], disks.ask)
    use = await probe.read()
    assert use.utilization == {"/": 0.5}
    assert use.missing == {
        "/hangs": "it did not answer within 2 s",
        "/broken": "it cannot be read: stale file handle",
    }
    assert probe.hanging == ["/hangs"]
    again = await probe.read()
    assert "/hangs" in again.missing
    assert disks.asked.count("/hangs") == 1, "a mount that hangs was asked a second time"
    disks.gate.set()
    await wait_until(lambda: not probe.hanging, "the mount to answer")
    assert (await probe.read()).utilization["/hangs"] == 0.5
    wait_until_sync(lambda: not _probing(), "the probe's threads to end")


def _probing() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("statvfs")]


def test_an_answer_after_the_loop_has_closed_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    disks = Disks()
    probe = FilesystemProbe(lambda: ["/hangs"], disks.ask, patience_s=0.05)
    asyncio.run(probe.read())
    disks.gate.set()
    wait_until_sync(lambda: not _probing(), "the probe's thread to end")
    assert asyncio.run(probe.read()).utilization == {"/hangs": 0.5}
    assert caplog.text == ""


async def test_two_readers_share_a_question() -> None:
    disks = Disks()
    probe = FilesystemProbe(lambda: ["/hangs"], disks.ask, patience_s=20)
    readers = [asyncio.create_task(probe.read()) for _ in range(3)]
    await wait_until(lambda: disks.asked, "the question")
    disks.gate.set()
    assert [use.utilization for use in await asyncio.gather(*readers)] == [{"/hangs": 0.5}] * 3
    assert disks.asked == ["/hangs"]


async def test_mounts_without_number_are_bounded() -> None:
    use = await FilesystemProbe(lambda: (f"/{n}" for n in range(500)), lambda mount: 0.5).read()
    assert len(use.utilization) == 64


Part = namedtuple("Part", "device mountpoint fstype opts")


def test_only_real_writable_devices_count_and_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [
        Part("/dev/vda", "/var/lib/bind", "ext4", "rw"),
        Part("/dev/vda", "/", "ext4", "rw,relatime"),
        Part("tmpfs", "/run", "tmpfs", "rw"),
        Part("proc", "/proc", "proc", "rw"),
        Part("/dev/loop0", "/snap/x", "squashfs", "ro"),
        Part("/dev/sdb", "/mnt/cd", "ext4", "ro,relatime"),
        Part("overlay", "/var/lib/docker/overlay2/x", "overlay", "rw"),
        Part("nas:/data", "/data", "nfs4", "rw"),
    ]
    monkeypatch.setattr(filesystems.psutil, "disk_partitions", lambda all: parts)  # noqa: A006 - psutil's name
    assert list_mounts() == ["/", "/data"]
    monkeypatch.setattr(filesystems.psutil, "disk_partitions", lambda all: [Part("overlay", "/", "overlay", "rw")])  # noqa: A006
    assert list_mounts() == ["/"]


def test_a_directory_tells_and_a_file_does_not_count(tmp_path: Path) -> None:
    found = utilization(str(tmp_path))
    assert found is not None
    assert 0 < found <= 1
    (tmp_path / "hosts").write_text("")
    assert utilization(str(tmp_path / "hosts")) is None
    with pytest.raises(FileNotFoundError):
        utilization(str(tmp_path / "gone"))
