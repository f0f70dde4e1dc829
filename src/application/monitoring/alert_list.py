"""The alerts, for whoever wants to see them."""

from typing import get_args

from application.monitoring.alert_book import AlertBook
from application.monitoring.views import AlertPage
from domain.monitoring.errors import AlertNotFound, InvalidQuery
from domain.monitoring.record import AlertRecord, RecordState

STATES = get_args(RecordState)
MAX_ALERTS_A_PAGE = 1000


class AlertList:
    """Open alerts and the last resolved ones."""

    def __init__(self, book: AlertBook, resolved_kept: int = 1000) -> None:
        self._book = book
        self._resolved_kept = resolved_kept

    async def get(self, alert_id: str) -> AlertRecord:
        """Return one alert; raises ``AlertNotFound``."""
        found = await self._book.find_open(alert_id) or await self._book.find_resolved(alert_id)
        if found is None:
            raise AlertNotFound(alert_id=alert_id)
        return found

    async def list(
        self,
        state: str | None = None,
        worker_id: str | None = None,
        limit: int = 100,
        cursor: str = "",
        *,
        rule_id: str | None = None,
        severity: str | None = None,
    ) -> AlertPage:
        """Return alerts: the open ones, oldest first, then the resolved ones, newest first; of all that is given.

        ``state`` is pending, firing, recovering or resolved; raises ``InvalidQuery`` for another one.
        """
        if state is not None and state not in STATES:
            raise InvalidQuery(why=f"state is '{state}', and must be one of {', '.join(STATES)}")
        if not 1 <= limit <= MAX_ALERTS_A_PAGE:
            raise InvalidQuery(why=f"limit is {limit}, and must be from 1 to {MAX_ALERTS_A_PAGE}")
        if cursor and not cursor.isdecimal():
            raise InvalidQuery(why=f"cursor '{cursor}' is not one that this list gave")
        found = [] if state == "resolved" else await self._book.open()
        if state in (None, "resolved"):
            found = [*found, *await self._book.resolved(self._resolved_kept)]
        wanted = {"state": state, "worker_id": worker_id, "rule_id": rule_id, "severity": severity}
        given = {name: value for name, value in wanted.items() if value is not None}
        chosen = [record for record in found if all(getattr(record, name) == value for name, value in given.items())]
        start = int(cursor or 0)
        end = start + limit
        return AlertPage(items=chosen[start:end], next_cursor=str(end) if len(chosen) > end else None)
