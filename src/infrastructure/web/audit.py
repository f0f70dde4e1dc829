"""The audit over HTTP: who asked for what, and when."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from domain.audit.entry import AuditEntry, FieldChange
from domain.audit.errors import InvalidAuditAction, InvalidAuditCursor
from infrastructure.audit.log import AuditQuery
from infrastructure.web.access import VIEWER
from infrastructure.web.json_models import example
from infrastructure.web.lists import DEFAULT_LIMIT, Limit, Page
from infrastructure.web.parameters import CountedTime
from infrastructure.web.problem_docs import problems
from infrastructure.web.services import FromServices

router = APIRouter(prefix="/audit", tags=["audit"])

CURSOR = "c-1795500000000-0"
ENTRY: dict[str, Any] = {
    "id": CURSOR,
    "at": "2026-11-24T05:00:00Z",
    "action": "schedule.paused",
    "target": "nightly-report",
    "actor": "ops",
    "via": "cli",
    "client": "ann@laptop",
    "instance": "host-1-4711-9f21c4",
    "reason": "the database is being moved",
    "run_id": None,
    "changes": {"paused.by": {"before": None, "after": "ops"}},
    "facts": {},
}


class AuditView(BaseModel):
    """One change that took effect because somebody asked for it."""

    model_config = example(ENTRY)

    id: str
    at: datetime
    action: str = Field(
        description="What was done: `schedule.created` `.changed` `.paused` `.resumed` `.removed` `.run` "
        "`.backfilled`, `run.unparked` `.cancelled`, `job.scheduled` `.changed` `.cancelled`, "
        "`worker.registered` `.changed` `.removed`, `channel.tested`."
    )
    target: str = Field(description="The id of the schedule, one-shot or worker.")
    actor: str = Field(
        description="The name of an API key; without keys `api`, or `user@host` from the command line; the id of an "
        "instance for code in a process; the id of a job for what its body asked for."
    )
    via: str = Field(description="`api`, `cli`, `program` or `job`.")
    client: str | None = Field(description="What the caller said of itself. Nobody checks that.")
    instance: str = Field(description="The process that did it.")
    reason: str | None = Field(description="Why, if somebody said so.")
    run_id: str | None = Field(description="The run whose body asked.")
    changes: dict[str, FieldChange] = Field(
        description="Each field that differs, before and after; secrets are `(hidden)`, long values are cut."
    )
    facts: dict[str, Any] = Field(description="What else is known, such as the runs that were cancelled.")

    @classmethod
    def of(cls, entry: AuditEntry) -> "AuditView":
        """Return an entry as it is shown."""
        return cls(**dict(entry))


class AuditList(Page[AuditView]):
    """Entries, newest first."""

    model_config = example({"items": [ENTRY], "next_cursor": None})


@router.get(
    "",
    summary="Search the audit",
    dependencies=VIEWER,
    responses=problems(InvalidAuditCursor(cursor="17"), InvalidAuditAction(action="Paused")),
)
async def search_audit(
    services: FromServices,
    actor: Annotated[
        str | None, Query(max_length=200, description="Only what this one asked for.", examples=["ops"])
    ] = None,
    action: Annotated[
        str | None,
        Query(max_length=100, description="Only this action, or `schedule.*`.", examples=["schedule.paused"]),
    ] = None,
    target: Annotated[
        str | None, Query(max_length=250, description="Only what was done to this id.", examples=["nightly-report"])
    ] = None,
    since: Annotated[
        CountedTime | None, Query(description="From this time on.", examples=["2026-11-22T00:00:00Z"])
    ] = None,
    until: Annotated[
        CountedTime | None, Query(description="Up to this time.", examples=["2026-11-23T00:00:00Z"])
    ] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Annotated[
        str | None, Query(max_length=100, description="`next_cursor` of the page before.", examples=[CURSOR])
    ] = None,
) -> AuditList:
    """Return what people and programs asked for, newest first.

    An entry is written in the same step as the change, and only if the change took effect. What the program does by
    itself (fires, retries, parking) is not here: see the runs of a schedule. Entries are kept as the settings `[audit]`
    say.
    """
    page = await services.audit.page(AuditQuery(actor, action, target, since, until, limit, cursor or ""))
    return AuditList(items=[AuditView.of(entry) for entry in page.items], next_cursor=page.next_cursor)
