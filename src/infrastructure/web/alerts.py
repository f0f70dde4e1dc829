"""Alerts over HTTP: what is wrong, and who knows of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import Field

from application.monitoring.alert_list import MAX_ALERTS_A_PAGE
from application.monitoring.views import AlertPage
from domain.monitoring.errors import AlertNotFound, AlertNotOpen, AlertsChangedMeanwhile, InvalidAck, InvalidSilence
from domain.monitoring.record import AlertRecord, RecordState
from domain.monitoring.severity import Severity
from domain.monitoring.silence import AckNote, AckRequest, AckSeconds
from domain.problems import placed
from infrastructure.web.access import OPERATOR, VIEWER
from infrastructure.web.json_models import Body, LeftOut, example
from infrastructure.web.parameters import CountedTime
from infrastructure.web.problem_docs import problems
from infrastructure.web.problems import IN_REQUEST
from infrastructure.web.services import FromServices

router = APIRouter(prefix="/alerts", tags=["alerts"])

RULE_ID = r"^[A-Za-z0-9][A-Za-z0-9._:\-]{0,127}$"
SUBJECT = r"^[A-Za-z0-9][A-Za-z0-9._:~\-]{0,299}$"
ALERT_ID = r"^[A-Za-z0-9][A-Za-z0-9._:~@\-]{0,499}$"
A_RULE, A_WORKER, AN_ALERT = "high-cpu", "build-7", "high-cpu@build-7@1795334400000"

AlertId = Annotated[str, Path(alias="id", pattern=ALERT_ID, description="The alert's id.", examples=[AN_ALERT])]
Cursor = Annotated[
    str | None, Query(pattern="^[0-9]{1,9}$", description="`next_cursor` of the page before.", examples=["100"])
]
NOT_FOUND = AlertNotFound(alert_id=AN_ALERT)
NOT_OPEN = AlertNotOpen(alert_id=AN_ALERT, resolved_at="2026-11-22 08:12:10+00:00")
CHANGED = AlertsChangedMeanwhile(worker_id=A_WORKER, tries=20)


class AckBody(Body):
    """Who acknowledges says until when, or for how long: four hours without either."""

    model_config = example({"note": "the disks are being changed", "for_s": 7200})

    note: AckNote = Field(default="", description="What is known of it; others will read it.")
    for_s: LeftOut[AckSeconds] = Field(default=None, description="For how many seconds.")
    until: LeftOut[CountedTime] = Field(default=None, description="Until when; instead of `for_s`.")
    severity: LeftOut[Severity] = Field(
        default=None, description="The worst that is known: what rises above it is told. The present one without."
    )


@router.get("", summary="List alerts", dependencies=VIEWER, responses=problems())
async def list_alerts(
    services: FromServices,
    state: Annotated[RecordState | None, Query(description="Only those in this state.", examples=["firing"])] = None,
    rule: Annotated[
        str | None, Query(pattern=RULE_ID, description="Only those of this rule.", examples=[A_RULE])
    ] = None,
    worker: Annotated[
        str | None, Query(pattern=SUBJECT, description="Only those of this worker.", examples=[A_WORKER])
    ] = None,
    severity: Annotated[
        Severity | None, Query(description="Only those that are as bad as this by now.", examples=["critical"])
    ] = None,
    limit: Annotated[
        int, Query(ge=1, le=MAX_ALERTS_A_PAGE, description="How many alerts at most.", examples=[100])
    ] = 100,
    cursor: Cursor = None,
) -> AlertPage:
    """Return what is wrong with the workers, oldest first, then what was resolved lately, newest first.

    `pending` waits for its rule's `for_s`; `recovering` is calm again, but not yet for long enough.
    """
    return await services.alerts.list(state, worker, limit, cursor or "", rule_id=rule, severity=severity)


@router.get("/{id}", summary="Show an alert", dependencies=VIEWER, responses=problems(NOT_FOUND))
async def get_alert(alert_id: AlertId, services: FromServices) -> AlertRecord:
    """Return one episode of one rule on one worker, with who knows of it and what keeps it from being told.

    Its id is in every message about it. The last thousand that are over can be asked for too.
    """
    return await services.alerts.get(alert_id)


@router.post(
    "/{id}/ack",
    summary="Acknowledge an alert",
    response_description="It is acknowledged; an earlier acknowledgement is replaced.",
    dependencies=OPERATOR,
    responses=problems(NOT_FOUND, NOT_OPEN, CHANGED, InvalidAck(why="until: it is past already")),
)
async def acknowledge_alert(alert_id: AlertId, services: FromServices, wanted: AckBody | None = None) -> AlertRecord:
    """Say that you know of an alert: it is not repeated, and does not escalate up to its severity, until a time.

    What becomes worse than that is told, and so is its end. It is in the name of your key, and ends with the alert.
    """
    request = AckRequest.model_validate((wanted or AckBody()).model_dump(exclude_unset=True))
    with told_by_place():
        return await services.acks.acknowledge(alert_id, request)


@router.delete(
    "/{id}/ack",
    summary="Withdraw an acknowledgement",
    response_description="It is not acknowledged, or was not.",
    dependencies=OPERATOR,
    responses=problems(NOT_FOUND, NOT_OPEN, CHANGED),
)
async def withdraw_acknowledgement(alert_id: AlertId, services: FromServices) -> AlertRecord:
    """Let an alert be told again as if nobody knew of it. Twice is fine."""
    return await services.acks.take_back(alert_id)


@contextmanager
def told_by_place() -> Iterator[None]:
    """Name the place in the body for each thing that is wrong with a silence or an acknowledgement."""
    try:
        yield
    except (InvalidAck, InvalidSilence) as error:
        found = [placed(problem) for problem in error.facts["problems"]]
        error.facts[IN_REQUEST] = [{**one, "loc": ["body", *one["loc"]]} for one in found]
        raise
