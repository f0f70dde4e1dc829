"""Run one life of the Valkey server: configure, launch, wait until it answers, end it."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from domain.errors import RoundsmanError
from infrastructure.redis.binary import platform_name
from infrastructure.redis.data_directory import DataDirectory, record_server
from infrastructure.redis.errors import DataDiskFull, DataUnreadable, EmbeddedServerFailed, NoServerBinary

Durability = Literal["everysec", "always"]

SHIM = Path(__file__).with_name("launch_shim.py")
READY_POLL_S = 0.005
PROBE_TIMEOUT_S = 1.0
KEEP_LOG_BYTES = 1_000_000
LISTPACK_ENTRIES = 64
"""A hash or sorted set of more is a table. The server's own limits, 512 and 128, spare memory; but up to them a read or
a write goes through half of all entries, and what is open or leased is read and written with each run."""
TAIL_LINES = 6
UNREADABLE = re.compile(r"AOF|append.?only|RDB|manifest|short read", re.IGNORECASE)
NO_ROOM = re.compile(r"No space left on device|Disk quota exceeded")
NOT_FOR_HERE = re.compile(r"cannot run .*|.*version `GLIBC.*|.*error while loading shared libraries.*")
"""What the shim, or the system's loader, says of a binary made for another platform."""
DATA_FILE = re.compile(r"appendonly\.aof\.[\w.]+")


@dataclass(frozen=True)
class ServerPlan:
    """Everything that one life of the server needs; the same for each restart, so that clients find it again."""

    directory: DataDirectory
    binary: Path
    socket_path: Path
    password: str = field(repr=False)
    durability: Durability
    start_timeout_s: float
    orphan_patience_s: float
    use_watchdog: bool = not sys.platform.startswith("linux")
    allocator: Path | None = None
    """A library that is loaded before the C library's, so that the server allocates with it."""

    def environment(self) -> dict[str, str]:
        """Return the server's environment. An allocator that somebody preloads already stays the only one."""
        ours = {"LD_PRELOAD": os.fspath(self.allocator)} if self.allocator else {}
        return {**ours, **os.environ}

    def config(self) -> bytes:
        """Return the configuration, as the server reads it from its standard input."""
        options: list[tuple[str, str | os.PathLike[str]]] = [
            ("port", "0"),
            ("unixsocket", self.socket_path),
            ("unixsocketperm", "700"),
            ("requirepass", self.password),
            ("dir", self.directory.path),
            ("logfile", self.directory.log),
            ("loglevel", "notice"),
            ("appendonly", "yes"),
            ("appendfsync", self.durability),
            ("aof-load-truncated", "yes"),
            ("save", ""),
            ("maxmemory-policy", "noeviction"),
            ("hash-max-listpack-entries", str(LISTPACK_ENTRIES)),
            ("zset-max-listpack-entries", str(LISTPACK_ENTRIES)),
            ("daemonize", "no"),
        ]
        return b"".join(name.encode() + b" " + _quoted(value) + b"\n" for name, value in options)


class ServerProcess:
    """A launched server; its launcher's thread must outlive it (on Linux the server ends with that thread)."""

    def __init__(self, plan: ServerPlan, give_up: Callable[[], bool]) -> None:
        """Launch; raises ``DataDirectoryInUse`` when another server keeps the directory, ``OSError`` if exec fails."""
        self._plan = plan
        self._give_up = give_up
        plan.directory.rotate_log(KEEP_LOG_BYTES)
        self._log_start = plan.directory.log.stat().st_size if plan.directory.log.exists() else 0
        self._watch_fd: int | None = None
        self._process = self._launch()
        self.pid = self._process.pid
        self.launched_at = time.monotonic()

    def _launch(self) -> "subprocess.Popen[bytes]":
        lock_fd = self._plan.directory.server_lock(self._plan.orphan_patience_s, self._give_up)
        watch_fd, self._watch_fd = os.pipe() if self._plan.use_watchdog else (-1, None)
        mode = "watchdog" if self._plan.use_watchdog else "deathsig"
        shim = [sys.executable, "-I", "-S", str(SHIM), mode, str(os.getpid()), str(watch_fd)]
        try:
            with self._plan.directory.log.open("ab") as log:
                process = subprocess.Popen(  # noqa: S603 - our own shim and binary, no shell
                    # The port again, for the case that the configuration never arrives: its default is an open one.
                    [*shim, str(self._plan.binary), "-", "--port", "0"],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=[fd for fd in (lock_fd, watch_fd) if fd >= 0],
                    start_new_session=True,
                    cwd="/",
                    env=self._plan.environment(),
                )
            record_server(lock_fd, process.pid)
        finally:
            os.close(lock_fd)
            if watch_fd >= 0:
                os.close(watch_fd)
        _feed(process, self._plan.config())
        return process

    def wait_ready(self) -> None:
        """Return when the server answers; a server that is loading its data is waited for as long as it says so.

        Raises ``DataUnreadable`` or ``EmbeddedServerFailed`` with the log's last lines; then the server has ended.
        """
        deadline = time.monotonic() + self._plan.start_timeout_s
        while (answer := self._ask()) != "ready":
            if self._process.poll() is not None:
                self._reap()
                raise self._failure()
            if answer == "loading":
                deadline = time.monotonic() + self._plan.start_timeout_s
            if time.monotonic() > deadline:
                self.kill()
                self.wait()
                raise self._failed(f"it did not answer within {self._plan.start_timeout_s:g} s")
            time.sleep(READY_POLL_S)

    def _ask(self) -> Literal["ready", "loading", "silent"]:
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(PROBE_TIMEOUT_S)
                probe.connect(os.fspath(self._plan.socket_path))
                probe.sendall(f"AUTH {self._plan.password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2 and (more := probe.recv(1024)):
                    answer += more
        except OSError:
            return "silent"
        return "ready" if b"+PONG" in answer else "loading" if b"-LOADING" in answer else "silent"

    def wait(self) -> int:
        """Block until the server has ended; return its exit status, negative for the signal that killed it."""
        status = self._process.wait()
        self._reap()
        return status

    def terminate(self) -> None:
        """Ask it to write everything to disk and end."""
        self._process.terminate()

    def kill(self) -> None:
        """End it now; what the append-only file has stays."""
        self._process.kill()

    def _reap(self) -> None:
        if self._watch_fd is not None:
            os.close(self._watch_fd)
            self._watch_fd = None

    def _failure(self) -> RoundsmanError:
        """Tell from the log why the server ended before it was ready."""
        tail, directory = self._log_tail(), self._plan.directory
        if (full := NO_ROOM.search(tail)) or (not tail and directory.is_full):
            return DataDiskFull(data_dir=directory.data_dir, why=full[0] if full else "not even its log can be written")
        if foreign := NOT_FOR_HERE.search(tail):
            return NoServerBinary(platform=platform_name(), why=foreign[0].strip())
        was_killed = self._process.returncode in (
            -signal.SIGKILL,
            -signal.SIGTERM,
        )  # and may have been loading just then
        if UNREADABLE.search(tail) and not was_killed:
            found = DATA_FILE.findall(tail)
            folder = directory.path / "appendonlydir"
            return DataUnreadable(file=folder / found[-1] if found else folder, log=directory.log, tail=tail)
        return self._failed(f"it ended with {describe_exit(self._process.returncode)}")

    def _failed(self, why: str) -> EmbeddedServerFailed:
        return EmbeddedServerFailed(why=why, log=self._plan.directory.log, tail=self._log_tail() or "(nothing)")

    def _log_tail(self) -> str:
        with self._plan.directory.log.open("rb") as log:
            log.seek(self._log_start)
            return "\n".join(log.read().decode(errors="replace").strip().splitlines()[-TAIL_LINES:])


def describe_exit(status: int) -> str:
    """Return an exit status in words."""
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


def _feed(process: "subprocess.Popen[bytes]", config: bytes) -> None:
    """Write the configuration; a process that died already is found out by its exit status."""
    assert process.stdin is not None  # noqa: S101 - Popen was given a pipe
    try:
        process.stdin.write(config)
        process.stdin.close()
    except BrokenPipeError:
        pass


def _quoted(value: str | os.PathLike[str]) -> bytes:
    """Quote a value for the configuration: whatever is not plain is written as an escaped byte."""
    plain = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+=:@,"
    return b'"' + b"".join(bytes([c]) if c in plain else b"\\x%02x" % c for c in os.fsencode(value)) + b'"'
