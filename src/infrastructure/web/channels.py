"""Channels over HTTP: where alerts are sent, and whether that works."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from domain.monitoring.channel_errors import ChannelNotFound
from infrastructure.web.access import OPERATOR, VIEWER, actor
from infrastructure.web.json_models import example
from infrastructure.web.lists import Page
from infrastructure.web.problem_docs import problems
from infrastructure.web.services import FromServices

router = APIRouter(prefix="/channels", tags=["channels"])

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
ChannelName = Annotated[str, Path(alias="name", pattern=NAME, description="The channel's name.", examples=["on-call"])]
CHANNEL: dict[str, Any] = {
    "name": "on-call",
    "type": "webhook",
    "target": "https://hooks.example.com/…",
    "severities": ["critical"],
    "match": {"label:team": "db"},
    "facts": {},
    "state": "open",
    "failures": 5,
    "failing_since": "2026-11-22T08:00:00Z",
    "open_until": "2026-11-22T08:01:10Z",
    "why": "it answered 502",
    "last_sent_at": "2026-11-22T07:30:00Z",
    "last_given_up_at": None,
    "last_given_up": "",
    "waiting": 3,
    "waiting_oldest_s": 61.5,
}
TESTED: dict[str, Any] = {
    "id": "msg_test_5f2c1b7a90de5f2c1b7a90d",
    "channel": "on-call",
    "outcome": "sent",
    "status": 200,
    "answer": "ok",
    "why": "",
}


class ChannelAnswer(BaseModel):
    """A channel of the settings, without its secrets, and how it is."""

    model_config = example(CHANNEL) | ConfigDict(from_attributes=True)

    name: str
    type: str = Field(description="`log`, `webhook`, `sns` or `apprise`.")
    target: str = Field(description="Where it leads, as far as that is no secret.")
    severities: list[str] = Field(description="What it takes; none are all.")
    match: dict[str, str] = Field(description="Patterns that all must fit.")
    facts: dict[str, str] = Field(description="What else is set and no secret.")
    state: Literal["closed", "open", "half_open"] = Field(
        description="`closed`: it works. `open`: it failed and is left alone. `half_open`: one message tries it."
    )
    failures: int = Field(description="In a row.")
    failing_since: datetime | None
    open_until: datetime | None = Field(description="When it is tried again.")
    why: str = Field(description="Why the last try failed; empty when it did not.")
    last_sent_at: datetime | None
    last_given_up_at: datetime | None = Field(description="Since then nothing arrived.")
    last_given_up: str = Field(description="Why that message was given up.")
    waiting: int = Field(description="Notifications that wait for it.")
    waiting_oldest_s: float = Field(description="For how long the first of them has.")


class ChannelList(Page[ChannelAnswer]):
    """All channels, in the order of the settings."""

    model_config = example({"items": [CHANNEL], "next_cursor": None})


class ChannelTest(BaseModel):
    """What became of a message that was sent to try a channel."""

    model_config = example(TESTED) | ConfigDict(from_attributes=True)

    id: str = Field(description="Of the delivery, and the key that the receiver sees.")
    channel: str
    outcome: Literal["sent", "given_up"] = Field(description="`given_up`: it did not arrive. A test is tried once.")
    status: int | None = Field(description="The HTTP status of the receiver, where it has one.")
    answer: str = Field(description="How its answer begins.")
    why: str = Field(description="Why it did not arrive.")


@router.get("", summary="List channels", dependencies=VIEWER, responses=problems())
async def list_channels(services: FromServices) -> ChannelList:
    """Return where alerts are sent and how that goes, as all processes together know it. Secrets are not shown."""
    found = await services.channels.channels()
    return ChannelList(items=[ChannelAnswer.model_validate(one) for one in found])


@router.post(
    "/{name}/test",
    summary="Try a channel",
    response_description="It was tried; `outcome` says whether the message arrived.",
    dependencies=OPERATOR,
    responses=problems(ChannelNotFound(name="on-cal", known="log, on-call")),
)
async def test_channel(name: ChannelName, services: FromServices) -> ChannelTest:
    """Send a message that says that it is a test: at once, once, from the process that answers.

    It changes no circuit; it is among the deliveries, and in the audit.
    """
    return ChannelTest.model_validate(await services.channels.test(name, actor()))
