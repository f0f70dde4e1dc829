"""Alerts over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query

from application.monitoring.alert_list import MAX_ALERTS_A_PAGE
from application.monitoring.views import AlertPage
from domain.monitoring.record import RecordState
from infrastructure.web.access import VIEWER
from infrastructure.web.problem_docs import problems
from infrastructure.web.services import FromServices
from infrastructure.web.workers import ID

router = APIRouter(prefix="/alerts", tags=["alerts"])

Cursor = Annotated[
    str | None, Query(pattern="^[0-9]{1,9}$", description="`next_cursor` of the page before.", examples=["100"])
]


@router.get("", summary="List alerts", dependencies=VIEWER, responses=problems())
async def list_alerts(
    services: FromServices,
    state: Annotated[RecordState | None, Query(description="Only those in this state.", examples=["firing"])] = None,
    worker_id: Annotated[
        str | None, Query(pattern=ID, description="Only those of this worker.", examples=["build-7"])
    ] = None,
    limit: Annotated[
        int, Query(ge=1, le=MAX_ALERTS_A_PAGE, description="How many alerts at most.", examples=[100])
    ] = 100,
    cursor: Cursor = None,
) -> AlertPage:
    """Return what is wrong with the workers, oldest first, then what was resolved lately, newest first.

    `pending` waits for its rule's `for_s`; `recovering` is calm again, but not yet for long enough.
    """
    return await services.alerts.list(state, worker_id, limit, cursor or "")
