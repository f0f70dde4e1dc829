"""Real processes of the program on one real store, and what they wrote down."""

import json
import os
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
ROUNDSMAN = Path(sys.executable).parent / "roundsman"


@dataclass(frozen=True)
class Line:
    """One line of the ledger."""

    phase: str
    pid: int
    run_id: str
    job_id: str
    attempt: int
    missed: int
    fire_time: str


class Fleet:
    """Start ``roundsman run --role scheduler`` as often as wanted; kill what is left at the end."""

    def __init__(self, redis_url: str, namespace: str, directory: Path, lease_s: float = 2.0) -> None:
        self._ledger = directory / "ledger.jsonl"
        self._directory = directory
        self.processes: list[subprocess.Popen[bytes]] = []
        self._environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ROUNDSMAN_")},
            "PYTHONPATH": str(HERE),
            "LEDGER_FILE": str(self._ledger),
            "ROUNDSMAN_STORE__REDIS_URL": redis_url,
            "ROUNDSMAN_STORE__NAMESPACE": namespace,
            "ROUNDSMAN_BACKGROUND_JOBS__MODULES": '["ledger_jobs"]',
            "ROUNDSMAN_BACKGROUND_JOBS__CONTAINERS": '["ledger_jobs:Container"]',
            "ROUNDSMAN_BACKGROUND_JOBS__LEASE_S": str(lease_s),
            "ROUNDSMAN_BACKGROUND_JOBS__SHUTDOWN_GRACE_S": "0.1",
            "ROUNDSMAN_MONITORING__LOCAL_WORKER": "false",
        }

    def start(self, **environ: str) -> "subprocess.Popen[bytes]":
        """Start one more process, without waiting for it."""
        log = (self._directory / f"process{len(self.processes)}.log").open("wb")
        process = subprocess.Popen(
            [ROUNDSMAN, "run", "--role", "scheduler"],
            cwd=self._directory,
            env={**self._environ, **environ},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        log.close()
        self.processes.append(process)
        return process

    def kill(self, process: "subprocess.Popen[bytes]") -> None:
        """End a process without any last word."""
        process.kill()
        process.wait()

    def end(self, process: "subprocess.Popen[bytes]") -> int:
        """Ask a process to end and return its exit status."""
        process.send_signal(signal.SIGTERM)
        return process.wait(30)

    def lines(self, phase: str | None = None) -> list[Line]:
        """Return the ledger so far."""
        if not self._ledger.exists():
            return []
        found = [Line(**json.loads(line)) for line in self._ledger.read_text().splitlines()]
        return [line for line in found if phase in (None, line.phase)]

    def logs(self) -> str:
        """Return what all processes said."""
        return "\n".join(path.read_text() for path in sorted(self._directory.glob("process*.log")))

    def close(self) -> None:
        """Kill what is left."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                self.kill(process)

    def wait(self, condition: Any, what: str) -> Any:
        """Wait for a condition; on failure show the logs."""
        try:
            return wait_until_sync(condition, what, 90)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.logs()}") from error


@contextmanager
def running_fleet(redis_url: str, namespace: str, directory: Path) -> Iterator[Fleet]:
    """Yield a fleet and end it."""
    fleet = Fleet(redis_url, namespace, directory)
    try:
        yield fleet
    finally:
        fleet.close()
