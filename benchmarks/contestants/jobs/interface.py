"""What a contestant of the job benchmark is to it, and where its bodies note that they ran. Standard library only."""

import json
import mmap
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

BYTES_A_NOTE = 16


@dataclass(frozen=True)
class JobCase:
    """What one process is asked to be: one that submits jobs (``submit``) or one that executes them (``work``)."""

    contestant: str
    role: str
    redis_url: str
    board_file: str
    jobs: int

    @staticmethod
    def parse(text: str) -> "JobCase":
        """Return the case that a command line carries as JSON."""
        return JobCase(**json.loads(text))


class Board:
    """A file that all processes map: how many bodies ran, and for each job how often, and when last (Unix seconds).

    A note costs some 300 ns, and is seen by the benchmark at once, whatever becomes of the process. One thread at a
    time may write.
    """

    def __init__(self, file: Path, jobs: int) -> None:
        self._file = file.open("r+b")
        self._map = mmap.mmap(self._file.fileno(), (jobs + 1) * BYTES_A_NOTE)
        self._notes = memoryview(self._map).cast("d")
        self.jobs = jobs

    @staticmethod
    def create(file: Path, jobs: int) -> "Board":
        """Make an empty one."""
        file.write_bytes(bytes((jobs + 1) * BYTES_A_NOTE))
        return Board(file, jobs)

    def __enter__(self) -> "Board":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._notes.release()
        self._map.close()
        self._file.close()

    def note(self, index: int) -> None:
        """Note that the body of job ``index`` runs: the only statement of each body."""
        at = 2 * index + 2
        self._notes[at + 1] = time.time()
        self._notes[at] += 1
        self._notes[0] += 1

    @property
    def bodies(self) -> int:
        """How many bodies ran."""
        return int(self._notes[0])

    def times(self, first: int, count: int) -> list[float]:
        """Return when the bodies ran, of those that did, in the order of their jobs."""
        return [self._notes[at + 1] for at in range(2 * first + 2, 2 * (first + count) + 2, 2) if self._notes[at]]

    def repeated(self) -> int:
        """Return how many jobs ran more than once."""
        return sum(self._notes[at] > 1 for at in range(2, 2 * self.jobs + 2, 2))


BOARD: Board
"""The board of this process: bodies are plain functions in most of the peers, and can hold nothing."""


def use(board: Board) -> None:
    """Let the bodies of this process write there."""
    global BOARD
    BOARD = board


def note(index: int) -> None:
    """Note that the body of job ``index`` runs."""
    BOARD.note(index)


class Submitter(Protocol):
    """One way to submit jobs."""

    async def open(self) -> None:
        """Connect."""

    async def submit(self, indexes: Sequence[int]) -> None:
        """Submit many, in the fastest way that is documented; return when all are in the store."""

    async def submit_one(self, index: int) -> None:
        """Submit one."""

    async def close(self) -> None:
        """Disconnect."""


class JobContestant(Submitter, Protocol):
    """A job service: both ends of it, each used in a process of its own."""

    def work(self) -> None:
        """Execute jobs until the process is ended; runs its own event loop, if it wants one."""

    def facts(self) -> dict[str, str]:
        """Return versions, and what was set otherwise than by default."""
