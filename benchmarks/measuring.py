"""From the rows that bodies wrote to figures."""

import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

LATE_S = 0.1
"""A rate is sustained when the 99th percentile of lateness is below this, and nothing is missed."""


@dataclass(frozen=True)
class Start:
    """One body that started: which schedule, for which due time (ms), when (s)."""

    index: int
    due_ms: int
    at: float


@dataclass(frozen=True)
class Punctuality:
    """What became of the fires that were due in a window. Times in s."""

    due: int
    missed: int
    doubled: int
    started_per_s: float
    late_p50: float
    late_p99: float
    late_max: float

    @property
    def sustained(self) -> bool:
        """Whether nothing was missed and it was on time."""
        return self.missed == 0 and self.late_p99 < LATE_S

    def dump(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {**asdict(self), "sustained": self.sustained}


def read_rows(files: Iterable[Path]) -> list[Start]:
    """Return what some processes wrote."""
    starts = []
    for file in files:
        rows = array("d")
        rows.frombytes(file.read_bytes())
        starts += [Start(int(rows[i]), round(rows[i + 1] * 1000), rows[i + 2]) for i in range(0, len(rows), 3)]
    return starts


def expected(base_ms: int, schedules: int, interval_ms: int, begin_ms: int, end_ms: int) -> set[tuple[int, int]]:
    """Return the fires (index, due) in [begin, end) of schedules that are spread over the interval."""
    fires: set[tuple[int, int]] = set()
    for index in range(schedules):
        first = base_ms + index * interval_ms // schedules
        skipped = max(0, -((first - begin_ms) // interval_ms))
        fires.update((index, due) for due in range(first + skipped * interval_ms, end_ms, interval_ms))
    return fires


def punctuality(starts: Sequence[Start], fires: set[tuple[int, int]], begin: float, end: float) -> Punctuality:
    """Compare what started with what was due in the window [begin, end), in Unix seconds."""
    counted = [start for start in starts if (start.index, start.due_ms) in fires]
    late = sorted(start.at - start.due_ms / 1000 for start in counted)
    distinct = len({(start.index, start.due_ms) for start in counted})
    in_window = sum(begin <= start.at < end for start in starts)
    return Punctuality(
        due=len(fires),
        missed=len(fires) - distinct,
        doubled=len(counted) - distinct,
        started_per_s=in_window / (end - begin),
        late_p50=percentile(late, 50),
        late_p99=percentile(late, 99),
        late_max=late[-1] if late else math.nan,
    )


def percentile(ascending: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least ``percent`` % of all do not exceed; NaN of nothing."""
    if not ascending:
        return math.nan
    return ascending[max(math.ceil(len(ascending) * percent / 100) - 1, 0)]
