"""Open the history's database beside the program, and keep nobody waiting for it."""

import asyncio
import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from application.jobs.history import HistoryPage
from application.jobs.store import JobFilter
from application.tasks import end_task
from domain.errors import RoundsmanError
from domain.jobs.errors import HistoryUnavailable
from domain.jobs.job import Job
from domain.jobs.statistics import JobStats
from infrastructure.jobs.history.address import DatabaseAddress

if TYPE_CHECKING:
    from infrastructure.jobs.history.database import Database

log = logging.getLogger(__name__)

OPENS_WITHIN_S = 5.0
"""Who asks while it opens waits so long: a first start loads the libraries and makes the tables."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0


class HistoryConnection:
    """Hosted service: owns the connections of this process to the history. Implements ``JobHistory``.

    ``start`` returns at once. The libraries are loaded in a thread, as they take a third of a second; a database that
    is down is tried again, more and more seldom, and nothing waits for it.
    """

    def __init__(self, address: DatabaseAddress) -> None:
        self.address = address
        self.trouble: str | None = None
        """Why it could not be opened; None when it is open, or has not been tried."""
        self._database: Database | None = None
        self._is_open = asyncio.Event()
        self._opening: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to open it; twice is once."""
        if self._opening is None:
            self._opening = asyncio.create_task(self._open_patiently(), name="history, opening")

    async def stop(self) -> None:
        """Close all connections; twice is fine."""
        opening, self._opening = self._opening, None
        await end_task(opening)
        self._is_open.clear()
        database, self._database = self._database, None
        if database is not None:
            await database.close()

    async def database(self, patience_s: float = OPENS_WITHIN_S) -> "Database":
        """Return the open database; raise ``HistoryUnavailable`` when it does not open in time, or could not lately."""
        if self._database is not None:
            return self._database
        if self.trouble is None and self._opening is not None:
            waiting = asyncio.create_task(self._is_open.wait())
            await asyncio.wait([waiting, self._opening], timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
            await end_task(waiting)
        return self._opened()

    def _opened(self) -> "Database":
        if self._database is None:
            raise HistoryUnavailable(why=self.trouble or "it is not open yet")
        return self._database

    async def search(self, wanted: JobFilter, limit: int, cursor: str = "") -> HistoryPage:
        """Return a page of jobs; see the protocol."""
        database = await self.database()
        from infrastructure.jobs.history.searching import HistorySearch  # loaded by the database already

        return await HistorySearch(database).search(wanted, limit, cursor)

    async def get(self, job_id: str) -> Job | None:
        """Return a job, or None."""
        database = await self.database()
        from infrastructure.jobs.history.searching import HistorySearch

        return await HistorySearch(database).get(job_id)

    async def params(self, job_id: str) -> dict[str, Any] | None:
        """Return the data of a job, or None."""
        database = await self.database()
        from infrastructure.jobs.history.searching import HistorySearch

        return await HistorySearch(database).params(job_id)

    async def stats(self, days: int, team_id: str | None = None) -> JobStats:
        """Return how jobs fared; see the protocol."""
        database = await self.database()
        from infrastructure.jobs.history.searching import HistorySearch

        return await HistorySearch(database).stats(days, team_id)

    async def _open_patiently(self) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                self._database = await self._open()
            except RoundsmanError as error:
                self._complain(" ".join(str(error.facts.get("why") or error).split()))
            except Exception as error:
                log.exception("the history could not be opened")
                self._complain(f"{type(error).__name__}")
            else:
                if self.trouble is not None:
                    log.info("the history is open: %s", self.address)
                self.trouble = None
                self._is_open.set()
                return
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _open(self) -> "Database":
        for name in ("database", "writing", "searching"):
            await asyncio.to_thread(import_module, f"infrastructure.jobs.history.{name}")
        from infrastructure.jobs.history.database import Database

        database = Database(self.address)
        try:
            await database.open()
        except BaseException:
            await database.close()
            raise
        return database

    def _complain(self, why: str) -> None:
        if self.trouble is None:
            log.warning("the history cannot be opened (%s); jobs run on, and wait for it: %s", self.address, why)
        self.trouble = why
