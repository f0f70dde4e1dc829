"""A job's author has a type checker too: good job modules pass ``mypy --strict``, mistakes do not."""

import re
import subprocess
import sys
from pathlib import Path

GOOD = """
from dataclasses import dataclass
from typing import Annotated, Protocol

from application.scheduling import (
    Inject, Injected, JobContext, RecurrentBackgroundJob, ScheduledBackgroundJob, backgroundjob,
)


class Clock(Protocol):
    def now(self) -> float: ...


class FixedClock:
    def now(self) -> float:
        return 1.0


@backgroundjob(task_type="recurrent")
class Ledger(RecurrentBackgroundJob):
    label: str
    hold_s: float = 0.0
    clock: Injected[Clock]
    wall: Annotated[Clock, Inject("wall")]

    async def run_every(self, ctx: JobContext) -> dict[str, float]:
        await ctx.progress(0.5, "half")
        return {"at": self.clock.now() + self.wall.now()}


@backgroundjob(task_type="recurrent")
class LeavesContextOut(RecurrentBackgroundJob):
    async def run_every(self) -> None:
        return None


@backgroundjob(task_type="scheduled", slots=True)
class Sync(ScheduledBackgroundJob):
    count: int

    def run_at(self, *, ctx: JobContext) -> int:
        ctx.progress(0.5)
        return self.count


@backgroundjob(task_type="scheduled")
@dataclass(kw_only=True)
class Stacked(ScheduledBackgroundJob):
    count: int = 0
    label: str

    def run_at(self) -> str:
        return self.label


Ledger(label="a", clock=FixedClock(), wall=FixedClock())
LeavesContextOut()
Sync(count=1)
Stacked(label="a")
"""

BAD = """
from application.scheduling import Injected, RecurrentBackgroundJob, backgroundjob


class Clock: ...


@backgroundjob(task_type="recurrent")
class Ledger(RecurrentBackgroundJob):
    label: str
    clock: Injected[Clock]

    def run_every(self) -> int:
        return self.label  # return-value


Ledger("a", clock=Clock())  # call-arg
Ledger(label=1, clock=Clock())  # arg-type
Ledger(label="a")  # call-arg
Ledger(label="a", clock=1)  # arg-type


@backgroundjob(task_type="hourly")  # arg-type
class Hourly(RecurrentBackgroundJob):
    def run_every(self) -> None: ...


@backgroundjob(task_type="recurrent")
class Empty(RecurrentBackgroundJob):
    pass


Empty()  # abstract
"""


def test_good_job_modules_pass_strict_checks_and_mistakes_are_found(tmp_path: Path) -> None:
    good, bad = tmp_path / "sample_of_good_jobs.py", tmp_path / "sample_of_bad_jobs.py"
    good.write_text(GOOD)
    bad.write_text(BAD)
    root = Path(__file__).parents[3]
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", "pyproject.toml", str(good), str(bad)]
    answer = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    found = re.findall(r"(\w+)\.py:(\d+): error: .*\[(\S+)\]$", answer.stdout, re.MULTILINE)
    expected = [
        (bad.stem, str(number), line.split("# ")[1]) for number, line in enumerate(BAD.splitlines(), 1) if "# " in line
    ]
    assert found == expected, answer.stdout + answer.stderr
