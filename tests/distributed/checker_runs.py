"""Judge one run by the events that tell of it and by what its bodies wrote down."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from distributed.checker_evidence import SETTLED, Event, Evidence, Step

BAD = ("doubled", "lost", "unexplained", "stuck", "wrong")
"""Classes that must be empty; the worst first."""

WRITTEN_LATE_MS = 1_000
"""A body may write its first line this much after the claim, so after the store was killed."""

ARROWS: dict[str, tuple[frozenset[str], str]] = {
    "job.queued": (frozenset({"", "queued", "running", "retrying", "parked"}), "queued"),
    "job.started": (frozenset({"queued", "lapsed"}), "running"),
    "job.lost": (frozenset({"running"}), "lapsed"),
    "job.retrying": (frozenset({"running"}), "retrying"),
    "job.parked": (frozenset({"lapsed", "running"}), "parked"),
    "job.succeeded": (frozenset({"running"}), "over"),
    "job.terminated": (frozenset({"running"}), "over"),
    "job.failed": (frozenset({"running", "retrying"}), "over"),
    "job.cancelled": (frozenset({"queued", "running", "retrying", "parked"}), "over"),
    "job.expired": (frozenset({"queued"}), "over"),
}
"""Topic → the statuses it may be told from, and the status it tells. A plain copy: the program's own must not judge."""

FIRES = frozenset({"fire", "catch_up"})
"""Why a run exists that may be its instance's own from the first: its first event tells that it started."""

UNKNOWN = "no running instance knows "
"""A run that waits for an instance is marked, and told as parked; its status stays what it was."""


@dataclass(frozen=True)
class Verdict:
    """The class of a run, one of ``BAD`` or not, and why."""

    kind: str
    why: str = ""
    crashes: int = 0


class RunStory:
    """Follow one run through its events, then hold the ledger against them."""

    def __init__(self, evidence: Evidence, run_id: str, events: Sequence[Event], steps: Sequence[Step]) -> None:
        self._evidence = evidence
        self._run_id = run_id
        self._events = events
        self._steps = steps
        self._status = ""
        self._attempt = 0
        self._crashes = 0
        self._started: set[int] = set()
        self._released: dict[int, str] = {}
        self._faults: list[tuple[str, str]] = []

    def verdict(self) -> Verdict:
        """Return the worst that can be said of the run."""
        for event in self._events:
            if event.topic in ARROWS and not str(event.data.get("why", "")).startswith(UNKNOWN):
                self._follow(event)
        self._compare_begins()
        self._compare_ends()
        self._compare_store()
        for kind in (*BAD, "store_lost"):
            for found, why in self._faults:
                if found == kind:
                    return Verdict(kind, why, self._crashes)
        return Verdict(self._plain_kind(), crashes=self._crashes)

    def _follow(self, event: Event) -> None:
        allowed, after = ARROWS[event.topic]
        own = (event.topic, self._status) == ("job.started", "") and event.data.get("reason") in FIRES
        if self._status not in allowed and not own:
            self._faults.append((self._blame(event), f"{event.topic} came while it was {self._status or 'unknown'}"))
        if event.topic == "job.started":
            self._follow_start(event)
        elif event.topic == "job.queued":
            if self._status == "running" and event.data["attempt"] == self._attempt:
                self._released[self._attempt] = "given back"
                self._crashes += 1
            self._attempt = event.data["attempt"]  # one that had not begun leaves its number to the next
        else:
            if event.data["attempt"] != self._attempt:
                told = f"{event.topic} names attempt {event.data['attempt']}, the attempt is {self._attempt}"
                self._faults.append(("wrong", told))
            self._crashes += event.topic == "job.lost"
            self._released[self._attempt] = event.topic
        self._status = after

    def _blame(self, event: Event) -> str:
        again = self._status == "over" and event.topic in {*SETTLED, "job.queued", "job.started"}
        return "doubled" if again or (event.topic, self._status) == ("job.started", "running") else "wrong"

    def _follow_start(self, event: Event) -> None:
        attempt = event.data["attempt"]
        if attempt != self._attempt + 1:
            kind = "doubled" if attempt <= self._attempt else "wrong"
            self._faults.append((kind, f"attempt {attempt} began after attempt {self._attempt}"))
        self._attempt = attempt
        self._started.add(attempt)

    def _compare_begins(self) -> None:
        begun: dict[int, list[Step]] = {}
        for step in self._steps:
            if step.phase == "begin":
                begun.setdefault(step.attempt, []).append(step)
        for attempt, steps in begun.items():
            by_store = self._gone_with_the_store(steps[0])
            if attempt not in self._started:
                kind = "store_lost" if by_store else "wrong"
                self._faults.append((kind, f"a body began attempt {attempt}, which no event tells of"))
            if len(steps) > 1:
                kind = "store_lost" if by_store else "doubled"
                self._faults.append((kind, f"attempt {attempt} began {len(steps)} times"))

    def _compare_ends(self) -> None:
        ends = Counter(step.attempt for step in self._steps if step.phase == "end")
        names = {event.data.get("name") for event in self._events}
        for attempt in ends:
            how = self._released.get(attempt, "")
            if how in ("job.retrying", "job.failed", "given back") and not names & self._evidence.threaded:
                self._faults.append(("wrong", f"the body of attempt {attempt} came to its end, but then {how} came"))
        for attempt, how in self._released.items():
            if how == "job.succeeded" and attempt not in ends:
                self._faults.append(("wrong", f"attempt {attempt} succeeded, but its body never came to its end"))

    def _compare_store(self) -> None:
        status = self._evidence.open_runs.get(self._run_id)
        if self._status == "over" or not self._events:
            if status is not None:
                self._faults.append(("wrong", f"it is over, or nobody told of it, but in the store it is {status}"))
        elif status is None:
            self._faults.append(("lost", f"it was {self._status}, and the store does not know it any more"))
        elif self._due_at() <= self._evidence.until and "parked" not in (status, self._status):
            self._faults.append(("stuck", f"it is still {status}"))

    def _due_at(self) -> int:
        first = self._events[0]
        return max(first.at, due_of(first) if first.data.get("reason") == "one_shot" else 0)

    def _gone_with_the_store(self, step: Step) -> bool:
        return gone_with_the_store(self._evidence, step.at)

    def _plain_kind(self) -> str:
        if self._status != "over":
            return "parked" if self._status == "parked" else "waiting"
        last = next(event.topic for event in reversed(self._events) if event.topic in SETTLED)
        if last == "job.cancelled":
            return "cancelled"
        return "again" if self._crashes else "settled"


def due_of(event: Event) -> int:
    """Return the nominal due time (ms) that a run's event carries."""
    return milliseconds_of(event.data["fire_time"])


def milliseconds_of(text: str) -> int:
    """Return an RFC 3339 time in whole milliseconds."""
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return round(moment.timestamp() * 1000)


def gone_with_the_store(evidence: Evidence, at: int) -> bool:
    """Tell whether what was written at ``at`` may have been lost by the store itself, which was killed then."""
    span = evidence.store_loses_ms
    return span > 0 and any(kill - span <= at <= kill + WRITTEN_LATE_MS for kill in evidence.store_kills)
