"""Health over HTTP: for load balancers, which see that it is up, and for people, who see why it is not."""

from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from application.runs.store import LaneStats, QueueStats
from domain.errors import StoreUnavailable
from infrastructure.web.access import Caller, identity_of
from infrastructure.web.errors import HostRefused, InternalError
from infrastructure.web.health import HealthReport, HealthStatus
from infrastructure.web.json_models import example
from infrastructure.web.problem_docs import problems
from infrastructure.web.services import FromServices

router = APIRouter(prefix="/health", tags=["health"])

HTTP_STATUS = {HealthStatus.OK: 200, HealthStatus.DEGRADED: 200, HealthStatus.DOWN: 503}
LANE = {"ready": 3, "running": 2, "oldest_ready_s": 0.8}
STORE_FACTS = {
    "answered_in_s": 0.0004,
    "clock_offset_s": 0.0021,
    "durability": "memory",
    "server": "Valkey 9.1.0",
    "append_only_file": True,
    "memory_used_bytes": 1873920,
}
READY = {
    "status": "degraded",
    "components": {
        "store": {"status": "ok", "facts": STORE_FACTS},
        "events": {"status": "degraded", "detail": "the tail of 'job' events: Connection refused"},
    },
}
TOTALS = {"ready": 3, "running": 2, "later": 14, "parked": 0, "oldest_ready_s": 0.8}


class Live(BaseModel):
    """The process answers."""

    model_config = example({"status": "ok"})

    status: Literal["ok"] = "ok"


class Component(BaseModel):
    """One part of the program."""

    status: HealthStatus
    detail: str | None = Field(default=None, description="What is wrong with it.")
    facts: dict[str, Any] | None = Field(default=None, description="What else is known of it.")


class Ready(BaseModel):
    """The program and its parts; its status is that of its worst part."""

    model_config = example(READY)

    status: HealthStatus
    components: dict[str, Component]

    @classmethod
    def of(cls, report: HealthReport, with_details: bool) -> "Ready":
        """Return a report as it is shown; who is not known sees states only."""
        components = {
            name: Component(status=found.status, detail=found.detail or None, facts=found.facts or None)
            if with_details
            else Component(status=found.status)
            for name, found in report.components.items()
        }
        return cls(status=report.status, components=components)


class LaneView(BaseModel):
    """The runs of one job in one version, and one queue if they are in any."""

    ready: int = Field(description="Runs that may start now.")
    running: int = Field(description="Runs that execute.")
    oldest_ready_s: float | None = Field(description="For how long the first of the ready ones has been waiting.")


class JobQueueView(BaseModel):
    """The jobs of one queue."""

    ready: int = Field(description="Jobs that may start now.")
    running: int = Field(description="Jobs that execute.")
    oldest_ready_s: float | None = Field(description="For how long the first of the ready ones has been waiting.")


class QueueStatsView(BaseModel):
    """How many runs there are, and where."""

    ready: int
    running: int
    later: int = Field(description="Delayed runs, and those that wait for another try.")
    parked: int = Field(
        description="Runs that were set aside: they wait for a person, or for an instance that knows them."
    )
    oldest_ready_s: float | None
    lanes: dict[str, LaneView] | None = Field(default=None, description="By job, version and queue; for known callers.")
    queues: dict[str, JobQueueView] | None = Field(
        default=None, description="By the queue that jobs were submitted to, as far as any were; for known callers."
    )


class Queue(BaseModel):
    """The queue of runs."""

    model_config = example(
        {"status": "ok", "queue_stats": {**TOTALS, "lanes": {"Import@1#pro": LANE}, "queues": {"pro": LANE}}}
    )

    status: HealthStatus
    detail: str | None = None
    queue_stats: QueueStatsView | None = Field(description="Null when the store does not answer.")


REFUSED = problems(everywhere=(HostRefused(host="evil.example"), InternalError(error_id="5f2c1b7a90de")))


@router.get("/live", summary="Is the process alive?", responses=REFUSED)
async def live() -> Live:
    """Answer whatever else is broken: only a process that does not answer this is worth a restart. Open to all."""
    return Live()


@router.get(
    "/ready",
    summary="Is the program ready?",
    response_model_exclude_none=True,
    responses={**REFUSED, 503: {"model": Ready, "description": "A part is down that it cannot do without."}},
)
async def ready(services: FromServices, request: Request, response: Response) -> Ready:
    """Look at each part: 200 while it is `ok` or `degraded`, 503 while a part is `down` that all depends on.

    Open to all; what is wrong with a part is shown to callers with a key, or to all while no key is configured.
    """
    report = await services.health.look()
    response.status_code = HTTP_STATUS[report.status]
    return Ready.of(report, with_details=_is_known(request))


@router.get(
    "/queue",
    summary="How long is the queue?",
    responses={**REFUSED, 503: {"model": Queue, "description": "The store does not answer."}},
)
async def queue(services: FromServices, request: Request, response: Response) -> Queue:
    """Count the runs that are ready, running and waiting for their time.

    Open to all; the names of jobs and queues are shown to callers with a key, or to all while no key is configured.
    """
    try:
        stats = await services.runs.queue_stats(services.registry.lanes)
    except StoreUnavailable as error:
        response.status_code = HTTP_STATUS[HealthStatus.DOWN]
        return Queue(status=HealthStatus.DOWN, detail=str(error) if _is_known(request) else None, queue_stats=None)
    return Queue(status=HealthStatus.OK, queue_stats=_view(stats, with_lanes=_is_known(request)))


def _view(stats: QueueStats, with_lanes: bool) -> QueueStatsView:
    lanes = {
        name: LaneView(ready=lane.ready, running=lane.running, oldest_ready_s=lane.oldest_ready_s)
        for name, lane in stats.lanes.items()
    }
    waits = [lane.oldest_ready_s for lane in lanes.values() if lane.oldest_ready_s is not None]
    return QueueStatsView(
        ready=sum(lane.ready for lane in lanes.values()),
        running=sum(lane.running for lane in lanes.values()),
        later=stats.later,
        parked=stats.parked,
        oldest_ready_s=max(waits, default=None),
        lanes=lanes if with_lanes else None,
        queues=_by_queue(stats) if with_lanes else None,
    )


def _by_queue(stats: QueueStats) -> dict[str, JobQueueView]:
    by_queue: dict[str, list[LaneStats]] = {}
    for name, lane in sorted(stats.lanes.items()):
        if queue := name.partition("#")[2]:
            by_queue.setdefault(queue, []).append(lane)
    return {
        queue: JobQueueView(
            ready=sum(lane.ready for lane in lanes),
            running=sum(lane.running for lane in lanes),
            oldest_ready_s=max(
                (lane.oldest_ready_s for lane in lanes if lane.oldest_ready_s is not None), default=None
            ),
        )
        for queue, lanes in by_queue.items()
    }


def _is_known(request: Request) -> bool:
    return isinstance(identity_of(request), Caller)
