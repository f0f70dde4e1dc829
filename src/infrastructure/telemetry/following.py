"""Follow traces that others began, also where this program exports none of its own: the API of OpenTelemetry alone."""

from functools import lru_cache

from opentelemetry.context import Context, attach
from opentelemetry.trace import NonRecordingSpan, SpanContext, get_current_span, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from application.scheduling.tracing import SchedulingTrace
from domain.runs.run import Claim, RunReason

OWN_TRACE = frozenset({RunReason.FIRE, RunReason.CATCH_UP})
"""Runs that nobody asked for one by one. They have a trace each, with a link to where their schedule was asked for:
a schedule may fire for years, and no trace may grow for years."""
HEADER = "traceparent"
_W3C = TraceContextTextMapPropagator()


@lru_cache(maxsize=4096)
def place(traceparent: str) -> SpanContext | None:
    """Return the place that a W3C traceparent names; None for what is none."""
    found = get_current_span(_W3C.extract({HEADER: traceparent}, Context())).get_span_context()
    return found if found.is_valid else None


def present_traceparent() -> str | None:
    """Return the present place in a trace; None outside of traces."""
    span = get_current_span().get_span_context()
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags & 1:02x}" if span.is_valid else None


class FollowedTrace(SchedulingTrace):
    """Take the present place along; make no spans."""

    def traceparent(self) -> str | None:
        """Return it."""
        return present_traceparent()


def follow(claim: Claim) -> None:
    """Go on, in the context of a run, in the trace of whoever asked for it; its logs and requests tell the trace."""
    asked_in = claim.spec.traceparent
    if asked_in and claim.spec.reason not in OWN_TRACE and (found := place(asked_in)) is not None:
        attach(set_span_in_context(NonRecordingSpan(found)))
