"""What every contestant is to the benchmark: four steps and one line in each body. Standard library only."""

import json
import sys
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Case:
    """What one process is asked to do.

    ``adds``: whether it puts the schedules into the store; else they are there. ``spread``: whether they are due evenly
    over an interval; else all at once. ``enough``: end the window when so many bodies have started (0: when its time
    is over). ``rows_file``: where the starts of bodies are written.
    """

    contestant: str
    schedules: int
    interval_ms: int
    redis_url: str
    rows_file: str
    adds: bool = True
    spread: bool = True
    enough: int = 0
    grace_s: float = 1.0

    @staticmethod
    def parse(text: str) -> "Case":
        """Return the case that a command line carries as JSON."""
        return Case(**json.loads(text))


class Recorder:
    """Take down when bodies start, at the price of some 200 ns each; the same for every contestant."""

    def __init__(self) -> None:
        self.rows = array("d")
        """Index of the schedule, nominal due time and start (both Unix seconds), one after another."""
        self.recording = False

    def record(self, index: int, due_s: float) -> None:
        """Note that the body of schedule ``index`` starts now; the first statement of each body."""
        if self.recording:
            self.rows.extend((index, due_s, time.time()))

    @property
    def count(self) -> int:
        """How many bodies have started."""
        return len(self.rows) // 3


class Contestant(Protocol):
    """One way to run many recurrent schedules. The steps come once each, in this order."""

    async def open(self) -> None:
        """Connect; nothing fires yet."""

    async def add(self, first_due_ms: Sequence[int]) -> None:
        """Put schedule i into the store, first due at ``first_due_ms[i]`` (Unix ms), then every ``interval_ms``."""

    async def start(self) -> None:
        """Begin to execute."""

    async def stop(self) -> None:
        """End everything."""

    def facts(self) -> dict[str, str]:
        """Return versions and what was set otherwise than by default."""


def say(event: str, **facts: Any) -> None:
    """Tell the benchmark something, as one line of JSON."""
    sys.stdout.write(json.dumps({"event": event, **facts}) + "\n")
    sys.stdout.flush()
