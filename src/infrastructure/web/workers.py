"""Workers and their metrics over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import Field

from application.monitoring.importing import ImportResult
from application.monitoring.registry import MAX_SAMPLES_A_PAGE
from application.monitoring.views import SamplePage, WorkerPage, WorkerView
from domain.monitoring.errors import (
    InvalidQuery,
    InvalidWorker,
    ProviderNotSupported,
    WorkerChangedMeanwhile,
    WorkerExists,
    WorkerNotFound,
)
from domain.monitoring.found import ImportFilters, ImportRequest
from domain.monitoring.import_errors import ImportNotSupported, InvalidImport, ProviderFailed
from domain.monitoring.worker import WorkerPatch, WorkerRequest
from infrastructure.web.access import ADMIN, VIEWER, actor
from infrastructure.web.json_models import example
from infrastructure.web.lists import DEFAULT_LIMIT, Limit
from infrastructure.web.parameters import CountedTime
from infrastructure.web.problem_docs import problems
from infrastructure.web.services import FromServices

router = APIRouter(prefix="/workers", tags=["workers"])

ID = r"^[A-Za-z0-9][A-Za-z0-9._:\-]{0,127}$"
WorkerId = Annotated[str, Path(alias="id", pattern=ID, description="The worker's id.", examples=["build-7"])]
Cursor = Annotated[str | None, Query(pattern=ID, description="`next_cursor` of the page before.", examples=["build-7"])]
MOMENT = "2026-11-22T08:00:00Z"

NOT_FOUND = WorkerNotFound(worker_id="build-7")
CHANGED = WorkerChangedMeanwhile(worker_id="build-7", tries=10)
INVALID = InvalidWorker(why="an instance_id is for provider aws")


@router.post(
    "",
    status_code=201,
    summary="Register a worker",
    response_description="It is registered, and not monitored yet. `Location` names it.",
    dependencies=ADMIN,
    responses=problems(
        WorkerExists(worker_id="build-7"), INVALID, ProviderNotSupported(provider="azure", supported="local")
    ),
)
async def register_worker(
    wanted: WorkerRequest, services: FromServices, request: Request, response: Response
) -> WorkerView:
    """Register a machine that can be watched. Start watching it with `PUT /workers/{id}/monitoring`."""
    worker = await services.workers.register(wanted)
    response.headers["Location"] = f"{request.scope['root_path']}/api/v1/workers/{worker.id}"
    return worker


class ImportBody(ImportRequest):
    """Which machines of a provider are to be registered: all of one `region`, or those that the `filters` let through.

    Without an `account` it is the provider's first one. `monitor` starts watching all of them.
    """

    model_config = example(
        {"provider": "aws", "region": "eu-west-1", "filters": {"tags": {"team": "web"}, "states": ["running"]}}
    )

    filters: ImportFilters = Field(
        default=ImportFilters(), description="Which of them; left out, all that are not terminated."
    )


@router.post(
    "/import",
    summary="Import workers",
    response_description="What became of each.",
    dependencies=ADMIN,
    responses=problems(
        InvalidImport(why="the region us-east-1 is not in monitoring.aws.regions (there: eu-west-1)"),
        ImportNotSupported(provider="local"),
        ProviderNotSupported(provider="azure", supported="aws, local"),
        ProviderFailed(provider="aws", why="the permission ec2:DescribeInstances is missing for the account 'default'"),
    ),
)
async def import_workers(wanted: ImportBody, services: FromServices) -> ImportResult:
    """Register what a provider has, and bring the names and labels of what is registered in line with it.

    The same request again changes nothing. Labels that people added stay, and so do workers that the provider no longer
    has. Several accounts and regions are several requests.
    """
    return await services.workers.import_workers(wanted)


@router.get("", summary="List workers", dependencies=VIEWER, responses=problems())
async def list_workers(services: FromServices, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None) -> WorkerPage:
    """Return workers in the order of their ids, each with its status, its monitoring and its last sample."""
    return await services.workers.list(limit, cursor or "")


@router.get("/{id}", summary="Show a worker", dependencies=VIEWER, responses=problems(NOT_FOUND))
async def get_worker(worker_id: WorkerId, services: FromServices) -> WorkerView:
    """Return a worker with its status, its monitoring and its last sample."""
    return await services.workers.get(worker_id)


@router.patch("/{id}", summary="Change a worker", dependencies=ADMIN, responses=problems(NOT_FOUND, CHANGED, INVALID))
async def change_worker(worker_id: WorkerId, patch: WorkerPatch, services: FromServices) -> WorkerView:
    """Change what is named and keep the rest. `labels` are merged; a label of null goes. Id and provider are fixed."""
    return await services.workers.change(worker_id, patch)


@router.delete(
    "/{id}",
    status_code=204,
    response_class=Response,
    summary="Remove a worker",
    response_description="It is gone.",
    dependencies=ADMIN,
    responses=problems(NOT_FOUND),
)
async def remove_worker(worker_id: WorkerId, services: FromServices) -> None:
    """Take a worker away with its samples, stop its monitoring, and resolve its alerts."""
    await services.workers.remove(worker_id, f"removed by {actor()}")


@router.get(
    "/{id}/metrics",
    summary="Show what was measured",
    dependencies=VIEWER,
    responses=problems(NOT_FOUND, InvalidQuery(why="until is before since")),
)
async def list_samples(
    worker_id: WorkerId,
    services: FromServices,
    since: Annotated[
        CountedTime | None, Query(description="The first moment; without it the last ones.", examples=[MOMENT])
    ] = None,
    until: Annotated[CountedTime | None, Query(description="The last moment.", examples=[MOMENT])] = None,
    limit: Annotated[
        int, Query(ge=1, le=MAX_SAMPLES_A_PAGE, description="How many samples at most.", examples=[1000])
    ] = 1000,
    cursor: Annotated[
        str | None, Query(max_length=64, description="`next_cursor` of the page before.", examples=[MOMENT])
    ] = None,
) -> SamplePage:
    """Return samples, oldest first; they are kept for a day.

    What is not known is null, with the reason under `missing`; it is never 0.
    """
    page = await services.workers.samples(worker_id, since, until, limit, cursor or "")
    # A plus sign in a URL is a space: whoever copies the cursor into one would not find the place again.
    following = page.next_cursor and page.next_cursor.replace("+00:00", "Z")
    return page.model_copy(update={"next_cursor": following})
