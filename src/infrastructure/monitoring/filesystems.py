"""Ask each file system how full it is, without ever waiting for one that hangs."""

import asyncio
import os
import stat
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from domain.monitoring.sample import MAX_FILESYSTEMS

PSEUDO = frozenset(
    """
    autofs binfmt_misc bpf cgroup cgroup2 configfs debugfs devfs devpts devtmpfs efivarfs fdescfs fuse.gvfsd-fuse
    fuse.lxcfs fuse.portal fuse.snapfuse fusectl hugetlbfs iso9660 mqueue nsfs nullfs proc procfs pstore ramfs
    rpc_pipefs securityfs selinuxfs squashfs sysfs tmpfs tracefs udf
    """.split()  # noqa: SIM905 - thirty lines of one word each would hide the rest
)
"""What holds no data of its own, or is full by nature."""

PATIENCE_S = 2.0


@dataclass
class FilesystemUse:
    """How full each mount point is (0..1), and why some do not say."""

    utilization: dict[str, float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    error: str | None = None
    """Why there is not even a list of them."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a mount point said: how full it is, that it does not count (neither), or what went wrong."""

    utilization: float | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """A mount point that was asked; ``since`` is on the monotonic clock."""

    since: float
    answer: "Future[Answer]"


class FilesystemProbe:
    """Look at the mount points of this machine.

    ``statvfs`` on a dead network mount never returns and cannot be cancelled. So each question has a daemon thread of
    its own; one that did not come back in time keeps its mount point out until it does, and is not asked a second time.
    """

    def __init__(
        self,
        mounts: Callable[[], Iterable[str]] | None = None,
        ask: Callable[[str], float | None] | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._mounts = mounts or list_mounts
        self._ask = ask or utilization
        self._patience_s = patience_s
        self._open: dict[str, Question] = {}

    async def read(self) -> FilesystemUse:
        """Ask all mount points at once; return after the patience at the latest, at once if all that hang are known."""
        try:
            mounts = await asyncio.to_thread(lambda: list(self._mounts()))
        except (psutil.Error, OSError, ValueError) as error:
            return FilesystemUse(error=f"this machine does not list them: {error}")
        questions = {mount: self._question(mount) for mount in mounts[:MAX_FILESYSTEMS]}
        await self._wait([question for question in questions.values() if self._is_young(question)])
        use = FilesystemUse()
        for mount, question in questions.items():
            self._note(use, mount, question)
        if len(mounts) > MAX_FILESYSTEMS:
            use.missing["others"] = f"there are {len(mounts)}, and {MAX_FILESYSTEMS} are looked at"
        return use

    @property
    def hanging(self) -> list[str]:
        """Return the mount points that were asked and have not answered."""
        return sorted(mount for mount, question in self._open.items() if not question.answer.done())

    def _question(self, mount: str) -> Question:
        """Return the question that is still open, or ask a new one."""
        question = self._open.get(mount)
        if question is None:
            question = self._open[mount] = Question(time.monotonic(), Future())
            # Running, so that nobody who stops waiting can cancel it: it must be known when the mount is back.
            question.answer.set_running_or_notify_cancel()
            thread = threading.Thread(target=self._answer, args=(mount, question), name=f"statvfs {mount}", daemon=True)
            thread.start()
        return question

    def _answer(self, mount: str, question: Question) -> None:
        try:
            answer = Answer(self._ask(mount))
        except Exception as error:  # noqa: BLE001 - it is the answer
            answer = Answer(error=str(error) or type(error).__name__)
        question.answer.set_result(answer)

    def _is_young(self, question: Question) -> bool:
        return time.monotonic() - question.since < self._patience_s

    async def _wait(self, questions: list[Question]) -> None:
        waiters = [asyncio.wrap_future(question.answer) for question in questions]
        if waiters:
            try:
                await asyncio.wait(waiters, timeout=self._patience_s)
            finally:
                for waiter in waiters:
                    waiter.cancel()  # an answer that comes after the loop has closed must find nobody to tell

    def _note(self, use: FilesystemUse, mount: str, question: Question) -> None:
        shown = os.fsencode(mount).decode("utf-8", "replace")  # Linux takes any bytes for a name, JSON does not
        if not question.answer.done():
            use.missing[shown] = f"it did not answer within {self._patience_s:g} s"
            return
        if self._open.get(mount) is question:
            del self._open[mount]
        answer = question.answer.result()
        if answer.error is not None:
            use.missing[shown] = f"it cannot be read: {answer.error}"
        elif answer.utilization is not None:
            use.utilization[shown] = answer.utilization


def list_mounts() -> list[str]:
    """Return the mount points worth watching: real, writable, each device once, the shortest path of it."""
    shortest: dict[str, str] = {}
    for part in sorted(psutil.disk_partitions(all=True), key=lambda part: (len(part.mountpoint), part.mountpoint)):
        if part.fstype in PSEUDO or "ro" in part.opts.split(","):
            continue
        if part.fstype == "overlay" and part.mountpoint != "/":
            continue
        shortest.setdefault(part.device, part.mountpoint)
    return list(shortest.values())


def utilization(mount: str) -> float | None:
    """Return which part of what users may have is used; None for what is no directory or has no size."""
    if not stat.S_ISDIR(Path(mount).stat().st_mode):  # a file that is mounted over: /etc/hosts in a container
        return None
    usage = psutil.disk_usage(mount)
    available = usage.used + usage.free  # without what is reserved for root, as df counts
    return usage.used / available if available else None
