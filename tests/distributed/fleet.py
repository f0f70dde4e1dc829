"""Real processes of the program on one real store, and what they wrote down."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support import wait_until_sync

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "src"
"""Processes run the program that these tests lie beside, wherever it is installed."""
ROUNDSMAN = Path(sys.executable).parent / "roundsman"
PATIENCE_S = 90.0
"""Far beyond any promise: the machine may be busy with other tests."""


@dataclass(frozen=True)
class Line:
    """One line of the ledger. ``at`` is the machine's clock (s), ``host_time`` what the process believed."""

    phase: str
    pid: int
    run_id: str
    job_id: str
    attempt: int
    missed: int
    fire_time: str
    token: str
    at: float
    host_time: float


class Member(subprocess.Popen[bytes]):
    """One process of a fleet; what it says goes into ``log``."""

    log: Path
    dismissed = False
    """Whether it was killed or asked to end: any other end is a failure."""

    def freeze(self) -> None:
        """Stop it where it stands."""
        self.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self.send_signal(signal.SIGCONT)

    @property
    def said(self) -> str:
        """What it has said so far."""
        return self.log.read_text()

    @property
    def address(self) -> str:
        """Where its API is; empty while it has not said so."""
        found = re.search(r"is at (http://\S+?)/ ", self.said)
        return found[1] if found else ""


class Fleet:
    """Start ``roundsman run`` as often as wanted, on one store; kill what is left at the end."""

    def __init__(
        self, redis_url: str, namespace: str, directory: Path, lease_s: float = 2.0, grace_s: float = 0.1
    ) -> None:
        self.ledger = directory / "ledger.jsonl"
        self._directory = directory
        self.processes: list[Member] = []
        self._lines: list[Line] = []
        self._read = 0
        self._environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ROUNDSMAN_")},
            "PYTHONPATH": f"{HERE}{os.pathsep}{SOURCES}",
            "LEDGER_FILE": str(self.ledger),
            "ROUNDSMAN_STORE__REDIS_URL": redis_url,
            "ROUNDSMAN_STORE__NAMESPACE": namespace,
            "ROUNDSMAN_BACKGROUND_JOBS__MODULES": '["ledger_jobs"]',
            "ROUNDSMAN_BACKGROUND_JOBS__CONTAINERS": '["ledger_jobs:Container"]',
            "ROUNDSMAN_BACKGROUND_JOBS__LEASE_S": str(lease_s),
            "ROUNDSMAN_BACKGROUND_JOBS__SHUTDOWN_GRACE_S": str(grace_s),
            "ROUNDSMAN_MONITORING__LOCAL_WORKER": "false",
            "ROUNDSMAN_SERVER__PORT": "0",
        }

    def start(self, role: str = "scheduler", redis_url: str = "", **environ: str) -> Member:
        """Start one more process, without waiting for it; ``redis_url`` is its own way to the store."""
        if redis_url:
            environ["ROUNDSMAN_STORE__REDIS_URL"] = redis_url
        path = self._directory / f"process{len(self.processes)}.log"
        with path.open("wb") as log:
            member = Member(
                [ROUNDSMAN, "run", "--role", role],
                cwd=self._directory,
                env={**self._environ, **environ},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        member.log = path
        self.processes.append(member)
        return member

    def kill(self, process: Member) -> None:
        """End a process without any last word."""
        process.dismissed = True
        process.kill()
        process.wait()

    def end(self, process: Member) -> int:
        """Ask a process to end and return its exit status."""
        process.dismissed = True
        process.send_signal(signal.SIGTERM)
        return process.wait(PATIENCE_S)

    def lines(self, phase: str | None = None) -> list[Line]:
        """Return the ledger so far."""
        if self.ledger.exists():
            with self.ledger.open("rb") as file:
                file.seek(self._read)
                whole, end, _ = file.read().rpartition(b"\n")  # the last line may be under way
            self._read += len(whole) + len(end)
            self._lines += [Line(**json.loads(line)) for line in whole.splitlines()]
        return [line for line in self._lines if phase in (None, line.phase)]

    def logs(self) -> str:
        """Return what all processes said."""
        return "\n".join(f"--- {member.log.stem} ({member.pid}):\n{member.said}" for member in self.processes)

    def fallen(self) -> list[Member]:
        """Return the processes that ended though nobody asked them to."""
        return [member for member in self.processes if not member.dismissed and member.poll() is not None]

    def close(self) -> None:
        """Kill what is left."""
        for process in self.processes:
            if process.poll() is None:
                process.thaw()
                self.kill(process)

    def wait(self, condition: Any, what: str) -> Any:
        """Wait for a condition; on failure show the logs."""
        try:
            return wait_until_sync(condition, what, PATIENCE_S)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.logs()}") from error


@contextmanager
def running_fleet(redis_url: str, namespace: str, directory: Path, **options: Any) -> Iterator[Fleet]:
    """Yield a fleet and end it."""
    fleet = Fleet(redis_url, namespace, directory, **options)
    try:
        yield fleet
    finally:
        fleet.close()
