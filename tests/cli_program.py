"""The whole program as a process, started by its own command line."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from cli_support import Outcome, environment, roundsman
from support import wait_until_sync

TESTS = Path(__file__).parent
EXECUTABLE = Path(sys.executable).with_name("roundsman")


def call(*args: str, env: dict[str, str] | None = None) -> Outcome:
    """Run the installed ``roundsman`` in a process of its own."""
    found = subprocess.run(
        [EXECUTABLE, *args], env=environment(extra=env), stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    return Outcome(found.returncode, found.stdout.decode(), found.stderr.decode())


class Program:
    """``roundsman run`` on a free port, over the store that the test brings."""

    def __init__(
        self, directory: Path, redis_url: str, namespace: str, keys: dict[str, str] | None = None, **environ: str
    ) -> None:
        self._log = directory / "program.log"
        api_keys = [{"name": role, "role": role, "key": key} for role, key in (keys or {}).items()]
        settings = {
            "ROUNDSMAN_STORE__REDIS_URL": redis_url,
            "ROUNDSMAN_STORE__NAMESPACE": namespace,
            "ROUNDSMAN_BACKGROUND_JOBS__MODULES": json.dumps(["cli_jobs"]),
            "ROUNDSMAN_SERVER__API_KEYS": json.dumps(api_keys),
            "PYTHONPATH": str(TESTS),
            **environ,
        }
        self._env = environment(extra=settings)
        self._args = [EXECUTABLE, "run", "--port", "0", "--data-dir", str(directory / "var")]
        self.url = ""
        self.statuses: tuple[int, ...] = (os.EX_OK,)
        """With what it may end."""

    def __enter__(self) -> "Program":
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._args, env=self._env, cwd=self._log.parent, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            self.url = wait_until_sync(self._address, "the program's address")
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        assert status in self.statuses, self._log.read_text()

    def __call__(self, *args: str, key: str = "", **options: Any) -> Outcome:
        """Run one command against it."""
        return roundsman(*args, url=self.url, env={"ROUNDSMAN_API_KEY": key}, **options)

    def json(self, *args: str) -> Any:
        """Run a command that must succeed, with ``--json``, and return what it printed."""
        found = self(*args, "--json")
        assert (found.status, found.err) == (0, "")
        return found.json

    def _address(self) -> str:
        log = self._log.read_text()
        assert self._process.poll() is None, log
        found = re.search(r"is at (http://\S+?)/ ", log)
        return found[1] if found else ""
