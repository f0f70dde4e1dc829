"""Several triggers as one: whenever any of them fires, or only when all of them do."""

import math
from collections.abc import Sequence
from typing import Protocol

PATIENT = 20_000
"""How many times of its parts a trigger of ``both`` looks at for one common time, where a schedule exists already."""
HASTY = 1_000
"""The same while somebody waits for the answer: some ten milliseconds."""

LONGEST_COMMON_MS = 100 * 366 * 86_400_000


class Trigger(Protocol):
    """Due times, in whole milliseconds since the epoch."""

    def next_after(self, moment: int) -> int | None:
        """Return the first due time after ``moment``, or None when there is none."""
        ...


class EitherTimes:
    """The due times of any of its parts; a time that several share is one."""

    def __init__(self, parts: Sequence[Trigger]) -> None:
        self._parts = parts

    def next_after(self, moment: int) -> int | None:
        """Return the first due time after ``moment``."""
        return min((due for part in self._parts if (due := part.next_after(moment)) is not None), default=None)


class BothTimes:
    """The due times that all parts have in common, to the millisecond.

    The search leaps from part to part, each from the latest time that another one named, and gives up after ``looks``:
    what is found may be rare, but nothing is searched for ever.
    """

    def __init__(self, parts: Sequence[Trigger], looks: int = PATIENT) -> None:
        self._parts = parts
        self._looks = looks
        self.gave_up_at: int | None = None
        """Where the last search ended without an answer: up to there is nothing, and what comes later is not known."""

    def next_after(self, moment: int) -> int | None:
        """Return the first common time after ``moment``; None when there is none, or none is found."""
        wanted, agreeing, at = moment + 1, 0, 0
        self.gave_up_at = None
        for _ in range(self._looks):
            due = self._parts[at].next_after(wanted - 1)
            if due is None:
                return None
            agreeing = agreeing + 1 if due == wanted else 1
            if agreeing == len(self._parts):
                return due
            wanted, at = due, (at + 1) % len(self._parts)
        self.gave_up_at = wanted
        return None


def common_interval(intervals_ms: Sequence[int]) -> int | None:
    """Return the interval at which intervals with one anchor meet; None when that is longer than a hundred years."""
    found = math.lcm(*intervals_ms)
    return found if found <= LONGEST_COMMON_MS else None
