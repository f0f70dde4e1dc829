"""Go on in the trace that a request comes with, where this program makes no spans of its own."""

from opentelemetry.context import attach, detach
from opentelemetry.trace import NonRecordingSpan, get_current_span, set_span_in_context
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from infrastructure.telemetry.following import HEADER, place


class FollowTraces:
    """Take the place in a trace from the header ``traceparent``; one that is malformed is ignored, as W3C has it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        said = Headers(scope=scope).get(HEADER) if scope["type"] == "http" else None
        found = place(said) if said else None
        if found is None or get_current_span().get_span_context().is_valid:  # FastAPI has made a span of it
            await self._app(scope, receive, send)
            return
        token = attach(set_span_in_context(NonRecordingSpan(found)))
        try:
            await self._app(scope, receive, send)
        finally:
            detach(token)
