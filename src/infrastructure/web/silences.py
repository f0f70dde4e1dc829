"""Silences over HTTP: times in which nothing is told of some alerts."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import ConfigDict, Field

from application.monitoring.silences import SilenceView
from domain.monitoring.errors import InvalidSilence, SilenceNotFound, TooManySilences
from domain.monitoring.silence import LONGEST_SILENCE, Matchers, SilenceRequest, Text
from infrastructure.web.access import OPERATOR, VIEWER
from infrastructure.web.alerts import told_by_place
from infrastructure.web.json_models import Body, LeftOut, example
from infrastructure.web.lists import DEFAULT_LIMIT, Limit, Page
from infrastructure.web.parameters import CountedTime
from infrastructure.web.problem_docs import problems
from infrastructure.web.services import FromServices

router = APIRouter(prefix="/silences", tags=["silences"])

ID = r"^[A-Za-z0-9][A-Za-z0-9\-]{0,99}$"
AN_ID = "silence-5f2c1b7a90de"
State = Literal["scheduled", "active", "expired"]
SilenceId = Annotated[str, Path(alias="id", pattern=ID, description="The silence's id.", examples=[AN_ID])]
NOT_FOUND = SilenceNotFound(silence_id=AN_ID)
WANTED: dict[str, Any] = {
    "matchers": {"labels": {"role": "db"}, "severities": ["info", "warning"]},
    "for_s": 7200,
    "reason": "the disks are being changed",
}
SILENCE: dict[str, Any] = {
    "id": AN_ID,
    "state": "active",
    "matchers": {"rule_ids": [], "worker_ids": [], **WANTED["matchers"]},
    "starts_at": "2026-11-22T08:00:00Z",
    "ends_at": "2026-11-22T10:00:00Z",
    "reason": WANTED["reason"],
    "author": "ann",
    "created_at": "2026-11-22T08:00:00Z",
}


class SilenceBody(Body):
    """What to silence, until `ends_at` or for `for_s` seconds, from now on or from `starts_at`."""

    model_config = example(WANTED)

    matchers: Matchers
    starts_at: LeftOut[CountedTime] = Field(default=None, description="From when on; now without it.")
    ends_at: LeftOut[CountedTime] = Field(default=None, description="Until when.")
    for_s: LeftOut[Annotated[float, Field(gt=0, le=LONGEST_SILENCE.total_seconds(), allow_inf_nan=False)]] = Field(
        default=None, description="For how many seconds; instead of `ends_at`."
    )
    reason: Text = Field(description="Why; others will read it.")


class SilenceAnswer(SilenceView):
    """A silence, and whether it holds. Its author is the name of the key that it was made with."""

    model_config = example(SILENCE) | ConfigDict(from_attributes=True)

    state: State
    starts_at: datetime
    ends_at: datetime = Field(description="It holds up to this time; ending it early changes it.")


class SilenceList(Page[SilenceAnswer]):
    """Silences, those that end first first."""

    model_config = example({"items": [SILENCE], "next_cursor": None})


@router.post(
    "",
    status_code=201,
    summary="Silence alerts",
    response_description="It is in the store and holds on all instances. `Location` names it.",
    dependencies=OPERATOR,
    responses=problems(
        InvalidSilence(why="ends_at: it is past already"),
        TooManySilences(count=1000, most=1000),
    ),
)
async def create_silence(
    wanted: SilenceBody, services: FromServices, request: Request, response: Response
) -> SilenceAnswer:
    """Let nothing be told of the alerts that all `matchers` fit; within one matcher any of its values.

    Alerts go on as they are. At its end what is still wrong is told, and what ended meanwhile, but not what came and
    went.
    """
    asked = SilenceRequest.model_validate(wanted.model_dump(exclude_unset=True))
    with told_by_place():
        made = await services.silences.create(asked)
    response.headers["Location"] = f"{request.scope['root_path']}/api/v1/silences/{made.id}"
    return SilenceAnswer.model_validate(made)


@router.get("", summary="List silences", dependencies=VIEWER, responses=problems())
async def list_silences(
    services: FromServices,
    state: Annotated[State | None, Query(description="Only those in this state.", examples=["active"])] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Annotated[
        str | None, Query(pattern="^[0-9]{1,9}$", description="`next_cursor` of the page before.", examples=["50"])
    ] = None,
) -> SilenceList:
    """Return the silences that hold or will, those that end first first; with `state=expired` those of a week."""
    found = await services.silences.list(include_expired=state == "expired")
    chosen = [SilenceAnswer.model_validate(one) for one in found if state in (None, one.state)]
    start = int(cursor or 0)
    end = start + limit
    return SilenceList(items=chosen[start:end], next_cursor=str(end) if len(chosen) > end else None)


@router.get("/{id}", summary="Show a silence", dependencies=VIEWER, responses=problems(NOT_FOUND))
async def get_silence(silence_id: SilenceId, services: FromServices) -> SilenceAnswer:
    """Return a silence; it can be asked for until a week after its end."""
    return SilenceAnswer.model_validate(await services.silences.get(silence_id))


@router.delete(
    "/{id}",
    summary="End a silence",
    response_description="It has ended, now or before.",
    dependencies=OPERATOR,
    responses=problems(NOT_FOUND),
)
async def end_silence(silence_id: SilenceId, services: FromServices) -> SilenceAnswer:
    """End a silence now: what it held back is told. Twice is fine."""
    return SilenceAnswer.model_validate(await services.silences.expire(silence_id))
