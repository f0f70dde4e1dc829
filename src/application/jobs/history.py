"""What the job service needs from the history: jobs that are over, for longer than the store keeps them."""

from dataclasses import dataclass
from typing import Any, Protocol

from application.jobs.store import JobFilter
from domain.jobs.errors import HistoryIsOff
from domain.jobs.job import Job
from domain.jobs.statistics import JobStats


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Some jobs, newest ending first; ``next_cursor`` asks for what follows, None at the end."""

    items: list[Job]
    next_cursor: str | None


class JobHistory(Protocol):
    """Jobs that are over. Every method raises ``HistoryUnavailable`` when the database does not answer.

    A job that was run again since is in it as it was, until it is over anew: the store knows better about those that
    it has.
    """

    async def search(self, wanted: JobFilter, limit: int, cursor: str = "") -> HistoryPage:
        """Return jobs by when they ended, newest first.

        ``cursor`` is '', a page's, or what ``before`` made. Raises ``InvalidJobQuery`` for any other.
        """
        ...

    async def get(self, job_id: str) -> Job | None:
        """Return a job, or None when the history does not have it."""
        ...

    async def params(self, job_id: str) -> dict[str, Any] | None:
        """Return the data that a job was given; None when the history does not have it."""
        ...

    async def stats(self, days: int, team_id: str | None = None) -> JobStats:
        """Return how the jobs fared that ended today and in the days before, ``days`` in all (UTC)."""
        ...


def before(ended_ms: int, job_id: str) -> str:
    """Return the cursor for those jobs that ended before this one; of the same millisecond, those with smaller ids."""
    return f"h:{ended_ms}:{job_id}"


FROM_THE_START = before(10**15 - 1, "")
"""The cursor for all jobs of the history."""


def is_past(cursor: str) -> bool:
    """Tell whether a cursor is one of the history."""
    return cursor.startswith("h:")


class NoHistory:
    """Implements ``JobHistory`` where nobody keeps one."""

    async def search(self, wanted: JobFilter, limit: int, cursor: str = "") -> HistoryPage:
        """Return nothing."""
        return HistoryPage([], None)

    async def get(self, job_id: str) -> Job | None:
        """Return None."""
        return None

    async def params(self, job_id: str) -> dict[str, Any] | None:
        """Return None."""
        return None

    async def stats(self, days: int, team_id: str | None = None) -> JobStats:
        """Raise ``HistoryIsOff``."""
        raise HistoryIsOff
