"""What the runner and the scheduler need from the store."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from application.runs.asking import Note
from domain.runs.outcome import Outcome
from domain.runs.run import Claim, RunRecord, RunSpec


@dataclass(frozen=True, slots=True)
class Submission:
    """The store's answer to a submitted run.

    ``verdict``: ``created``, ``changed``, ``unchanged``, ``taken`` (the id is in use, ``status`` says by what),
    ``busy`` (the overlap policy forbids it, ``running`` says why) or ``stale`` (the schedule changed meanwhile).
    """

    verdict: str
    status: str
    running: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LaneStats:
    """The runs of one lane. ``oldest_ready_s`` is for how long the first ready one waits; None when none does."""

    ready: int
    running: int
    oldest_ready_s: float | None


@dataclass(frozen=True, slots=True)
class QueueStats:
    """How many runs there are. ``later``: delayed ones and waiting retries; ``parked``: those set aside."""

    lanes: dict[str, LaneStats]
    later: int
    parked: int


class RunStore(Protocol):
    """Runs in the store. Every method raises ``StoreUnavailable`` when it does not answer."""

    async def submit(
        self,
        spec: RunSpec,
        data: str,
        *,
        due_ms: int | None = None,
        limit: int = 1,
        state: str = "",
        confirm: bool = True,
        note: Note | None = None,
    ) -> Submission:
        """Make a run of a one-shot, or of the schedule whose state is ``state``, unless ``limit`` are executing.

        Without ``confirm`` nothing waits for the disk: for one of many runs, when ``ScheduleStore.confirm`` follows.
        ``note``, here and below, is written down if something came of it.
        """
        ...

    async def cancel(
        self, run_ids: Sequence[str], why: str, *, executing: bool = True, note: Note | None = None
    ) -> dict[str, str]:
        """Cancel runs; return the status each had ('' for one that is not there).

        Without ``executing``, a run that an instance has claimed goes on.
        """
        ...

    async def unpark(self, job_id: str, note: Note | None = None) -> list[str]:
        """Let the parked runs of a schedule, or a parked one-shot, go on; return them."""
        ...

    async def get(self, run_id: str) -> RunRecord | None:
        """Return one run, also a settled one-shot that is still kept."""
        ...

    async def find(self, run_ids: Sequence[str]) -> list[RunRecord]:
        """Return those of these runs that ``get`` would, in the order asked."""
        ...

    async def one_shots(self, limit: int) -> list[RunRecord]:
        """Return one-shots that are not settled, oldest first."""
        ...

    async def runs_of(self, job_id: str) -> list[RunRecord]:
        """Return the unsettled runs of a schedule and the last settled ones, newest first."""
        ...

    async def queue_stats(self, lanes: Sequence[str]) -> QueueStats:
        """Count the runs of ``lanes`` and of all that anybody ever scheduled, known to a running instance or not."""
        ...


class Settlements(Protocol):
    """Where the runner leaves what its attempts ended with."""

    def add(self, claim: Claim, outcome: Outcome) -> None:
        """Take an outcome; it is settled soon, and again until the store has answered."""
        ...

    def progress(self, claim: Claim, percent: float, message: str) -> None:
        """Take the latest progress of a run; older progress that was not sent is replaced."""
        ...
