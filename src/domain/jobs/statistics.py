"""How jobs fared: counts, and how long they waited and ran."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from domain.runs.run import RunStatus

ENDINGS = (RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.EXPIRED)
GAMMA = 1.04
"""Each bucket of a sketch ends so much later than the one before: what it tells is off by 2 % at most."""
LOG_GAMMA = math.log(GAMMA)


K = TypeVar("K")


class Sketch:
    """Durations counted in buckets that grow with them: any quantile, within 2 %, of any number of durations.

    The method is DDSketch (Masson, Rim and Lee, 2019), unbounded: bucket ``i + 1`` holds what took more than
    ``GAMMA ** (i - 1)`` and at most ``GAMMA ** i`` ms, and bucket 0 what took less than a millisecond. Two sketches
    make one by adding, and what was added can be taken out again.
    """

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self.counts: dict[int, int] = dict(counts or {})

    def add(self, ms: int, times: int = 1) -> None:
        """Count a duration; -1 times takes one out."""
        bucket = bucket_of(ms)
        self.counts[bucket] = self.counts.get(bucket, 0) + times

    def merge(self, other: "Sketch") -> None:
        """Count what another one has, too."""
        _add(self.counts, other.counts)

    def quantile(self, share: float) -> float | None:
        """Return the duration (ms) that so large a share is not longer than, by nearest rank; None of none."""
        rank = math.ceil(share * sum(self.counts.values()))
        for bucket in sorted(self.counts):
            rank -= self.counts[bucket]
            if rank <= 0 and self.counts[bucket] > 0:
                return 0.0 if bucket == 0 else 2 * GAMMA ** (bucket - 1) / (GAMMA + 1)
        return None

    def __str__(self) -> str:
        """Return it as ``parse`` reads it: JSON, each bucket and its count, which the library reads at C's speed."""
        return str([number for pair in sorted(self.counts.items()) if pair[1] > 0 for number in pair])

    @classmethod
    def parse(cls, text: str) -> "Sketch":
        """Return the sketch that was written."""
        numbers: list[int] = json.loads(text)
        return cls(dict(zip(numbers[::2], numbers[1::2], strict=True)))


def _add(counts: dict[K, int], more: Mapping[K, int]) -> None:
    """Add counts; many times faster than ``Counter.update``, and a hundred thousand are added for one answer."""
    get = counts.get
    for name, count in more.items():
        counts[name] = get(name, 0) + count


def bucket_of(ms: int) -> int:
    """Return in which bucket a duration is counted."""
    return 0 if ms < 1 else 1 + math.ceil(math.log(ms) / LOG_GAMMA)


@dataclass
class Tally:
    """Jobs that are over: how many ended how, how long they waited (to the first start) and ran (the last attempt)."""

    counts: Counter[str] = field(default_factory=Counter)
    waiting: Sketch = field(default_factory=Sketch)
    running: Sketch = field(default_factory=Sketch)

    def add(self, status: str, waiting_ms: int | None, running_ms: int | None, times: int = 1) -> None:
        """Count a job; -1 times takes one out."""
        self.counts[status] += times
        if waiting_ms is not None:
            self.waiting.add(waiting_ms, times)
        if running_ms is not None:
            self.running.add(running_ms, times)

    def merge(self, other: "Tally") -> None:
        """Count what another one has, too."""
        _add(self.counts, other.counts)
        self.waiting.merge(other.waiting)
        self.running.merge(other.running)

    @property
    def total(self) -> int:
        """How many jobs."""
        return self.counts.total()

    @property
    def success_rate(self) -> float | None:
        """Which share of those that were to run succeeded: who cancels one asks for no success. None of none."""
        ran = self.total - self.counts[RunStatus.CANCELLED]
        return self.counts[RunStatus.SUCCEEDED] / ran if ran else None


@dataclass(frozen=True)
class JobStats:
    """How the jobs of some days fared; days are those of UTC, by when a job ended.

    ``tasks``, ``queues`` and ``teams`` have those with the most jobs first, at most ``MOST_GROUPS`` each; the queue of
    a job without one, and its team, is ''. ``days`` has each day, oldest first, as its ISO date.
    """

    all: Tally
    tasks: Mapping[str, Tally]
    queues: Mapping[str, Tally]
    teams: Mapping[str, Tally]
    days: Mapping[str, Tally]


MOST_GROUPS = 100


def largest(groups: Mapping[str, Tally]) -> dict[str, Tally]:
    """Return the groups with the most jobs, largest first."""
    names: Iterable[str] = sorted(groups, key=lambda name: (-groups[name].total, name))
    return {name: groups[name] for name in list(names)[:MOST_GROUPS]}
