"""Events as a stream of server-sent events."""

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from typing import Annotated, Any

from anyio import CancelScope, move_on_after
from fastapi import APIRouter, Header, Query
from sse_starlette.event import JSONServerSentEvent, ServerSentEvent
from sse_starlette.sse import EventSourceResponse, SendTimeoutError
from starlette.types import Message, Receive, Scope, Send

from domain.events.errors import BusNotRunning, InvalidCursor, InvalidTopic
from domain.events.event import FAMILIES, Event
from infrastructure.web.access import VIEWER
from infrastructure.web.problem_docs import problems
from infrastructure.web.services import FromServices

log = logging.getLogger(__name__)

router = APIRouter(tags=["events"])

PING_S = 15
"""A comment this often keeps proxies from closing a stream in which nothing happens."""
SEND_TIMEOUT_S = 60.0
"""A client that takes nothing for this long is cut off; it can resume where it was."""
LAST_WORD_S = 1.0
"""A client that takes nothing does not hold up the end of the server for longer."""
RECONNECT_MS = 2000
LONGEST_TOPICS = 2000

EXAMPLE = """\
id: job:1795500000000-0:4711
retry: 2000

id: job:1795500030007-0:4712
event: job.succeeded
data: {"id":"job-1795500030007-0","topic":"job.succeeded","time":"2026-11-24T05:00:30.007Z","source":"host-1-4711",\
"data":{"run_id":"nightly-report@1.1795500030000","attempt":1},"schema_version":1}

id: job:1795503600000-3:9100
event: gap
data: {"reason":"events between the last one and the next were trimmed from the store unread"}

"""


class OpenStreams:
    """The event streams that a server is sending, so that it can end them before it waits for them."""

    def __init__(self) -> None:
        self._scopes: set[CancelScope] = set()

    def __len__(self) -> int:
        return len(self._scopes)

    def end(self) -> None:
        """End all streams; their clients see a clean end, and may come back later."""
        for scope in self._scopes:
            scope.cancel()

    @contextmanager
    def one(self) -> Iterator[CancelScope]:
        """Count one stream while it lasts."""
        with CancelScope() as scope:
            self._scopes.add(scope)
            try:
                yield scope
            finally:
                self._scopes.discard(scope)


class EventStream(EventSourceResponse):
    """A stream that ends when the client hangs up or takes nothing, when the bus stops, and when the server does."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the stream until it is over."""
        streams: OpenStreams = scope["app"].state.streams
        is_open = False

        async def watched(message: Message) -> None:
            nonlocal is_open
            await send(message)
            is_open = message["type"] == "http.response.start" or message.get("more_body", False)

        try:
            with streams.one():
                await super().__call__(scope, receive, watched)
        except SendTimeoutError:
            log.info("an event stream was cut off: its client took nothing for %g s", SEND_TIMEOUT_S)
            return
        if is_open:  # whoever ended it: this program, or sse-starlette when another's server stops
            with move_on_after(LAST_WORD_S):
                await send({"type": "http.response.body", "body": b"", "more_body": False})


@router.get(
    "/events",
    summary="Follow what happens",
    response_description="Server-sent events, without end.",
    dependencies=VIEWER,
    response_class=EventStream,
    responses={
        200: {"content": {"text/event-stream": {"schema": {"type": "string"}, "example": EXAMPLE}}},
        **problems(
            InvalidTopic(topic="jobs", families=", ".join(FAMILIES)), InvalidCursor(cursor="17"), BusNotRunning()
        ),
    },
)
async def follow_events(
    services: FromServices,
    topics: Annotated[
        str,
        Query(
            max_length=LONGEST_TOPICS,
            description="Topics with commas between: exact ones, families (`job.*`), or `*` for all.",
            examples=["job.*,worker.metrics.collected"],
        ),
    ] = "*",
    last_event_id: Annotated[
        str | None, Header(description="The last `id` that was seen: what came after it is sent first.")
    ] = None,
) -> EventStream:
    """Send each event from now on, or from `Last-Event-ID` on, as soon as it is on the bus.

    `event` is the topic, `data` the event, `id` the place in the stream. The first message has an `id` alone: the place
    from which everything is sent, so that nothing is lost by who is cut off before the first event. A message `gap`
    tells that events were trimmed from the store before this stream came to them: read the state anew.
    """
    wanted = [topic.strip() for topic in topics.split(",")]
    place = last_event_id or await services.events.place(wanted)
    events = services.events.read(wanted, after=place)
    return EventStream(_messages(events, place), ping=PING_S, send_timeout=SEND_TIMEOUT_S, sep="\n")


async def _messages(events: Any, place: str) -> AsyncIterator[ServerSentEvent]:
    yield ServerSentEvent(id=place, retry=RECONNECT_MS)
    async with aclosing(events):
        async for cursor, event in events:
            yield gap_message(cursor) if event is None else message_of(cursor, event)


def message_of(cursor: str, event: Event) -> ServerSentEvent:
    """Return an event as it is sent."""
    data = event.model_dump(mode="json", exclude_none=True)
    return JSONServerSentEvent(data, id=cursor, event=event.topic)


def gap_message(cursor: str) -> ServerSentEvent:
    """Return what is sent instead of events that were trimmed."""
    data = {"reason": "events between the last one and the next were trimmed from the store unread"}
    return JSONServerSentEvent(data, id=cursor, event="gap")
