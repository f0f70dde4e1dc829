"""Jobs over HTTP."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from application.jobs.publishing import MOST_IN_ONE_STEP
from application.jobs.service import Answer
from application.jobs.store import JobFilter
from domain.errors import RoundsmanError
from domain.jobs.errors import (
    HistoryUnavailable,
    IdempotencyConflict,
    InvalidJobQuery,
    JobIsOver,
    JobIsPast,
    JobNoLongerKept,
    JobNotFound,
    JobNotRetryable,
    NoResultYet,
    QueueFull,
    UnknownQueue,
)
from domain.jobs.request import JobRequest
from domain.runs.errors import InvalidData, UnknownJob, WrongTaskType
from domain.scheduling.errors import TimeInThePast
from infrastructure.web.access import OPERATOR, VIEWER
from infrastructure.web.job_requests import (
    BulkRequest,
    CorrelationId,
    IdempotencyKey,
    RetryRequest,
    completed,
    request_of,
    told,
    told_by_place,
    wanted_jobs,
)
from infrastructure.web.job_views import (
    JOB_ID,
    BulkItem,
    BulkView,
    JobDetails,
    JobList,
    JobResult,
    JobView,
    RetriedView,
)
from infrastructure.web.lists import DEFAULT_LIMIT, Limit
from infrastructure.web.problem_docs import problems
from infrastructure.web.services import FromServices

Given = TypeVar("Given")
Made = TypeVar("Made")

router = APIRouter(prefix="/jobs", tags=["jobs"])

ID = r"^[A-Za-z0-9][A-Za-z0-9._:\-]{0,199}$"
JobId = Annotated[str, Path(alias="id", pattern=ID, description="The job's id.", examples=[JOB_ID])]
Cursor = Annotated[
    str | None,
    Query(
        pattern=r"^[0-9a-z]{1,3}:[0-9A-Za-z._:\-]{0,240}$",
        description="`next_cursor` of the page before.",
        examples=[f"0:{JOB_ID}"],
    ),
]
NOT_FOUND = JobNotFound(id=JOB_ID)
HISTORY_AWAY = HistoryUnavailable(why="Connection refused")
REFUSALS: tuple[RoundsmanError, ...] = (
    UnknownJob(name="Imprt", hint="Did you mean Import?"),
    WrongTaskType(name="Report", actual="recurrent", wanted="scheduled"),
    InvalidData(
        name="Import",
        why="customer: Field required",
        in_request=[{"loc": ["body", "params", "customer"], "msg": "Field required"}],
    ),
    UnknownQueue(queue="gold", known="free, pro, business, enterprise"),
    TimeInThePast(id="Import", when="2020-01-01T00:00:00+00:00", late_s=217_000_000),
    IdempotencyConflict(key="order-4711", id=JOB_ID),
    JobNoLongerKept(key="order-4711", id=JOB_ID),
    QueueFull(queue="free", waiting=100_000, retry_after_s=12),
)


@router.post(
    "",
    status_code=202,
    summary="Submit a job",
    response_description="It is in the store, and will be executed. `Location` names it.",
    dependencies=OPERATOR,
    responses={
        200: {"model": JobView, "description": "The job that the same key and request made before."},
        **problems(*REFUSALS),
    },
)
async def submit_job(
    wanted: JobRequest,
    services: FromServices,
    request: Request,
    response: Response,
    idempotency_key: IdempotencyKey = None,
    correlation_id: CorrelationId = None,
) -> JobView:
    """Run a background job once, now or later.

    With an idempotency key the same request can be sent again after whatever went wrong: it is the same job, as long as
    `queues.idempotency_kept_h` says. Keys belong to `team_id` and `user_id`. A full queue answers 429, with a
    `Retry-After` by how fast it drains.
    """
    with told_by_place():
        submitted = await services.jobs.submit(completed(wanted, idempotency_key, correlation_id))
    response.status_code = 202 if submitted.is_new else 200
    response.headers["Location"] = f"{request.scope['root_path']}/api/v1/jobs/{submitted.job.id}"
    return JobView.of(submitted.job)


@router.post("/bulk", summary="Submit many jobs", dependencies=OPERATOR, response_model=BulkView, responses=problems())
async def submit_many(wanted: BulkRequest, services: FromServices, correlation_id: CorrelationId = None) -> Response:
    """Submit up to 10,000 jobs, in a body of up to 16 MiB. Each is accepted or refused by itself.

    The answer is 200 also when some were refused: each item has the status that it would have alone. One with 503 may
    or may not have been accepted; with an idempotency key it can be sent again.
    """

    def read(number: int, given: object) -> JobRequest | RoundsmanError:
        found = request_of(given, ("body", "jobs", number))
        return found if isinstance(found, RoundsmanError) else completed(found, None, correlation_id)

    requests = await in_turns(read, wanted.jobs)
    made = iter(await services.jobs.submit_many([one for one in requests if isinstance(one, JobRequest)]))

    def tell(number: int, asked: JobRequest | RoundsmanError) -> BulkItem:
        answer: Answer = asked if isinstance(asked, RoundsmanError) else next(made)
        return BulkItem.of(told(answer, ("body", "jobs", number)) if isinstance(answer, RoundsmanError) else answer)

    view = BulkView.of(await in_turns(tell, requests))
    return Response(view.model_dump_json(), media_type="application/json")  # FastAPI would validate all of it once more


async def in_turns(make: Callable[[int, Given], Made], many: Sequence[Given]) -> list[Made]:
    """Make something of each, and let others have the event loop in between."""
    made: list[Made] = []
    for number, one in enumerate(many):
        made.append(make(number, one))
        if number % MOST_IN_ONE_STEP == MOST_IN_ONE_STEP - 1:
            await asyncio.sleep(0)
    return made


@router.get(
    "",
    summary="List jobs",
    dependencies=VIEWER,
    responses=problems(
        InvalidJobQuery(why="the cursor names the job 'x', which moved on; ask from the start again"), HISTORY_AWAY
    ),
)
async def list_jobs(
    services: FromServices,
    wanted: Annotated[JobFilter, Depends(wanted_jobs)],
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> JobList:
    """Return jobs, newest first: those that are not over, those that are, and older ones that the history has.

    A page may have fewer items than `limit` and a `next_cursor` nevertheless: it looks at some thousand jobs at most.
    """
    page = await services.jobs.list(wanted, limit, cursor or "")
    return JobList(items=[JobView.of(job) for job in page.items], next_cursor=page.next_cursor)


@router.post("/retry", summary="Queue many jobs again", dependencies=OPERATOR, responses=problems())
async def retry_many(wanted: RetryRequest, services: FromServices) -> RetriedView:
    """Queue jobs again that failed, were cancelled or expired, the newest first; `limit` at most."""
    done = await services.jobs.retry_matching(wanted.filter(), wanted.limit)
    return RetriedView(retried=done.retried, more=done.more)


@router.get("/{id}", summary="Show a job", dependencies=VIEWER, responses=problems(NOT_FOUND, HISTORY_AWAY))
async def get_job(job_id: JobId, services: FromServices) -> JobDetails:
    """Return a job with what it was given, how far it is, when it may be done, and its earlier attempts."""
    job = await services.jobs.get(job_id)
    params = await services.jobs.params(job_id)
    expected = await services.jobs.estimated_completion(job)
    shown = JobView.of(job, estimated_completion=expected).model_dump()
    return JobDetails(**shown, params=params, attempts=list(job.attempts))


@router.get(
    "/{id}/result",
    summary="Get what a job returned",
    dependencies=VIEWER,
    responses=problems(NOT_FOUND, NoResultYet(id=JOB_ID, status="running"), HISTORY_AWAY),
)
async def get_result(job_id: JobId, services: FromServices) -> JobResult:
    """Return the result of a job that succeeded."""
    return JobResult(id=job_id, result=await services.jobs.result(job_id))


@router.delete(
    "/{id}",
    summary="Cancel a job",
    dependencies=OPERATOR,
    responses=problems(NOT_FOUND, JobIsOver(id=JOB_ID, status="succeeded"), HISTORY_AWAY),
)
async def cancel_job(
    job_id: JobId,
    services: FromServices,
    reason: Annotated[
        str, Query(max_length=500, description="Why; the job keeps it as its `error`.", examples=["not needed"])
    ] = "",
) -> JobView:
    """Cancel a job that is not over, also one that is executing, on whatever instance.

    It is cancelled when the answer comes, and never ends as succeeded. Its body hears of it within a second: async ones
    by `CancelledError` at their next await, sync ones by `ctx.cancelled`.
    """
    return JobView.of(await services.jobs.cancel(job_id, reason or "cancelled by a person"))


@router.post(
    "/{id}/retry",
    status_code=202,
    summary="Queue a job again",
    response_description="It waits again, with its retries new and its attempts counted on.",
    dependencies=OPERATOR,
    responses=problems(NOT_FOUND, JobNotRetryable(id=JOB_ID, status="succeeded"), JobIsPast(id=JOB_ID), HISTORY_AWAY),
)
async def retry_job(job_id: JobId, services: FromServices) -> JobView:
    """Queue a job again that failed, was cancelled or expired."""
    return JobView.of(await services.jobs.retry(job_id))
