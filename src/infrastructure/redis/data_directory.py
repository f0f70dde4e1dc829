"""Own a data directory: one program at a time, one server at a time, and a socket in reach."""

import errno
import fcntl
import hashlib
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from infrastructure.redis.errors import DataDirectoryInUse, DataDirectoryIsFile, DataDirectoryUnusable, DataDiskFull

LOCK_POLL_S = 0.02
ROOM_BYTES = 64 * 1024
"""A server that begins anew writes less than this."""
OWNER_PATIENCE_S = 1.0
"""A killed program needs a moment to die, and whoever restarts it should not lose that race."""


class DataDirectory:
    """The folder ``valkey`` under the program's data directory: append-only file, log, locks, socket.

    Two locks, both by ``flock``, so that the kernel drops them with their holder, whatever kills it:

    - ``owner.lock`` is held by the program. Who finds it taken is a second program, and is refused.
    - ``server.lock`` is inherited by the server. It may outlive the owner while an orphan ends; so it is waited
      for.
    """

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.absolute()
        self.path = self.data_dir / "valkey"
        self.log = self.path / "valkey.log"
        self._owner_fd: int | None = None
        self._private_dir: Path | None = None

    def acquire(self) -> None:
        """Make the directory and become its owner.

        Raises ``DataDirectoryUnusable`` when it cannot be made or written, ``DataDirectoryInUse`` with the pid of the
        program that has it; then nothing in it was touched.
        """
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            self.path.mkdir(mode=0o700, exist_ok=True)
            self._owner_fd = self._wait_for("owner.lock", OWNER_PATIENCE_S)
            _write_pid(self._owner_fd, os.getpid())
        except OSError as error:
            raise self.unusable(error) from error

    def release(self) -> None:
        """Give the directory up; twice is fine."""
        private_dir, self._private_dir = self._private_dir, None
        if private_dir is not None:
            shutil.rmtree(private_dir, ignore_errors=True)
        fd, self._owner_fd = self._owner_fd, None
        if fd is not None:
            # Unlocked by name, not only closed: a forked child may hold a copy of the descriptor.
            fcntl.flock(fd, fcntl.LOCK_UN)
            os.close(fd)

    def server_lock(self, patience_s: float, give_up: Callable[[], bool]) -> int:
        """Return a locked descriptor for the server to inherit; wait for one that an ending orphan still holds.

        Raises ``DataDirectoryInUse`` with the pid of the server that would not end.
        """
        try:
            return self._wait_for("server.lock", patience_s, give_up)
        except OSError as error:
            raise self.unusable(error) from error

    def _wait_for(self, name: str, patience_s: float, give_up: Callable[[], bool] = lambda: False) -> int:
        path, end = self.path / name, time.monotonic() + patience_s
        while (fd := _lock(path)) is None:
            if time.monotonic() > end or give_up():
                raise DataDirectoryInUse(data_dir=self.data_dir, pid=_pid_in(path))
            time.sleep(LOCK_POLL_S)
        return fd

    def place_socket(self) -> Path:
        """Return a path at which a unix socket can be bound, with nothing there; only this user can reach it.

        It is in the directory itself, unless that is too deep for a socket (108 bytes) or on a file system without
        them: then in a private directory under the temporary one, removed by ``release``.
        """
        for path in self._socket_candidates():
            why = _try_bind(path)
            if why is None:
                self._private_dir = path.parent if path.parent != self.path else None
                return path
            if path.parent != self.path:
                path.parent.rmdir()
        raise DataDirectoryUnusable(
            data_dir=self.data_dir, why=f"no unix socket can be made there or in a temporary directory ({why})"
        )

    def _socket_candidates(self) -> Iterator[Path]:
        yield self.path / "valkey.sock"
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]
        for base in dict.fromkeys((tempfile.gettempdir(), "/tmp")):  # noqa: S108 - short where TMPDIR is deep
            if private := _private_dir(Path(base), f"roundsman-{os.geteuid()}-{digest}"):
                yield private / "valkey.sock"

    def rotate_log(self, keep_bytes: int) -> None:
        """Set a log beyond ``keep_bytes`` aside as ``valkey.log.1``, replacing the one before."""
        if self.log.exists() and self.log.stat().st_size > keep_bytes:
            self.log.replace(self.log.with_suffix(".log.1"))

    def unusable(self, error: OSError) -> DataDirectoryUnusable:
        """Return what the system's error means for whoever chose the directory."""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return DataDiskFull(data_dir=self.data_dir, why=error.strerror)
        if isinstance(error, FileExistsError | NotADirectoryError):
            for path in (self.path, *self.path.parents):
                if path.exists() and not path.is_dir():
                    return DataDirectoryIsFile(data_dir=self.data_dir, file=path)
                if path.is_symlink() and not path.exists():
                    return DataDirectoryUnusable(data_dir=self.data_dir, why=f"{path} is a link to nothing")
        return DataDirectoryUnusable(data_dir=self.data_dir, why=error.strerror or str(error))

    @property
    def is_full(self) -> bool:
        """Whether its disk has no room worth the name."""
        try:
            return shutil.disk_usage(self.data_dir).free < ROOM_BYTES
        except OSError:
            return False


def record_server(lock_fd: int, pid: int) -> None:
    """Note the server's pid in its lock file, for whoever finds it taken."""
    _write_pid(lock_fd, pid)


def _lock(path: Path) -> int | None:
    """Open and lock ``path``; None when somebody else holds the lock."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return None
        raise
    return fd


def _write_pid(fd: int, pid: int) -> None:
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{pid}\n".encode(), 0)


def _pid_in(path: Path) -> str:
    return path.read_text(errors="replace").strip() or "unknown"


def _try_bind(path: Path) -> str | None:
    """Bind a socket at ``path`` and take it away again; return what is wrong, or None. A stale one is removed first."""
    try:
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as probe:
            probe.bind(os.fspath(path))
        path.unlink()
    except OSError as error:
        return str(error)
    return None


def _private_dir(base: Path, name: str) -> Path | None:
    """Make or reuse a directory that is ours alone; None when it cannot be had."""
    path = base / name
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
        if found.st_uid == os.geteuid() and found.st_mode & 0o170777 == 0o040700:
            return path
        return Path(tempfile.mkdtemp(prefix="roundsman-", dir=base))
    except OSError:
        return None
