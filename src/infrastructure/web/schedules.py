"""Schedules over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from domain.runs.errors import InvalidData, UnknownJob
from domain.scheduling.errors import (
    BackfillRefused,
    ChangedMeanwhile,
    IdTaken,
    InvalidTrigger,
    NotResumable,
    ScheduleBusy,
    ScheduleNotFound,
    UnreadableSchedule,
    WaitsForInstance,
)
from domain.scheduling.schedule import PutResult, ScheduleInfo, ScheduleStatus
from infrastructure.web.access import OPERATOR, VIEWER, actor
from infrastructure.web.lists import DEFAULT_LIMIT, Limit
from infrastructure.web.problem_docs import problems
from infrastructure.web.schedule_requests import (
    BackfillRequest,
    PauseRequest,
    SchedulePatch,
    ScheduleRequest,
    told_by_place,
)
from infrastructure.web.schedule_views import RunList, RunsStarted, RunStarted, ScheduleList, ScheduleView, StopView
from infrastructure.web.services import FromServices

router = APIRouter(prefix="/schedules", tags=["schedules"])

ID = r"^[A-Za-z0-9][A-Za-z0-9._:\-]{0,199}$"
ScheduleId = Annotated[str, Path(alias="id", pattern=ID, description="The schedule's id.", examples=["nightly-report"])]
Cursor = Annotated[
    str | None, Query(pattern=ID, description="`next_cursor` of the page before.", examples=["nightly-report"])
]
CancelRunning = Annotated[bool, Query(description="Cancel the runs too that are executing.")]

NOT_FOUND = ScheduleNotFound(id="nightly-report")
WAITS = WaitsForInstance(id="nightly-report", why="no running instance knows 'Report' in version 2")
UNREADABLE = UnreadableSchedule(id="nightly-report", why="policy.overlap: Input should be a valid string")
CHANGED = ChangedMeanwhile(id="nightly-report", tries=10)
NO_JOB = UnknownJob(name="Raport", hint="Did you mean Report?")
BAD_DATA = InvalidData(
    name="Report", why="team: Field required", in_request=[{"loc": ["body", "data", "team"], "msg": "Field required"}]
)
BAD_TRIGGER = InvalidTrigger(id="nightly-report", why="it would never fire (again); mend its cron line")


@router.post(
    "",
    status_code=201,
    summary="Make a schedule, or change it",
    response_description="It is new. `Location` names it.",
    dependencies=OPERATOR,
    responses={
        200: {"model": ScheduleView, "description": "It was there: changed to this, or the same already."},
        **problems(IdTaken(id="nightly-report", what="a one-shot"), CHANGED, UNREADABLE, NO_JOB, BAD_DATA, BAD_TRIGGER),
    },
)
async def put_schedule(
    wanted: ScheduleRequest, services: FromServices, request: Request, response: Response
) -> ScheduleView:
    """Run a background job again and again.

    The answer means that the schedule is in the store. Sending the same request again changes nothing; sending another
    one with the same `id` replaces the schedule: the rhythm begins anew only if the trigger changed, and a pause stays.
    """
    with told_by_place():
        scheduled = await services.bus.schedule_task(wanted.descriptor())
    response.status_code = 201 if scheduled.result is PutResult.CREATED else 200
    response.headers["Location"] = f"{request.scope['root_path']}/api/v1/schedules/{scheduled.info.id}"
    return _view(scheduled.info)


@router.get("", summary="List schedules", dependencies=VIEWER, responses=problems())
async def list_schedules(
    services: FromServices,
    name: Annotated[str | None, Query(description="Only those of this background job.", examples=["Report"])] = None,
    state: Annotated[ScheduleStatus | None, Query(description="Only those that stand like this.")] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> ScheduleList:
    """Return schedules in the order of their ids. One that is made or removed meanwhile does not shift the pages."""
    page = await services.scheduler.list_tasks(name=name, status=state, limit=limit, cursor=cursor or "")
    return ScheduleList(items=[ScheduleView.of(info) for info in page.items], next_cursor=page.next_cursor)


@router.get("/{id}", summary="Show a schedule", dependencies=VIEWER, responses=problems(NOT_FOUND))
async def get_schedule(schedule_id: ScheduleId, services: FromServices) -> ScheduleView:
    """Return a schedule with its next and last fire, its last outcome, its counts, and what runs now."""
    return _view(await services.scheduler.get_task_info(schedule_id))


@router.patch(
    "/{id}",
    summary="Change a schedule",
    dependencies=OPERATOR,
    responses=problems(NOT_FOUND, CHANGED, UNREADABLE, BAD_DATA, BAD_TRIGGER),
)
async def change_schedule(schedule_id: ScheduleId, patch: SchedulePatch, services: FromServices) -> ScheduleView:
    """Change what is named and keep the rest. The rhythm begins anew only if the trigger changed; a pause stays."""
    with told_by_place():
        scheduled = await services.scheduler.modify(schedule_id, patch.changes())
    return _view(scheduled.info)


@router.delete("/{id}", summary="Stop a schedule", dependencies=OPERATOR, responses=problems(NOT_FOUND, CHANGED))
async def stop_schedule(
    schedule_id: ScheduleId, services: FromServices, cancel_running: CancelRunning = False
) -> StopView:
    """Take a schedule out of the store.

    After the answer no new run of it is made, by any instance. Runs that wait are cancelled; those that execute are
    listed, and cancelled too with `cancel_running`.
    """
    stopped = await services.scheduler.stop_task(schedule_id, cancel_running, by=actor())
    return StopView.model_validate(stopped.model_dump())


@router.post(
    "/{id}/pause",
    summary="Pause a schedule",
    dependencies=OPERATOR,
    responses=problems(NOT_FOUND, CHANGED, UNREADABLE),
)
async def pause_schedule(
    schedule_id: ScheduleId, services: FromServices, wanted: PauseRequest | None = None
) -> ScheduleView:
    """Let a schedule rest until it is resumed. Runs that exist go on. Pausing twice keeps the first pause."""
    reason = wanted.reason if wanted else ""
    return _view(await services.scheduler.pause(schedule_id, reason, by=actor()))


@router.post(
    "/{id}/resume",
    summary="Resume a schedule",
    dependencies=OPERATOR,
    responses=problems(NOT_FOUND, NotResumable(id="nightly-report"), WAITS, CHANGED, UNREADABLE),
)
async def resume_schedule(schedule_id: ScheduleId, services: FromServices) -> ScheduleView:
    """Let a paused or parked schedule go on with its next fire; what fell into the rest is not caught up."""
    return _view(await services.scheduler.resume(schedule_id, by=actor()))


@router.post(
    "/{id}/run",
    status_code=202,
    summary="Run it now",
    response_description="The run is in the store; it starts as soon as an instance has room.",
    dependencies=OPERATOR,
    responses=problems(
        NOT_FOUND,
        ScheduleBusy(id="nightly-report", running="nightly-report@1.now.2", overlap="skip"),
        CHANGED,
        UNREADABLE,
    ),
)
async def run_schedule(schedule_id: ScheduleId, services: FromServices) -> RunStarted:
    """Run the job of a schedule once, beside its rhythm. Refused while it executes, as its overlap policy says."""
    return RunStarted(run_id=await services.scheduler.run_now(schedule_id))


@router.post(
    "/{id}/backfill",
    status_code=202,
    summary="Run what was missed",
    response_description="The runs are in the store; they execute one after another.",
    dependencies=OPERATOR,
    responses=problems(
        NOT_FOUND,
        CHANGED,
        UNREADABLE,
        BackfillRefused(id="nightly-report", why="more than 1000 fires lie in that time"),
    ),
)
async def backfill_schedule(schedule_id: ScheduleId, wanted: BackfillRequest, services: FromServices) -> RunsStarted:
    """Make a run for each fire that was due from `since` to `until`, beside the rhythm.

    Asked twice, it makes nothing twice while the runs are remembered.
    """
    return RunsStarted(run_ids=await services.scheduler.backfill(schedule_id, wanted.since, wanted.until))


@router.get("/{id}/runs", summary="List the runs of a schedule", dependencies=VIEWER, responses=problems(NOT_FOUND))
async def list_runs(schedule_id: ScheduleId, services: FromServices, limit: Limit = DEFAULT_LIMIT) -> RunList:
    """Return the runs that are not over, then the last ones that are, each newest first. Few are kept: no pages."""
    return RunList(items=(await services.scheduler.runs(schedule_id))[:limit])


def _view(info: object) -> ScheduleView:
    """Return a schedule as it is shown. A one-shot that bears the id is a job, and none of ours."""
    if not isinstance(info, ScheduleInfo):
        raise ScheduleNotFound(id=getattr(info, "id", ""))
    return ScheduleView.of(info)
