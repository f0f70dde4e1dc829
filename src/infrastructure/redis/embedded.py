"""Bring our own Valkey server, durable under the data directory."""

import asyncio
import secrets
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from infrastructure.redis.binary import find_allocator, find_server_binary
from infrastructure.redis.data_directory import DataDirectory
from infrastructure.redis.server_process import Durability, ServerPlan, ServerProcess
from infrastructure.redis.supervisor import Supervisor

SILENT_GRACE_S = 0.5
"""How long a server that did not answer before it was asked to end may take."""


class EmbeddedValkey:
    """A hosted service: one Valkey server that lives and dies with this process, and whose data outlives both.

    It listens on a unix socket that only this user reaches, with a password that is new at each start. A server that
    dies by itself is restarted at the same place with the same password. ``start`` and ``stop`` have blocking twins,
    ``open`` and ``close``. A second start or stop does nothing; what was stopped can start again.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        durability: Durability = "everysec",
        start_timeout_s: float = 10.0,
        stop_grace_s: float = 10.0,
        orphan_patience_s: float = 5.0,
    ) -> None:
        """Own ``data_dir/valkey``.

        ``durability`` is when a write reaches the disk: ``everysec``, or ``always`` before it is answered.
        ``start_timeout_s`` does not count while the server says that it is loading its data. ``orphan_patience_s`` is
        how long to wait for the server of a program that was killed a moment ago.
        """
        self._directory = DataDirectory(data_dir)
        self._durability: Durability = durability
        self._start_timeout_s = start_timeout_s
        self._stop_grace_s = stop_grace_s
        self._orphan_patience_s = orphan_patience_s
        self._plan: ServerPlan | None = None
        self._supervisor: Supervisor | None = None

    def __repr__(self) -> str:
        return f"EmbeddedValkey({str(self._directory.data_dir)!r}, {self.state})"

    @property
    def state(self) -> str:
        """``stopped``, ``starting``, ``running``, ``restarting``, or ``failed: why`` (it is still retried, slowly)."""
        return self._supervisor.state if self._supervisor else "stopped"

    @property
    def url(self) -> str:
        """The URL for clients, with the password: never log it. Known once started."""
        plan = self._started_plan()
        return f"unix://:{plan.password}@{quote(str(plan.socket_path))}?db=0"

    @property
    def socket_path(self) -> Path:
        """Where the server listens; known once started."""
        return self._started_plan().socket_path

    @property
    def pid(self) -> int:
        """The server's process id; a restart changes it."""
        if self._supervisor is None or self._supervisor.server is None:
            raise RuntimeError("the embedded Valkey is not started")
        return self._supervisor.server.pid

    async def start(self) -> None:
        """Return when the server answers; its errors are those of ``open``. Cancelled, it leaves nothing behind."""
        opening = asyncio.ensure_future(asyncio.to_thread(self.open))
        try:
            await asyncio.shield(opening)
        except asyncio.CancelledError:
            await asyncio.to_thread(self.close)
            await asyncio.gather(opening, return_exceptions=True)
            # Once more: the thread may have got as far as launching only after the first.
            await asyncio.to_thread(self.close)
            raise

    async def stop(self, *, is_silent: bool = False) -> None:
        """Write everything to disk and end the server; return when it has ended.

        One that ``is_silent`` does not hear that it is asked, and is killed soon: what it has answered is in its file.
        """
        await asyncio.to_thread(self.close, is_silent=is_silent)

    def open(self) -> None:
        """Start, blocking.

        Raises ``DataDirectoryInUse``, ``DataDirectoryUnusable`` (``DataDiskFull`` is one), ``DataUnreadable``,
        ``NoServerBinary`` or ``EmbeddedServerFailed``; then nothing is left running.
        """
        if self._supervisor is not None:
            return
        binary = find_server_binary()
        self._directory.acquire()
        try:
            self._plan = self._new_plan(binary)
            self._supervisor = Supervisor(self._launch)
            self._supervisor.start()
        except OSError as error:
            self.close()
            raise self._directory.unusable(error) from error
        except BaseException:
            self.close()
            raise

    def close(self, *, is_silent: bool = False) -> None:
        """Stop, blocking."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.stop(min(SILENT_GRACE_S, self._stop_grace_s) if is_silent else self._stop_grace_s)
        self._plan = None
        self._directory.release()

    def _new_plan(self, binary: Path) -> ServerPlan:
        return ServerPlan(
            directory=self._directory,
            binary=binary,
            socket_path=self._directory.place_socket(),
            password=secrets.token_hex(24),
            durability=self._durability,
            start_timeout_s=self._start_timeout_s,
            orphan_patience_s=self._orphan_patience_s,
            allocator=find_allocator(),
        )

    def _launch(self, give_up: Callable[[], bool]) -> ServerProcess:
        return ServerProcess(self._started_plan(), give_up)

    def _started_plan(self) -> ServerPlan:
        if self._plan is None:
            raise RuntimeError("the embedded Valkey is not started")
        return self._plan
