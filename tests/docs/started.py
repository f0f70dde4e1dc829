"""The program, as a page starts it: ``roundsman run`` in a shell of the reader's."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from cli_support import environment, roundsman
from support import wait_until_sync

PATIENCE_S = 60.0
SETTINGS = {
    "SERVER__PORT": "0",
    "MONITORING__INTERVAL_S": "0.5",
    "BACKGROUND_JOBS__LEASE_S": "1",
    "BACKGROUND_JOBS__SHUTDOWN_GRACE_S": "0",
}
"""Of a program that a page starts: nothing but pace and port."""


def shell_environment(home: Path, url: str = "") -> dict[str, str]:
    """Return what the reader's shell has."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    own = {f"ROUNDSMAN_{name}": value for name, value in SETTINGS.items()}
    return environment(url or None, {**own, "PATH": path, "HOME": str(home)})


class Started:
    """A program in ``directory``, started by a command of a page, and ended by whoever made this."""

    def __init__(self, directory: Path, command: str, **environ: str) -> None:
        self._log = directory / "program.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["bash", "-c", f"exec env {command}"],
                cwd=directory,
                env=shell_environment(directory) | environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            self.url = wait_until_sync(self._address, "the program's address", PATIENCE_S)
        except BaseException:
            self.end(signal.SIGKILL)
            raise

    @property
    def said(self) -> str:
        """What it has written."""
        return self._log.read_text()

    def end(self, number: int = signal.SIGTERM) -> None:
        """Send a signal and wait for the end; kill it if that does not come."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        try:
            self._process.wait(PATIENCE_S)
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()

    def _address(self) -> str:
        assert self._process.poll() is None, self.said
        found = re.search(r"is at (http://\S+?)/ ", self.said)
        return found[1] if found else ""


class Guide:
    """The one program that all pages mean which start none; made when the first of them needs it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._started: Started | None = None

    @property
    def url(self) -> str:
        """Return its address."""
        if self._started is None:
            modules = {
                "ROUNDSMAN_BACKGROUND_JOBS__MODULES": '["document_jobs"]',
                "PYTHONPATH": str(Path(__file__).parent),
            }
            self._started = Started(self._directory, "roundsman run", **modules)
            made = roundsman(
                "schedules", "add", "Nightly", "--id", "nightly", "--interval", "0.5s", url=self._started.url
            )
            assert made.status == 0, made.err
        return self._started.url

    def end(self) -> None:
        """End it, if it was made."""
        if self._started is not None:
            self._started.end()
