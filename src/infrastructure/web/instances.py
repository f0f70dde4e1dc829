"""The processes of the program over HTTP."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from domain.runs.instance import Departure, Instance, InstanceStatus
from infrastructure.web.access import VIEWER
from infrastructure.web.json_models import example
from infrastructure.web.lists import DEFAULT_LIMIT, Limit, Page
from infrastructure.web.problem_docs import problems
from infrastructure.web.services import FromServices

router = APIRouter(prefix="/instances", tags=["instances"])

INSTANCE_ID = "host-1-4711-9f21c4"
INSTANCE: dict[str, Any] = {
    "id": INSTANCE_ID,
    "role": "scheduler",
    "version": "0.1.0",
    "host": "host-1",
    "pid": 4711,
    "started_at": "2026-11-22T07:00:00.018Z",
    "last_seen_at": "2026-11-22T08:00:05.112Z",
    "status": "alive",
    "gone_at": None,
    "why": None,
    "clock_offset_s": 0.0021,
    "claimed": 12,
    "lanes": ["Report@1", "WorkerMetricsCollectionJob@1"],
    "loop_blocked": False,
}
GONE: dict[str, Any] = {
    **INSTANCE,
    "id": "host-2-512-03be77",
    "host": "host-2",
    "pid": 512,
    "last_seen_at": "2026-11-22T07:41:10.902Z",
    "status": "gone",
    "gone_at": "2026-11-22T07:42:01.114Z",
    "why": "vanished",
    "claimed": 0,
}

Cursor = Annotated[
    str | None,
    Query(
        pattern=r"^[!-~]{1,300}$",
        description="`next_cursor` of the page before.",
        examples=[INSTANCE_ID],
    ),
]


class InstanceView(BaseModel):
    """One process of the program, as it last announced itself."""

    model_config = example(INSTANCE)

    id: str
    role: str = Field(
        description="What it does: `all`, `api` (it executes nothing) or `scheduler` (it serves no HTTP)."
    )
    version: str = Field(description="The program's version.")
    host: str
    pid: int
    started_at: datetime
    last_seen_at: datetime = Field(description="When it last announced itself, by the store's clock.")
    status: InstanceStatus = Field(
        description="`silent`: nothing was heard of it for more than a lease. `gone`: it said goodbye, or nothing was "
        "heard of it for ten leases."
    )
    gone_at: datetime | None = Field(description="When it left, or was declared gone.")
    why: Departure | None = Field(description="How it went: it `stopped`, or it `vanished` without a word.")
    clock_offset_s: float | None = Field(
        description="How far its host's clock is ahead of the store's; negative when it is behind. Null at first."
    )
    claimed: int = Field(description="How many runs it holds.")
    lanes: list[str] = Field(
        description="What it executes, as `<job>@<version>`. What no instance names waits, and is shown as parked."
    )
    loop_blocked: bool = Field(description="Whether a job keeps its event loop from turning. It claims nothing then.")

    @classmethod
    def of(cls, instance: Instance) -> "InstanceView":
        """Return an instance as it is shown."""
        return cls(**dict(instance))


class InstanceList(Page[InstanceView]):
    """Instances in the order of their ids."""

    model_config = example({"items": [INSTANCE, GONE], "next_cursor": None})


@router.get("", summary="List instances", dependencies=VIEWER, responses=problems())
async def list_instances(
    services: FromServices,
    state: Annotated[InstanceStatus | None, Query(description="Only those that stand like this.")] = None,
    gone: Annotated[bool, Query(description="Show those too that are gone.")] = True,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> InstanceList:
    """Return the processes that share the store, of any role, in the order of their ids.

    Each announces itself four times a lease. Those that are gone are remembered for a day, the last hundred of them.
    """
    page = await services.instances.page(status=state, gone=gone, limit=limit, cursor=cursor or "")
    return InstanceList(items=[InstanceView.of(instance) for instance in page.items], next_cursor=page.next_cursor)
