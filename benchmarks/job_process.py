"""One side of a contestant of the job benchmark, in a process of its own."""

import asyncio
import os
import signal
from contextlib import suppress
from types import TracebackType
from typing import Any

import psutil

from benchmarks.contestants.jobs.interface import JobCase
from benchmarks.process import ContestantProcess

ENDS_WITHIN_S = 10.0


class JobProcess(ContestantProcess):
    """A submitter, which hears what to do; or a worker, which is ended with all processes that it started."""

    module = "benchmarks.contestants.jobs.run"

    def __init__(self, case: JobCase) -> None:
        super().__init__(case)
        self._works = case.role == "work"

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and not self._works:
                await self.ask("close", expect="closed")
            elif self._process.returncode is None:
                self._process.terminate()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), ENDS_WITHIN_S)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await super().__aexit__(None, None, None)

    async def ask(self, do: str, expect: str, **facts: Any) -> dict[str, Any]:
        """Let a submitter do something, and return its answer."""
        await self.tell(do=do, **facts)
        return await self.expect(expect)

    @property
    def has_ended(self) -> bool:
        """Whether it ended, which none does by itself."""
        return self._process.returncode is not None

    def cpu_s(self) -> float:
        """Return the processor time of it and of the processes that it started."""
        spent = 0.0
        with suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self._process.pid)
            for process in (parent, *parent.children(recursive=True)):
                times = process.cpu_times()
                spent += times.user + times.system
        return spent
