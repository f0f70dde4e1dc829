"""The whole program as a process, as somebody starts it who has just installed it: nothing but an empty directory."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx2
import psutil

from cli_support import environment
from conftest import servers_below
from support import NO_AUTHORITIES, wait_until_sync

EXECUTABLE = Path(sys.executable).with_name("roundsman")
PATIENCE_S = 90.0
"""A start takes two seconds of this machine's time, and tests share the machine."""


class Roundsman:
    """``roundsman run`` in ``directory``, with its own embedded store there, on a free port.

    It can be started again and again; whatever it says, in all its lives, is in ``said``.
    """

    def __init__(self, directory: Path, **environ: str) -> None:
        self.directory = directory
        self.environ = {"ROUNDSMAN_DATA_DIR": str(directory / "var"), **environ}
        self._log = directory / "output.log"
        self._log.touch()
        self._process: subprocess.Popen[bytes] | None = None
        self._read = 0
        self.http = httpx2.Client(trust_env=False, timeout=30, verify=NO_AUTHORITIES)

    def begin(self, *args: str) -> "subprocess.Popen[bytes]":
        """Start it, without waiting for anything; in a session of its own, as a terminal would."""
        self._read = len(self.said)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [EXECUTABLE, "run", "--port", "0", *args],
                cwd=self.directory,
                env=environment(extra=self.environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self._process

    def start(self, *args: str, **environ: str) -> "Roundsman":
        """Start it, with some other settings than before, and return when it says where it is."""
        self.environ |= environ
        self.begin(*args)
        self.http.base_url = wait_until_sync(self._address, "the program's address", PATIENCE_S)
        return self

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The process of this life."""
        assert self._process is not None
        return self._process

    @property
    def said(self) -> str:
        """What it has written so far, to stdout and to stderr."""
        return self._log.read_text()

    @property
    def server(self) -> psutil.Process:
        """Its Valkey server."""
        (server,) = servers_below(self.directory)
        return server

    def interrupt(self, number: int = signal.SIGINT) -> int:
        """Do what Ctrl-C does, to all processes of the session, and return the exit status."""
        os.killpg(self.process.pid, number)
        return self.process.wait(PATIENCE_S)

    def kill(self) -> None:
        """End it without a last word, and nothing but it."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Leave nothing behind, however the test went."""
        self.http.close()
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def call(self, method: str, path: str, status: int, body: Any = None) -> Any:
        """Call the API, which must answer with this status; return the body."""
        response = self.http.request(method, f"/api/v1{path}", **({} if body is None else {"json": body}))
        assert response.status_code == status, f"{method} {path}: {response.status_code} {response.text}\n{self.said}"
        return response.json() if response.content else None

    def get(self, path: str, status: int = 200) -> Any:
        """Read from the API."""
        return self.call("GET", path, status)

    def health(self) -> tuple[int, Any]:
        """Return status and body of the readiness probe."""
        response = self.http.get("/health/ready")
        return response.status_code, response.json()

    def wait(self, condition: Any, what: str) -> Any:
        """Wait for a condition; show what the program said if it does not come."""
        try:
            return wait_until_sync(condition, what, PATIENCE_S)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.said}") from error

    def _address(self) -> str:
        said = self.said[self._read :]
        assert self.process.poll() is None, said
        found = re.search(r"is at (http://\S+?)/ ", said)
        return found[1] if found else ""

    def __enter__(self) -> "Roundsman":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def assert_ended_cleanly(program: Roundsman, status: int) -> None:
    """Fail unless it ended as it should: status 0, no traceback, its server gone before it."""
    assert status == 0, program.said
    assert "Traceback" not in program.said
    assert servers_below(program.directory) == []
