"""The monitoring of a worker over HTTP."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import Field, Strict

from application.monitoring.views import Monitoring, MonitoringRequest
from domain.monitoring.errors import InvalidMonitoring, NotMonitored, WorkerNotFound
from domain.scheduling.errors import ChangedMeanwhile, InvalidTrigger, ScheduleBusy
from infrastructure.web.access import OPERATOR, VIEWER
from infrastructure.web.json_models import example
from infrastructure.web.problem_docs import problems
from infrastructure.web.problems import IN_REQUEST
from infrastructure.web.schedule_views import RunStarted, StopView
from infrastructure.web.schedules import CancelRunning
from infrastructure.web.services import FromServices
from infrastructure.web.workers import WorkerId

router = APIRouter(prefix="/workers/{id}/monitoring", tags=["monitoring"])

NOT_FOUND = WorkerNotFound(worker_id="build-7")
NOT_MONITORED = NotMonitored(worker_id="build-7")
CHANGED = ChangedMeanwhile(id="worker-metrics-build-7", tries=10)


class MonitoringBody(MonitoringRequest):
    """How a worker is to be watched: every `interval_s` seconds, or by a `cron` line in a `timezone`.

    Without either it keeps its rhythm; a new one begins with the interval of the settings.
    """

    model_config = example({"interval_s": 5})

    interval_s: Annotated[float, Strict()] | None = Field(default=None, description="Seconds between two looks.")


@router.put(
    "",
    summary="Watch a worker",
    dependencies=OPERATOR,
    responses={
        201: {"model": Monitoring, "description": "It was not watched before."},
        **problems(
            NOT_FOUND,
            CHANGED,
            InvalidMonitoring(worker_id="build-7", why="interval_s: Input should be greater than or equal to 0.01"),
            InvalidTrigger(id="worker-metrics-build-7", why="it would never fire (again); mend its cron line"),
        ),
    },
)
async def start_monitoring(
    worker_id: WorkerId, services: FromServices, response: Response, wanted: MonitoringBody | None = None
) -> Monitoring:
    """Look at a worker again and again; a new one is looked at once at once.

    The same request again changes nothing. Left out, the rhythm and a pause stay as they are.
    """
    with told_by_place():
        started = await services.monitoring.start(worker_id, wanted)
    response.status_code = 201 if started.is_new else 200
    return started.monitoring


@router.get("", summary="Show a monitoring", dependencies=VIEWER, responses=problems(NOT_MONITORED, NOT_FOUND))
async def get_monitoring(worker_id: WorkerId, services: FromServices) -> Monitoring:
    """Return the rhythm, the next and the last look, and how often it went well. 404 while it is not watched."""
    return await services.monitoring.get(worker_id)


@router.delete(
    "",
    summary="Watch a worker no more",
    dependencies=OPERATOR,
    responses=problems(NOT_MONITORED, NOT_FOUND, CHANGED),
)
async def stop_monitoring(
    worker_id: WorkerId, services: FromServices, cancel_running: CancelRunning = False
) -> StopView:
    """Stop looking at a worker, from any instance, and resolve its alerts.

    What executes is listed, and cancelled too with `cancel_running`. The worker and its samples stay.
    """
    stopped = await services.monitoring.stop(worker_id, cancel_running)
    return StopView.model_validate(stopped.model_dump())


@router.post(
    "/run",
    status_code=202,
    summary="Look at a worker now",
    response_description="The run is in the store; it starts as soon as an instance has room.",
    dependencies=OPERATOR,
    responses=problems(
        NOT_MONITORED,
        NOT_FOUND,
        CHANGED,
        ScheduleBusy(id="worker-metrics-build-7", running="worker-metrics-build-7@1.2", overlap="skip"),
    ),
)
async def run_monitoring(worker_id: WorkerId, services: FromServices) -> RunStarted:
    """Look at a worker once, beside its rhythm. Refused while it is being looked at."""
    return RunStarted(run_id=await services.monitoring.run_now(worker_id))


@contextmanager
def told_by_place() -> Iterator[None]:
    """Tell which part of the body a refusal is about."""
    try:
        yield
    except InvalidTrigger as error:
        error.facts[IN_REQUEST] = [{"loc": ["body", "cron"], "msg": error.facts["why"]}]
        raise
    except InvalidMonitoring as error:
        error.facts[IN_REQUEST] = [{"loc": ["body"], "msg": error.facts["why"]}]
        raise
