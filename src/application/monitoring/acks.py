"""Acknowledge alerts: somebody knows, so repeats and escalations can wait."""

from collections.abc import Callable

from application.monitoring.alert_book import AlertBook, WorkerAlerts
from application.monitoring.alerting import AlertEngine
from application.monitoring.evaluation import Evaluation
from application.runs.asking import Note, asking
from application.scheduling.deeds import Deed, WriteDown, unwritten
from domain.monitoring.errors import AlertNotFound, AlertNotOpen, InvalidAck
from domain.monitoring.record import AlertRecord
from domain.monitoring.silence import Ack, AckRequest


class AlertAcks:
    """Acknowledge open alerts and take that back. Raises ``AlertNotFound``, ``AlertNotOpen``, ``StoreUnavailable``.

    The acknowledgement is part of the episode: it ends with it.
    """

    def __init__(self, book: AlertBook, engine: AlertEngine, write_down: WriteDown = unwritten) -> None:
        self._book = book
        self._engine = engine
        self._write_down = write_down

    async def acknowledge(self, alert_id: str, request: AckRequest) -> AlertRecord:
        """Note that somebody knows of an alert; a later one takes the place of an earlier one.

        Raises ``InvalidAck`` with all that is wrong.
        """
        record = await self._open(alert_id)
        actor = asking()
        by = request.by or (actor.name if actor else "program")

        def act(evaluation: Evaluation, alerts: WorkerAlerts) -> Note | None:
            problems = request.problems(alerts.now)
            if problems:
                raise InvalidAck(why="; ".join(problems), problems=problems)
            ack = Ack(
                by=by,
                note=request.note,
                at=alerts.now,
                until=request.end(alerts.now),
                severity=request.severity or record.severity,
            )
            return self._noted(evaluation, alert_id, ack, request.by)

        return await self._change(record, act)

    async def take_back(self, alert_id: str, by: str | None = None) -> AlertRecord:
        """Let an alert be told again as if nobody knew of it; twice is fine."""
        record = await self._open(alert_id)
        return await self._change(record, lambda found, _: self._noted(found, alert_id, None, by))

    async def _change(self, record: AlertRecord, act: Callable[[Evaluation, WorkerAlerts], Note | None]) -> AlertRecord:
        try:
            await self._engine.change(record.worker_id, act)
        except AlertNotFound:  # it was open a moment ago
            await self._open(record.id)
            raise
        return await self._open(record.id)

    def _noted(self, evaluation: Evaluation, alert_id: str, ack: Ack | None, by: str | None) -> Note | None:
        was = evaluation.acknowledge(alert_id, ack)
        if was is None:
            raise AlertNotFound(alert_id=alert_id)
        if was.ack is None and ack is None:
            return None
        before, after = ({"ack": one.model_dump(mode="json")} if one else {} for one in (was.ack, ack))
        action = "alert.acknowledged" if ack else "alert.unacknowledged"
        reason = ack.note if ack else ""
        return self._write_down(Deed(action, alert_id, before=before, after=after, by=by, reason=reason))

    async def _open(self, alert_id: str) -> AlertRecord:
        record = await self._book.find_open(alert_id)
        if record is not None:
            return record
        over = await self._book.find_resolved(alert_id)
        if over is None:
            raise AlertNotFound(alert_id=alert_id)
        raise AlertNotOpen(alert_id=alert_id, resolved_at=over.resolved_at)
