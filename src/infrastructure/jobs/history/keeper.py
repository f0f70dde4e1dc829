"""Take jobs that are over from the store into the history, and old ones out of it."""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from application.tasks import end_task
from domain.errors import RoundsmanError, StoreUnavailable
from infrastructure.jobs.history.connection import HistoryConnection
from infrastructure.jobs.history.exports import ExportSet, Waiting
from infrastructure.jobs.history.rows import Row, row_of
from infrastructure.jobs.history.settings import HistorySettings

if TYPE_CHECKING:
    from infrastructure.jobs.history.writing import HistoryWriter

log = logging.getLogger(__name__)

POLL_S = 1.0
LEASE_S = 15.0
"""When the exporter dies, another one goes on after so long."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
TIDY_EVERY_S = 300.0
TIDY_AT_MOST_S = 10.0
REMOVED_AT_ONCE = 1_000
READ_AT_ONCE = 25
"""Runs that are read of the loop's time: less than a millisecond."""
STOP_GRACE_S = 5.0
DAY_MS = 86_400_000


@dataclass
class HistoryCounters:
    """What this instance did. Each only grows."""

    exported: int = 0
    refused: int = 0
    """Jobs that the history cannot have: what the store had of them cannot be read or stored."""
    removed: int = 0
    failures: int = 0
    """Tries that the database did not take."""


class HistoryKeeper:
    """Hosted service of instances that execute; by a lease one of them works at a time.

    A job leaves the store when the history has it, so that whatever dies in between, the next one goes on there. What
    is written twice is there once.
    """

    def __init__(
        self,
        connection: HistoryConnection,
        exports: ExportSet,
        settings: HistorySettings,
        *,
        poll_s: float = POLL_S,
        lease_s: float = LEASE_S,
    ) -> None:
        self._connection = connection
        self._exports = exports
        self._settings = settings
        self._poll_s = poll_s
        self._lease_s = lease_s
        self._task: asyncio.Task[None] | None = None
        self._is_running = False
        self._wake = asyncio.Event()
        self._tidy_at = 0.0
        self._pause_s = 0.0
        self.counters = HistoryCounters()
        self.trouble: str | None = None
        """What keeps this instance from exporting; None when nothing does, or it is not its turn."""

    async def start(self) -> None:
        """Begin; twice is once."""
        if self._task is None:
            self._is_running = True
            self._task = asyncio.create_task(self._run(), name="history, exporting")

    async def stop(self) -> None:
        """Stop; a batch under way gets a grace, and what is cut off is exported again by whoever comes next."""
        self._is_running = False
        self._wake.set()
        task, self._task = self._task, None
        if task is None:
            return
        await asyncio.wait([task], timeout=STOP_GRACE_S)
        await end_task(task)
        with contextlib.suppress(StoreUnavailable):
            await self._exports.let_go()

    async def export(self) -> int:
        """Export one batch; return how many jobs that were. Raises what the store and the database say."""
        waiting = await self._exports.first(self._settings.batch)
        if not waiting:
            return 0
        writer = await self._writer()
        rows, odd = await self._read(waiting)
        refused = await writer.write(rows)
        for row, error in refused:
            self._refuse(row["id"], error)
        # What was run again meanwhile, and looks odd for that, the store keeps; what stays odd would be here for ever.
        for one, error in odd:
            if await self._exports.exported([one]):
                self._refuse(one.job_id, error)
        left = {one.job_id for one, _ in odd}
        await self._exports.exported([one for one in waiting if one.job_id not in left])
        self.counters.exported += len(rows) - len(refused)
        return len(waiting)

    async def tidy(self) -> None:
        """Take out what is too old and what is too many, oldest first, some at a time."""
        writer = await self._writer()
        until = time.monotonic() + TIDY_AT_MOST_S
        oldest_ms = int(time.time() * 1000) - self._settings.kept_days * DAY_MS
        await writer.forget_days(oldest_ms)
        removed = REMOVED_AT_ONCE
        while removed == REMOVED_AT_ONCE and time.monotonic() < until and self._is_running:
            removed = await writer.remove_ended_before(oldest_ms, REMOVED_AT_ONCE)
            if removed < REMOVED_AT_ONCE:
                removed += await writer.remove_beyond(self._settings.jobs_kept, REMOVED_AT_ONCE - removed)
            self.counters.removed += removed
            await self._exports.hold(self._lease_s)

    async def _run(self) -> None:
        while self._is_running:
            pause_s = await self._round()
            if self._is_running:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), pause_s)

    async def _round(self) -> float:
        """Do what is to be done; return how long to wait before the next look."""
        began = time.monotonic()
        try:
            if not await self._exports.hold(self._lease_s):
                self._well()  # somebody else tells how it stands
                return self._poll_s
            exported = await self.export()
            if time.monotonic() >= self._tidy_at:
                await self.tidy()
                self._tidy_at = time.monotonic() + TIDY_EVERY_S
        except StoreUnavailable:
            return self._poll_s  # the store's own health tells
        except Exception as error:  # noqa: BLE001 - told, and tried again
            return await self._ill(error)
        self._well()
        # As long as it worked, so that a long backlog leaves the loop to others half of the time.
        return time.monotonic() - began if exported else self._poll_s

    async def _writer(self) -> "HistoryWriter":
        database = await self._connection.database()
        from infrastructure.jobs.history.writing import HistoryWriter  # loaded by the connection already

        if self.trouble is not None:
            await database.open()  # it may be another one that came back
        return HistoryWriter(database)

    async def _read(self, waiting: Iterable[Waiting]) -> tuple[list[Row], list[tuple[Waiting, Exception]]]:
        """Return rows of those that are over as they were when they were put here, and what is wrong with others."""
        rows: list[Row] = []
        odd: list[tuple[Waiting, Exception]] = []
        for number, one in enumerate(waiting, 1):
            if number % READ_AT_ONCE == 0:
                await asyncio.sleep(0)
            try:
                row = row_of(one.text or "", one.payload)
                if row is None or row["ended_ms"] != one.ended_ms:
                    raise ValueError("it did not end when it was put here")  # noqa: TRY301 - as any other oddity
                rows.append(row)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                odd.append((one, error))
        return rows, odd

    def _refuse(self, job_id: str, error: BaseException) -> None:
        self.counters.refused += 1
        why = f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"
        log.error("the history cannot have the job %s, which the store forgets: %s", job_id, why)

    def _well(self) -> None:
        if self.trouble is not None:
            log.info("the history takes jobs again")
        self.trouble, self._pause_s = None, 0.0

    async def _ill(self, error: Exception) -> float:
        """Say once what is wrong, let another instance try, and return how long to leave it alone."""
        self.counters.failures += 1
        why = (
            error.facts.get("why") or error if isinstance(error, RoundsmanError) else f"{type(error).__name__}: {error}"
        )
        if self.trouble is None:
            log.warning("the history takes no jobs: %s; they run on, and wait in the store", why)
        self.trouble = " ".join(str(why).split())
        with contextlib.suppress(StoreUnavailable):
            await self._exports.let_go()
        self._pause_s = min(max(FIRST_PAUSE_S, 2 * self._pause_s), LONGEST_PAUSE_S)
        return self._pause_s * random.uniform(0.5, 1.0)  # noqa: S311 - nothing secret
