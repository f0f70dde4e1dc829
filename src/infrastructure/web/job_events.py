"""The events of one job as a stream of server-sent events, from how it stands to its end."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Header, Response
from sse_starlette.event import JSONServerSentEvent, ServerSentEvent

from domain.events.errors import BusNotRunning, InvalidCursor
from domain.jobs.errors import JobNotFound
from domain.jobs.job import Job
from domain.runs.run import TERMINAL
from infrastructure.events.positions import Position, parse_cursor
from infrastructure.web.access import VIEWER
from infrastructure.web.events import PING_S, RECONNECT_MS, SEND_TIMEOUT_S, EventStream, gap_message, message_of
from infrastructure.web.job_views import JOB_ID, JobView
from infrastructure.web.jobs import NOT_FOUND, JobId
from infrastructure.web.problem_docs import problems
from infrastructure.web.services import FromServices, Services

router = APIRouter(prefix="/jobs", tags=["jobs"])

TOPICS = ("job.*",)
FAMILY = "job"
OVER = "over"
"""The id of the last message: a client that comes back with it has heard all there is."""
ENDINGS = frozenset({"job.succeeded", "job.terminated", "job.dead", "job.cancelled", "job.expired"})
EXAMPLE = f"""\
id: job:1795500000000-0:4711
event: job
data: {{"id":"{JOB_ID}","status":"queued","progress":null}}

id: job:1795500000310-0:4720
event: job.progress
data: {{"id":"job-1795500000310-0","topic":"job.progress","time":"2026-11-24T08:00:00.310Z","source":"host-1-4711",\
"data":{{"run_id":"{JOB_ID}","progress":40.0,"message":"copying"}},"schema_version":1}}

id: over
event: over
data: {{"id":"{JOB_ID}","status":"succeeded","progress":100.0}}

"""


@router.get(
    "/{id}/events",
    summary="Follow a job",
    response_description="Server-sent events, until the job is over.",
    dependencies=VIEWER,
    response_class=EventStream,
    responses={
        200: {"content": {"text/event-stream": {"schema": {"type": "string"}, "example": EXAMPLE}}},
        204: {"description": "It is over, and the client has heard so: browsers then come back no more."},
        **problems(NOT_FOUND, InvalidCursor(cursor="17"), BusNotRunning()),
    },
)
async def follow_job(
    job_id: JobId,
    services: FromServices,
    last_event_id: Annotated[
        str | None, Header(description="The last `id` that was seen: what came after it is sent first.")
    ] = None,
) -> Response:
    """Send how a job stands (`job`), then each of its events, and at its end how it ended (`over`).

    `Last-Event-ID` goes on behind what was seen, on any instance. A message `gap` tells that events were trimmed from
    the store meanwhile; how the job stands follows it.
    """
    here = await services.events.place(TOPICS)
    job = await services.jobs.get(job_id)
    is_over = job.status in TERMINAL
    if last_event_id == OVER and is_over:
        return Response(status_code=204)
    begin = None if last_event_id in (None, "", OVER) else last_event_id
    events = services.events.read(TOPICS, after=begin or here)  # refuses a wrong place before the answer begins
    followed = _Followed(services, job, here if is_over else None)
    messages = followed.messages(events, begin, here)
    return EventStream(messages, ping=PING_S, send_timeout=SEND_TIMEOUT_S, sep="\n")


class _Followed:
    """One job that somebody follows. One that was over from the first is read up to ``end`` alone."""

    def __init__(self, services: Services, job: Job, end: str | None) -> None:
        self._jobs = services.jobs
        self._job = job
        self._end = None if end is None else _position(end)

    async def messages(self, events: Any, begin: str | None, here: str) -> AsyncIterator[ServerSentEvent]:
        async with aclosing(events):
            if begin is None:
                yield self._state(here, retry=RECONNECT_MS)
            if self._heard_all(begin or here):
                yield self._over()
                return
            async for cursor, event in events:
                if event is None:
                    yield gap_message(cursor)
                    if await self._look():
                        break
                    yield self._state(cursor)
                elif event.data.get("run_id") == self._job.id:
                    yield message_of(cursor, event)
                    if event.topic in ENDINGS and await self._look():
                        break
                if self._heard_all(cursor):
                    break
        yield self._over()

    async def _look(self) -> bool:
        """Look at the job anew, and tell whether it is over; one that is no longer kept is."""
        try:
            self._job = await self._jobs.get(self._job.id)
        except JobNotFound:
            return True
        return self._job.status in TERMINAL

    def _heard_all(self, cursor: str) -> bool:
        return self._end is not None and _position(cursor).id >= self._end.id

    def _state(self, cursor: str, **more: Any) -> ServerSentEvent:
        return JSONServerSentEvent(JobView.of(self._job).model_dump(mode="json"), id=cursor, event="job", **more)

    def _over(self) -> ServerSentEvent:
        return JSONServerSentEvent(JobView.of(self._job).model_dump(mode="json"), id=OVER, event="over")


def _position(cursor: str) -> Position:
    return parse_cursor(cursor).get(FAMILY, Position((0, 0), None))
