"""Count what this process's runs do: plain numbers, for each run a few additions and no lock."""

import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence

from application.runs.observer import RunObserver
from domain.runs.outcome import Cancelled, Failed, Lost, Outcome, Released, Retry, Succeeded, Terminated
from domain.runs.run import Claim, RunReason

LATENESS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
DURATION_S = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0)
MOST_NAMES = 100
"""Jobs with figures of their own; all others share one, so that no number of names makes the answer grow."""
OTHER = "other"
OFFSET_KEPT_S = 1.0

OUTCOMES: dict[type, str] = {
    Succeeded: "succeeded",
    Retry: "retry",
    Failed: "failed",
    Cancelled: "cancelled",
    Terminated: "terminated",
    Released: "released",
    Lost: "lost",
}


class Buckets:
    """A histogram: how many observations fell below each bound, and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Take one observation."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulated(self) -> list[tuple[str, float]]:
        """Return (upper bound, observations up to it), the last one without bound."""
        found, so_far = [], 0
        for bound, count in zip([*map(str, self.bounds), "+Inf"], list(self.counts), strict=True):
            so_far += count
            found.append((bound, float(so_far)))
        return found


class JobFigures:
    """What is counted of one job, or of all others together."""

    __slots__ = ("duration", "ended", "fired", "lateness", "started")

    def __init__(self) -> None:
        self.fired = 0
        self.started = 0
        self.ended = dict.fromkeys(OUTCOMES.values(), 0)
        self.lateness = Buckets(LATENESS_S)
        self.duration = Buckets(DURATION_S)


class RunMeter(RunObserver):
    """Count by the name of the job, and by nothing that there is more of.

    ``fired`` is called by the scheduler's thread, the others by the event loop, ``jobs`` by any thread: each number has
    one writer. ``clock_offset_s`` returns by how much this host's clock is ahead of the store's.
    """

    def __init__(self, clock_offset_s: Callable[[], float] = lambda: 0.0, most_names: int = MOST_NAMES) -> None:
        self.clock_offset_s = clock_offset_s
        self._most_names = most_names
        self._jobs: dict[str, JobFigures] = {}
        self._others = JobFigures()
        self._adding = threading.Lock()
        self._begun: dict[Claim, float] = {}
        self._offset_s = 0.0
        self._offset_until = 0.0

    def jobs(self) -> dict[str, JobFigures]:
        """Return what was counted, by the label of the job; ``other`` is there once there is something to it."""
        found = self._jobs.copy()
        if self._others.started or self._others.fired or any(self._others.ended.values()):
            found[OTHER] = self._others
        return found

    def fired(self, name: str, due: int) -> None:
        """Count due times."""
        self._of(name).fired += due

    def began(self, claim: Claim) -> None:
        """Count a body that begins, and how late it is."""
        now = time.monotonic()
        spec = claim.spec
        figures = self._of(spec.name)
        figures.started += 1
        self._begun[claim] = now
        # Compared by identity: the hash of an enum's member takes as long as all the rest.
        if claim.attempt == 1 and spec.reason is not RunReason.CATCH_UP and spec.reason is not RunReason.BACKFILL:
            if now >= self._offset_until:
                self._offset_s, self._offset_until = self.clock_offset_s(), now + OFFSET_KEPT_S
            late_s = time.time() - self._offset_s - spec.fire_time.timestamp()
            figures.lateness.observe(max(late_s, 0.0))

    def ended(self, claim: Claim, outcome: Outcome) -> None:
        """Count how a claim ended."""
        began = self._begun.pop(claim, None)
        if began is None and isinstance(outcome, Lost):
            return  # it was taken back before it began, and is somebody else's
        figures = self._of(claim.spec.name)
        figures.ended[OUTCOMES[type(outcome)]] += 1
        if began is not None:
            figures.duration.observe(time.monotonic() - began)

    def _of(self, name: str) -> JobFigures:
        return self._jobs.get(name) or self._add(name)

    def _add(self, name: str) -> JobFigures:
        if name == OTHER:
            return self._others
        with self._adding:
            if name not in self._jobs and len(self._jobs) >= self._most_names:
                return self._others
            return self._jobs.setdefault(name, JobFigures())
