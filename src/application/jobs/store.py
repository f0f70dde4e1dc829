"""What the job service needs from the store."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from domain.jobs.job import Job
from domain.jobs.pace import Outlook
from domain.runs.run import RunRecord, RunStatus


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs are meant; what is None does not matter."""

    status: RunStatus | None = None
    task: str | None = None
    queue: str | None = None
    user_id: str | None = None
    team_id: str | None = None
    correlation_id: str | None = None
    since: datetime | None = None

    def takes(self, run: RunRecord) -> bool:
        """Tell whether a run is meant."""
        wanted = (
            (self.status, run.status),
            (self.task, run.name),
            (self.queue, run.queue),
            (self.user_id, run.user_id),
            (self.team_id, run.team_id),
            (self.correlation_id, run.correlation_id),
        )
        if any(wish is not None and wish != found for wish, found in wanted):
            return False
        return self.since is None or (run.queued_at is not None and run.queued_at >= self.since)


@dataclass(frozen=True, slots=True)
class RunPage:
    """Some runs, newest first. ``next_cursor`` asks for what follows, also when a page is not full; None at the end.

    At the end, ``behind`` is when (ms) the last run ended that was looked at, and its id: the history goes on there.
    None: of what is over nothing was there.
    """

    items: list[RunRecord]
    next_cursor: str | None
    behind: tuple[int, str] | None = None


class JobStore(Protocol):
    """Jobs in the store. Every method raises ``StoreUnavailable`` when it does not answer."""

    async def now(self) -> int:
        """Return the store's time, ms; it may be some milliseconds behind, and is never ahead."""
        ...

    async def knows(self, key: str) -> bool:
        """Tell whether an idempotency key, with whose it is, is remembered."""
        ...

    async def params(self, job_id: str) -> dict[str, Any] | None:
        """Return the data of a job; None when it is not kept."""
        ...

    async def page(self, wanted: JobFilter, limit: int, cursor: str) -> RunPage:
        """Return jobs, newest first: those that are not over before those that are. Reads some thousand at most."""
        ...

    async def pace_of(self, queue: str) -> float | None:
        """Return how many jobs of a queue ended a second lately; None when that is not known."""
        ...

    async def outlook(self, job: Job) -> Outlook:
        """Return what is known of how a job will fare: what is before it, and how such jobs fared lately."""
        ...
