"""A place for one process of a chaos run, whatever becomes of the processes in it."""

import asyncio
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

from fault_proxy import FaultProxy
from infrastructure.cli.errors import RUNS_LEFT

ROUNDSMAN = Path(sys.executable).parent / "roundsman"
PATIENCE_S = 60.0
"""How long a process may take to end when asked, and everything to be well again at the end."""


class Slot:
    """A place for one process: the process that is in it, and the proxy between it and the store."""

    def __init__(self, name: str, proxy: FaultProxy, directory: Path, environ: dict[str, str]) -> None:
        self.name = name
        self.proxy = proxy
        self._directory = directory
        self._environ = environ
        self._lives = 0
        self._asked_to_end = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.ended_unasked: list[str] = []
        self.ended_badly: list[str] = []

    def start(self) -> None:
        """Start a process, unless there is one."""
        if self.process is not None:
            return
        self._lives += 1
        self._asked_to_end = 0
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [ROUNDSMAN, "run", "--role", "scheduler"],
                cwd=self._directory,
                env={**self._environ, "ROUNDSMAN_STORE__REDIS_URL": self.proxy.url},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def kill(self) -> None:
        """End the process without any last word."""
        if self.process is not None:
            self._asked_to_end += 1
            self.process.kill()
            self.process.wait()
            self.process = None

    async def terminate(self) -> None:
        """Ask the process to end and wait until it has; one that does not is killed and noted."""
        process = self.process
        if process is None:
            return
        self._asked_to_end += 1
        process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE_S
        while process.poll() is None and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        if process is not self.process:
            return  # killed meanwhile
        if process.poll() is None:
            self.ended_badly.append(f"{self.name} (pid {process.pid}) did not end within {PATIENCE_S:g} s of SIGTERM")
            self.kill()
        elif not self._ended_well(process.returncode):
            self.ended_badly.append(
                f"{self.name} (pid {process.pid}) ended with {process.returncode} on SIGTERM: {self._last_words()}"
            )
        self.process = None

    def _ended_well(self, status: int) -> bool:
        """Tell whether an exit status is as promised: who had hardly begun, or was asked twice, ends on the spot.

        Who was cut off when asked says that the store did not hear of everything.
        """
        hurried = self._asked_to_end > 1 or not self._log.stat().st_size
        return status in (0, RUNS_LEFT) or (hurried and status == -signal.SIGTERM)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if there is a process."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def look_after(self) -> None:
        """Start a process anew that ended by itself, as any supervisor does, and note that it did."""
        process = self.process
        if process is not None and process.poll() is not None and not self._asked_to_end:
            words = self._last_words()
            self.ended_unasked.append(f"{self.name} (pid {process.pid}) ended with {process.returncode}: {words}")
            self.process = None
            self.start()

    @property
    def pid(self) -> int:
        """The id of the process, 0 when there is none."""
        return self.process.pid if self.process is not None else 0

    @property
    def _log(self) -> Path:
        return self._directory / f"{self.name}-{self._lives}.log"

    def errors(self) -> list[str]:
        """Return the errors that were logged with a traceback: the program did not foresee them, whatever broke."""
        found = []
        for path in self._directory.glob(f"{self.name}-*.log"):
            lines = path.read_text(errors="replace").splitlines()
            for line, following in pairwise(lines):
                if " ERROR " in line and "Traceback (most recent call last)" in following:
                    found.append(f"{path.name}: {line}")
        return found

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()
        return lines[-1].strip() if lines else "(it said nothing)"
