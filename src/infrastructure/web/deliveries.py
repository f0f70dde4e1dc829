"""Deliveries over HTTP: which messages were sent where, and what became of them."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from application.monitoring.channel_desk import DeliveryQuery
from domain.monitoring.channel_errors import InvalidDeliveryCursor
from domain.monitoring.delivery import Outcome
from infrastructure.web.access import VIEWER
from infrastructure.web.channels import NAME
from infrastructure.web.json_models import example
from infrastructure.web.lists import DEFAULT_LIMIT, Limit, Page
from infrastructure.web.problem_docs import problems
from infrastructure.web.services import FromServices

router = APIRouter(prefix="/alerts/deliveries", tags=["channels"])

CURSOR = "1795500000000-msg_0123456789abcdef0123456789abcdef"
ALERT = {
    "alert_id": "high-cpu@build-7@1795500000000",
    "kind": "firing",
    "rule_id": "high-cpu",
    "worker_id": "build-7",
    "severity": "critical",
}
DELIVERY: dict[str, Any] = {
    "id": "msg_0123456789abcdef0123456789abcdef",
    "channel": "on-call",
    "outcome": "retrying",
    "tries": 2,
    "title": "[FIRING] critical: high-cpu on build-7",
    "alerts": [ALERT],
    "alerts_total": 1,
    "is_test": False,
    "status": 502,
    "answer": "Bad Gateway",
    "why": "it answered 502",
    "instance": "host-1-4711-9f21c4",
    "first_tried_at": "2026-11-22T08:00:00.112Z",
    "tried_at": "2026-11-22T08:00:01.018Z",
}


class AlertOfDelivery(BaseModel):
    """One notification of a message."""

    model_config = example(ALERT) | ConfigDict(from_attributes=True)

    alert_id: str
    kind: str = Field(description="`firing`, `repeat`, `escalated` or `resolved`.")
    rule_id: str
    worker_id: str
    severity: str


class DeliveryAnswer(BaseModel):
    """One message to one channel, as it stands after its last try."""

    model_config = example(DELIVERY) | ConfigDict(from_attributes=True)

    id: str = Field(description="The key that the receiver sees, in every try.")
    channel: str
    outcome: Outcome = Field(
        description="`split`: the receiver refused it as a whole, and it went again in two parts, which are deliveries."
    )
    tries: int
    title: str
    alerts: list[AlertOfDelivery] = Field(description="The first 50 of what was in it.")
    alerts_total: int
    is_test: bool = Field(description="Somebody sent it to try the channel.")
    status: int | None = Field(description="The HTTP status of the last answer, where there was one.")
    answer: str = Field(description="How the last answer begins.")
    why: str = Field(description="Why the last try failed.")
    instance: str = Field(description="The process that tried last.")
    first_tried_at: datetime
    tried_at: datetime


class DeliveryList(Page[DeliveryAnswer]):
    """Deliveries, newest first."""

    model_config = example({"items": [DELIVERY], "next_cursor": None})


@router.get(
    "",
    summary="List deliveries",
    dependencies=VIEWER,
    responses=problems(InvalidDeliveryCursor(cursor="17")),
)
async def list_deliveries(
    services: FromServices,
    channel: Annotated[
        str | None, Query(pattern=NAME, description="Only those to this channel.", examples=["on-call"])
    ] = None,
    alert_id: Annotated[
        str | None,
        Query(max_length=400, description="Only those about this alert.", examples=["high-cpu@build-7@1795500000000"]),
    ] = None,
    outcome: Annotated[
        Outcome | None,
        Query(description="Only those of which this became.", examples=["given_up"]),
    ] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Annotated[
        str | None, Query(max_length=100, description="`next_cursor` of the page before.", examples=[CURSOR])
    ] = None,
) -> DeliveryList:
    """Return what was sent to whom and what became of it, by first try, newest first.

    What waits for its first try is not here: see `waiting` of `/channels`. How much is kept says the setting
    `alerts.deliveries_kept`.
    """
    page = await services.channels.deliveries(DeliveryQuery(channel, alert_id, outcome, limit, cursor or ""))
    return DeliveryList(items=[DeliveryAnswer.model_validate(one) for one in page.items], next_cursor=page.next_cursor)
