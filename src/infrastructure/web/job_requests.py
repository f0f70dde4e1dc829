"""Jobs as clients ask for them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Header, Query
from pydantic import Field, SkipValidation, ValidationError

from application.jobs.service import MOST_AT_ONCE
from application.jobs.store import JobFilter
from domain.errors import RoundsmanError
from domain.jobs.errors import UnknownQueue
from domain.jobs.request import JobRequest
from domain.runs.errors import InvalidData, UnknownJob, WrongTaskType
from domain.runs.run import RunStatus
from domain.scheduling.errors import TimeInThePast
from infrastructure.web.json_models import Body, LeftOut, example
from infrastructure.web.parameters import CountedTime
from infrastructure.web.problems import IN_REQUEST, invalid, invalid_fields

REQUEST = {"task": "Import", "params": {"customer": 17}, "queue": "pro", "team_id": "acme"}
KEY_HEADER = "Idempotency-Key"
CORRELATION_HEADER = "X-Correlation-ID"
QUOTED = re.compile(r'"(.*)"')
"""The header's value as the draft of the IETF has it, a string of structured fields; most clients send it bare."""

Places = dict[tuple[str | int, ...], tuple[str | int, ...]]

FIELD_OF: dict[type[RoundsmanError], str] = {
    UnknownJob: "task",
    WrongTaskType: "task",
    UnknownQueue: "queue",
    TimeInThePast: "scheduled_at",
}

IdempotencyKey = Annotated[
    str | None,
    Header(alias=KEY_HEADER, description="As `idempotency_key` in the body.", examples=["order-4711"]),
]
CorrelationId = Annotated[
    str | None,
    Header(
        alias=CORRELATION_HEADER,
        description="As `correlation_id` in the body, where that has none. Without both it is the id of the request's "
        "trace, if it has one.",
        examples=["4bf92f3577b34da6a3ce929d0e0e4736"],
    ),
]


class BulkRequest(Body):
    """Many jobs, each as it would be submitted alone."""

    model_config = example({"jobs": [REQUEST, {**REQUEST, "idempotency_key": "order-4712"}]})

    jobs: list[SkipValidation[JobRequest]] = Field(min_length=1, max_length=MOST_AT_ONCE)


class RetryRequest(Body):
    """Which jobs to queue again: all that is given must fit."""

    model_config = example({"status": "failed", "task": "Import", "since": "2026-11-24T00:00:00Z"})

    status: Literal["failed", "cancelled", "expired"]
    task: LeftOut[str] = Field(default=None, description="Only those of this class.")
    queue: LeftOut[str] = Field(default=None, description="Only those of this queue.")
    user_id: LeftOut[str] = None
    team_id: LeftOut[str] = None
    correlation_id: LeftOut[str] = None
    since: LeftOut[CountedTime] = Field(default=None, description="Only those that were submitted from then on.")
    limit: int = Field(default=1_000, ge=1, le=MOST_AT_ONCE, strict=True, description="How many at most.")

    def filter(self) -> JobFilter:
        """Return which jobs are meant."""
        return JobFilter(
            status=RunStatus(self.status),
            task=self.task,
            queue=self.queue,
            user_id=self.user_id,
            team_id=self.team_id,
            correlation_id=self.correlation_id,
            since=self.since,
        )


def wanted_jobs(
    status: Annotated[RunStatus | None, Query(description="Only those that stand like this.")] = None,
    task: Annotated[str | None, Query(description="Only those of this class.", examples=["Import"])] = None,
    queue: Annotated[str | None, Query(description="Only those of this queue.", examples=["pro"])] = None,
    user_id: Annotated[str | None, Query(description="Only those for this user.", examples=["u-17"])] = None,
    team_id: Annotated[str | None, Query(description="Only those for this team.", examples=["acme"])] = None,
    correlation_id: Annotated[
        str | None, Query(description="Only those with this one.", examples=["4bf92f3577b34da6a3ce929d0e0e4736"])
    ] = None,
    since: Annotated[
        CountedTime | None,
        Query(description="Only those that were submitted from then on.", examples=["2026-11-24T00:00:00Z"]),
    ] = None,
) -> JobFilter:
    """Return which jobs a list shows."""
    found: datetime | None = since
    return JobFilter(status, task, queue, user_id, team_id, correlation_id, found)


def completed(wanted: JobRequest, key: str | None, correlation: str | None) -> JobRequest:
    """Return a request with what its headers say; raise ``InvalidRequest`` for what they may not."""
    said: dict[str, Any] = {}
    if key is not None:
        quoted = QUOTED.fullmatch(key)
        said["idempotency_key"] = quoted[1] if quoted else key
        if wanted.idempotency_key not in (None, said["idempotency_key"]):
            why = "it is another one than idempotency_key in the body; give one of them"
            raise invalid_fields([{"loc": ["header", KEY_HEADER], "msg": why}])
    if correlation is not None and wanted.correlation_id is None:
        said["correlation_id"] = correlation
    if not said:
        return wanted
    places: Places = {("idempotency_key",): ("header", KEY_HEADER), ("correlation_id",): ("header", CORRELATION_HEADER)}
    try:
        return JobRequest.model_validate({**wanted.model_dump(exclude_unset=True), **said})
    except ValidationError as error:
        raise invalid(error.errors(), places) from None


def request_of(given: Any, place: tuple[str | int, ...]) -> JobRequest | RoundsmanError:
    """Return one request of many, or what is wrong with it, told by its place in the whole."""
    try:
        return JobRequest.model_validate(given)
    except ValidationError as error:
        return invalid(error.errors(), {(): place})


def told(error: RoundsmanError, place: tuple[str | int, ...] = ("body",)) -> RoundsmanError:
    """Return an error that names the place in the request of what is wrong with a job."""
    if isinstance(error, InvalidData):
        found = error.facts.get("errors") or [{"loc": [], "msg": error.facts["why"]}]
        error.facts[IN_REQUEST] = [{"loc": [*place, "params", *item["loc"]], "msg": item["msg"]} for item in found]
    elif field := FIELD_OF.get(type(error)):
        error.facts[IN_REQUEST] = [{"loc": [*place, field], "msg": str(error).partition("\n")[0]}]
    return error


@contextmanager
def told_by_place() -> Iterator[None]:
    """Name the place in the request body of what is wrong with a job."""
    try:
        yield
    except RoundsmanError as error:
        raise told(error) from None
