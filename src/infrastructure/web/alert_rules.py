"""Alert rules over HTTP: those of the settings, to read, and those that are made here."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from domain.monitoring.errors import (
    AlertRuleChangedMeanwhile,
    AlertRuleFromSettings,
    AlertRuleNotFound,
    RuleNotRehearsed,
    TooManyRules,
    WorkerNotFound,
)
from infrastructure.web.access import OPERATOR, VIEWER
from infrastructure.web.alert_rule_views import RehearsalBody, RehearsalView, RuleAnswer, RuleBody, RuleList
from infrastructure.web.alerts import A_RULE, A_WORKER, RULE_ID
from infrastructure.web.lists import DEFAULT_LIMIT, Limit
from infrastructure.web.problem_docs import problems
from infrastructure.web.problems import invalid_fields
from infrastructure.web.services import FromServices

router = APIRouter(prefix="/alert-rules", tags=["alert rules"])

RuleId = Annotated[str, Path(alias="id", pattern=RULE_ID, description="The rule's id.", examples=[A_RULE])]
Cursor = Annotated[
    str | None, Query(pattern=RULE_ID, description="`next_cursor` of the page before.", examples=[A_RULE])
]
NOT_FOUND = AlertRuleNotFound(rule_id=A_RULE)
FIXED = AlertRuleFromSettings(rule_id=A_RULE)
CHANGED = AlertRuleChangedMeanwhile(rule_id=A_RULE, found=3, expected=2)


@router.get("", summary="List alert rules", dependencies=VIEWER, responses=problems())
async def list_rules(services: FromServices, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None) -> RuleList:
    """Return the rules that hold in the order of their ids. Those with the source `settings` are `read_only` here."""
    found = sorted(await services.rules.list(), key=lambda view: view.rule.id)
    left = [view for view in found if view.rule.id > (cursor or "")]
    items = [RuleAnswer.of(view) for view in left[:limit]]
    return RuleList(items=items, next_cursor=items[-1].id if len(left) > limit else None)


@router.post(
    "/test",
    summary="Try an alert rule",
    response_description="What it would have told.",
    dependencies=OPERATOR,
    responses=problems(WorkerNotFound(worker_id=A_WORKER), RuleNotRehearsed(rule_id="provider-down")),
)
async def try_rule(wanted: RehearsalBody, services: FromServices) -> RehearsalView:
    """Play a rule over what was measured of a worker, and return what it would have told, and when.

    Nothing is stored and nobody is told. It begins with nothing known, and without silences, acknowledgements and
    alerts that hide others. Looks that failed leave no samples: what is `unreachable` is not seen here.
    """
    rule = wanted.rule.rule(wanted.rule.id or "test")
    played = await services.rehearsals.rehearse(rule, wanted.worker_id, wanted.since, wanted.until)
    return RehearsalView.of(played)


@router.get("/{id}", summary="Show an alert rule", dependencies=VIEWER, responses=problems(NOT_FOUND))
async def get_rule(rule_id: RuleId, services: FromServices) -> RuleAnswer:
    """Return a rule with where it is from. What is returned can be changed and sent back with `PUT`."""
    return RuleAnswer.of(await services.rules.get(rule_id))


@router.put(
    "/{id}",
    summary="Make an alert rule, or change it",
    response_description="It was there: changed to this, or the same already.",
    dependencies=OPERATOR,
    responses={
        201: {"model": RuleAnswer, "description": "It is new. `Location` names it."},
        **problems(FIXED, CHANGED, TooManyRules(count=1000, most=1000)),
    },
)
async def put_rule(
    rule_id: RuleId, wanted: RuleBody, services: FromServices, request: Request, response: Response
) -> RuleAnswer:
    """Let this rule hold, on all instances with the next look at a worker. The same request again changes nothing.

    What is left out has its default. With a `revision` it must be the one that the rule has: 409 when somebody changed
    it since. Alerts of a changed rule go on under its new levels, or are resolved when it watches something else.
    """
    if wanted.id and wanted.id != rule_id:
        raise invalid_fields([{"loc": ["body", "id"], "msg": "it is not the id of the address; leave it out"}])
    put = await services.rules.put(rule_id, wanted.given(), wanted.revision)
    response.status_code = 201 if put.is_new else 200
    response.headers["Location"] = f"{request.scope['root_path']}/api/v1/alert-rules/{rule_id}"
    return RuleAnswer.of(put.view)


@router.delete(
    "/{id}",
    status_code=204,
    response_class=Response,
    summary="Remove an alert rule",
    response_description="It is gone, and its alerts are resolved with the next look.",
    dependencies=OPERATOR,
    responses=problems(NOT_FOUND, FIXED, CHANGED),
)
async def remove_rule(rule_id: RuleId, services: FromServices) -> None:
    """Take a rule away. Its open alerts are resolved, and whoever heard of them hears that."""
    await services.rules.delete(rule_id)
