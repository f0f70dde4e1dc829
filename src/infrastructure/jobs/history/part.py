"""The history as one process has it, and how it stands."""

import time
from dataclasses import dataclass
from typing import Any

from infrastructure.jobs.history.connection import HistoryConnection
from infrastructure.jobs.history.exports import Backlog, ExportSet
from infrastructure.jobs.history.keeper import HistoryKeeper

BEHIND_S = 60.0
"""Nobody takes what has been waiting for so long, though an instance looks every second."""
LOSS_SHOWN_S = 3_600.0
"""What was dropped is gone: it is told for so long after it was noticed."""


@dataclass(frozen=True)
class HistoryStanding:
    """How the history stands: what is wrong, in words, and the facts."""

    troubles: list[str]
    facts: dict[str, Any]


class HistoryPart:
    """The parts that a program starts: ``connection`` in every process, ``keeper`` where jobs execute."""

    def __init__(self, connection: HistoryConnection, keeper: HistoryKeeper, exports: ExportSet) -> None:
        self.connection = connection
        self.keeper = keeper
        self.exports = exports
        self._dropped: int | None = None
        self._dropped_at: float | None = None

    async def backlog(self) -> Backlog:
        """Return what waits in the store; raises ``StoreUnavailable``."""
        found = await self.exports.backlog()
        if self._dropped is not None and found.dropped > self._dropped:
            self._dropped_at = time.monotonic()
        self._dropped = found.dropped
        return found

    async def standing(self) -> HistoryStanding:
        """Return how it stands, as far as this process can tell; raises ``StoreUnavailable``."""
        backlog = await self.backlog()
        trouble = self.connection.trouble or self.keeper.trouble
        troubles = [f"jobs that are over do not get into the history: {trouble}"] if trouble else []
        if backlog.oldest_s > BEHIND_S and not trouble:
            troubles.append(f"a job has been waiting for the history for {backlog.oldest_s:.0f} s")
        if self._dropped_at is not None and time.monotonic() - self._dropped_at < LOSS_SHOWN_S:
            troubles.append(f"{backlog.dropped} jobs, ever, are not in the history: too many waited (history.buffer)")
        if self.keeper.counters.refused:
            troubles.append(
                f"{self.keeper.counters.refused} jobs could not be written to the history; the log names them"
            )
        facts = {
            "database": str(self.connection.address),
            "waiting": backlog.jobs,
            "oldest_waiting_s": round(backlog.oldest_s, 1),
            "dropped": backlog.dropped,
            "exported": self.keeper.counters.exported,
        }
        return HistoryStanding(troubles, facts)
