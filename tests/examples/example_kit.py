"""The example projects, as their readers use them: copied somewhere, and started by the commands of the documents."""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx2

from cli_support import environment
from support import NO_AUTHORITIES, wait_until_sync

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
PATIENCE_S = 60.0
ADDRESS = re.compile(r"(?:running on|Listening at:|is at) (http://127\.0\.0\.1:\d+)")


def documented(command: str, *documents: str) -> list[str]:
    """Return a command as a list, with the port free to choose; fail when a document does not have it."""
    for document in documents:
        assert command in (ROOT / document).read_text(), f"{document} does not say: {command}"
    return shlex.split(command.replace("8000", "0"))


class Project:
    """A copy of one example, and the server that runs it. It can be started again and again."""

    def __init__(self, name: str, directory: Path, **environ: str) -> None:
        self.directory = directory / name
        shutil.copytree(ROOT / "examples" / name, self.directory, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        path = os.pathsep.join([str(BIN), os.environ.get("PATH", "")])
        self.environ = {"PATH": path, "PYTHONUNBUFFERED": "1", **environ}
        self._log = self.directory / "output.log"
        self._log.touch()
        self._read = 0
        self._process: subprocess.Popen[bytes] | None = None
        # One connection a request: workers come and go.
        self.http = httpx2.Client(trust_env=False, timeout=60, verify=NO_AUTHORITIES, headers={"Connection": "close"})

    def run(self, *command: str) -> str:
        """Run a command to its end; return what it says. It must succeed."""
        done = subprocess.run(
            command, cwd=self.directory, env=environment(extra=self.environ), capture_output=True, text=True, timeout=90
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def begin(self, command: list[str]) -> "subprocess.Popen[bytes]":
        """Start a server, waiting for nothing; in a session of its own, as a terminal would."""
        self._read = len(self._log.read_text())
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [BIN / command[0], *command[1:]],
                cwd=self.directory,
                env=environment(extra=self.environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self._process

    def start(self, command: list[str]) -> "Project":
        """Start a server and return when it takes connections where it says it is."""
        self.begin(command)
        self.http.base_url = wait_until_sync(self._address, "the server's address", PATIENCE_S)
        self.wait(self._listens, "the server to take connections")
        return self

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The server's process, or that of its workers' parent."""
        assert self._process is not None
        return self._process

    @property
    def said(self) -> str:
        """What the server of this life has written."""
        return self._log.read_text()[self._read :]

    def call(self, method: str, path: str, status: int, body: Any = None) -> Any:
        """Send a request that must be answered with this status; return the body."""
        response = self.http.request(method, path, **({} if body is None else {"json": body}))
        assert response.status_code == status, f"{method} {path}: {response.status_code} {response.text}\n{self.said}"
        return response.json() if response.content else None

    def wait(self, condition: Any, what: str) -> Any:
        """Wait for a condition; show what the server said if it does not come."""
        try:
            return wait_until_sync(condition, what, PATIENCE_S)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.said}") from error

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask the server to end, and return its exit status."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    def kill(self) -> None:
        """End it, and its workers, without a last word."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def _address(self) -> str:
        assert self.process.poll() is None, self.said
        found = ADDRESS.search(self.said)
        return found[1] if found else ""

    def _listens(self) -> bool:
        assert self.process.poll() is None, self.said
        assert self.http.base_url.port is not None
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.http.base_url.port)) == 0

    def __enter__(self) -> "Project":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.close()
        if self._process is not None:
            self.kill()
