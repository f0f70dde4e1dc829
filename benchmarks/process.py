"""One contestant in a process of its own, spoken to in lines of JSON."""

import asyncio
import json
import os
import tempfile
import time
from types import TracebackType
from typing import Any

from benchmarks.contestants.interface import Case
from benchmarks.contestants.jobs.interface import JobCase
from benchmarks.peers import ROOT, python_of

LONGEST_S = 300.0
"""No step of a contestant may take longer than this."""


class ContestantFailed(Exception):
    """A contestant ended, or said nothing for too long."""


class ContestantProcess:
    """Start a contestant, speak with it, and end it in any case."""

    module = "benchmarks.contestants.run"

    def __init__(self, case: Case | JobCase) -> None:
        self.case = case
        self.spawned = 0.0
        """When it was started, Unix seconds."""
        self.facts: dict[str, str] = {}

    async def __aenter__(self) -> "ContestantProcess":
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed on exit
        command = ("-m", self.module, json.dumps(self.case.__dict__))
        self.spawned = time.time()
        self._process = await asyncio.create_subprocess_exec(
            str(python_of(self.case.contestant)),
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=self._stderr,
            limit=64 * 2**20,
            cwd=ROOT,
            start_new_session=True,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )
        self.facts = (await self.expect("opened"))["facts"]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        self._stderr.close()

    async def tell(self, **facts: Any) -> None:
        """Say one line."""
        assert self._process.stdin is not None
        self._process.stdin.write((json.dumps(facts) + "\n").encode())
        await self._process.stdin.drain()

    def kill(self) -> None:
        """End it without a word."""
        self._process.kill()

    async def expect(self, event: str) -> dict[str, Any]:
        """Return its next line, which must be ``event``."""
        assert self._process.stdout is not None
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), LONGEST_S)
        except TimeoutError:
            raise ContestantFailed(f"{self.case.contestant} did not say '{event}' within {LONGEST_S:g} s") from None
        if not line:
            raise ContestantFailed(f"{self.case.contestant} ended before '{event}':\n{self.last_words()}")
        heard: dict[str, Any] = json.loads(line)
        if heard["event"] != event:
            raise ContestantFailed(f"{self.case.contestant} said {heard['event']!r} and not '{event}'")
        return heard

    def last_words(self) -> str:
        """Return the end of what it wrote to stderr: what peers log when they cannot keep up."""
        self._stderr.seek(0)
        return self._stderr.read().decode(errors="replace")[-2000:]

    async def add(self, base_ms: int) -> float:
        """Let it add its schedules; return how long that took, s."""
        await self.tell(base_ms=base_ms)
        return float((await self.expect("added"))["seconds"])

    async def begin(self, begin: float, end: float) -> None:
        """Let it start, and measure from ``begin`` to ``end`` (Unix seconds)."""
        await self.tell(begin=begin, end=end)
