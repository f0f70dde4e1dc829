"""The monitoring of many workers at once over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field, Strict

from application.monitoring.views import BulkStart, MonitoringPage, MonitoringRequest, Selection
from domain.monitoring.errors import InvalidMonitoring
from infrastructure.web.access import OPERATOR, VIEWER
from infrastructure.web.json_models import example
from infrastructure.web.lists import DEFAULT_LIMIT, Limit
from infrastructure.web.monitoring import told_by_place
from infrastructure.web.problem_docs import problems
from infrastructure.web.services import FromServices
from infrastructure.web.workers import ID

router = APIRouter(prefix="/monitoring", tags=["monitoring"])

Cursor = Annotated[str | None, Query(pattern=ID, description="`next_cursor` of the page before.", examples=["build-7"])]


class FleetBody(Selection, MonitoringRequest):
    """Which workers, and how they are to be watched.

    Name them in `worker_ids`, or select them by `labels`, `provider` and `region` (all that are given must fit), or say
    `all`. Without `interval_s` and `cron` each keeps its rhythm; a new one begins with its provider's interval.
    """

    model_config = example({"labels": {"team": "ops"}, "interval_s": 60})

    interval_s: Annotated[float, Strict()] | None = Field(default=None, description="Seconds between two looks.")


class FleetView(BaseModel):
    """What became of each worker that was meant, in the order asked."""

    items: list[BulkStart]
    created: int = Field(description="Not watched before.")
    changed: int = Field(description="Watched in another way before.")
    unchanged: int = Field(description="Watched as asked already.")
    failed: int = Field(description="Not done: `problem` of the item tells why. Asking again makes up for it.")


@router.put(
    "",
    summary="Watch many workers",
    dependencies=OPERATOR,
    responses=problems(InvalidMonitoring(worker_id="build-7", why="interval_s: Input should be greater than 0")),
)
async def start_many(wanted: FleetBody, services: FromServices) -> FleetView:
    """Look at all these workers again and again; new ones are looked at once at once.

    The answer is 200 also when some could not be started: each says what became of it, and one that fails keeps no
    other from it. The same request again changes nothing.
    """
    given = wanted.model_dump(exclude_unset=True)
    selection = Selection.model_validate({name: given[name] for name in Selection.model_fields.keys() & given.keys()})
    request = MonitoringRequest.model_validate(
        {name: given[name] for name in MonitoringRequest.model_fields.keys() & given.keys()}
    )
    with told_by_place():
        items = await services.monitoring.start_many(await services.monitoring.select(selection), request)
    counts = {result: sum(item.result == result for item in items) for result in ("created", "changed", "unchanged")}
    return FleetView(items=list(items), failed=len(items) - sum(counts.values()), **counts)


@router.get("", summary="List what is watched", dependencies=VIEWER, responses=problems())
async def list_monitoring(
    services: FromServices, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> MonitoringPage:
    """Return the monitoring of each watched worker, in the order of their ids."""
    return await services.monitoring.list(limit, cursor or "")
