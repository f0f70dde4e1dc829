"""A history on a real database, and jobs that end as a test wants."""

from pathlib import Path
from typing import Any

from application.jobs.store import JobFilter
from infrastructure.jobs.history.address import DatabaseAddress, read_address
from infrastructure.jobs.history.database import Database
from infrastructure.jobs.history.rows import Row
from infrastructure.jobs.history.searching import HistorySearch
from infrastructure.jobs.history.writing import HistoryWriter

START_MS = 1_795_000_000_000


def row(job_id: str, **facts: Any) -> Row:
    """Return a job that ended 100 ms after it began, and began 20 ms after it came; or what ``facts`` say."""
    ended_ms = facts.pop("ended_ms", START_MS)
    made: Row = {
        "id": job_id,
        "task": "Import",
        "status": "succeeded",
        "queue": "free",
        "priority": 0,
        "user_id": None,
        "team_id": None,
        "correlation_id": None,
        "created_ms": ended_ms - 120,
        "scheduled_ms": None,
        "started_ms": ended_ms - 100,
        "ended_ms": ended_ms,
        "waiting_ms": 20,
        "running_ms": 100,
        "attempt": 1,
        "instance": "one",
        "error": None,
        "message": None,
        "attempts": None,
        "params": None,
        "result": None,
    }
    assert not facts.keys() - made.keys()
    return made | facts


class HistoryUnderTest:
    """One process's part of a history."""

    def __init__(self, url: str) -> None:
        self.address: DatabaseAddress = read_address(url, Path("unused"))
        self.database = Database(self.address)
        self.writer = HistoryWriter(self.database)
        self.search = HistorySearch(self.database)

    async def write(self, *rows: Row) -> None:
        assert await self.writer.write(rows) == []

    async def ids(self) -> list[str]:
        """Return the ids of all jobs that are there, in their order."""
        page = await self.search.search(JobFilter(), 10_000)
        return [job.id for job in page.items]
