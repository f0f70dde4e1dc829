"""Spans of what is scheduled, and of each attempt of a run. Imports the SDK: to be imported only where it is wanted."""

import asyncio
import os
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from importlib.metadata import version
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context, attach
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, StatusCode, set_span_in_context

from application.runs.observer import RunObserver
from application.scheduling.tracing import SchedulingTrace
from domain.runs.errors import JobTerminationException
from domain.runs.outcome import Failed, Lost, Outcome, Retry
from domain.runs.run import Claim
from infrastructure.telemetry.exporting import SpanExport
from infrastructure.telemetry.following import OWN_TRACE, place, present_traceparent
from infrastructure.telemetry.run_meter import OUTCOMES

EXPORT_TIMEOUT_S = 3.0
"""For a batch, its retries included; less than what a stop waits for."""
LONGEST_ATTRIBUTE = 8_192
SYSTEM = "roundsman"
NOWHERE = Context()


class RunIds(RandomIdGenerator):
    """Random ids, but for the trace of a run of its own: that follows from the run's id, so that all its attempts meet
    in one trace, whichever process executes them, and are sampled all or none."""

    def __init__(self) -> None:
        self._wanted = threading.local()

    def next_is(self, trace_id: int) -> None:
        """Let the next trace that this thread begins have this id."""
        self._wanted.trace_id = trace_id

    def generate_trace_id(self) -> int:
        """Return the id of a new trace."""
        wanted = getattr(self._wanted, "trace_id", None)
        self._wanted.trace_id = None
        return super().generate_trace_id() if wanted is None else int(wanted)


class Tracing:
    """The tracer of one program and what sends its spans. A hosted service; the process's global provider stays as it
    is unless ``serve_process`` is called."""

    def __init__(self, endpoint: str, ratio: float, namespace: str) -> None:
        self.export = SpanExport(OTLPSpanExporter(traces_url(endpoint), timeout=EXPORT_TIMEOUT_S), endpoint)
        facts = {
            "service.name": os.environ.get("OTEL_SERVICE_NAME") or "roundsman",
            "service.namespace": namespace,
            "service.version": version("roundsman"),
        }
        self._ids = RunIds()
        by_ratio = TraceIdRatioBased(ratio)
        self.provider = TracerProvider(
            sampler=ParentBased(by_ratio),
            resource=Resource.create(facts),
            shutdown_on_exit=False,
            id_generator=self._ids,
            span_limits=SpanLimits(max_attribute_length=LONGEST_ATTRIBUTE),
        )
        self.provider.add_span_processor(self.export)
        tracer = self.provider.get_tracer("roundsman", version("roundsman"))
        self.runs = RunSpans(tracer, self._ids, by_ratio)
        self.scheduling = SchedulingSpans(tracer)

    async def start(self) -> None:
        """Begin to send."""
        self.export.start()

    async def stop(self) -> None:
        """Send what is left, for a limited time, and end; twice is fine."""
        await self.export.stop()

    def serve_process(self) -> None:
        """Let spans that bodies make through OpenTelemetry's API be sent too: for a process of the program's own."""
        trace.set_tracer_provider(self.provider)


class RunSpans(RunObserver):
    """A span for each attempt, current while its body runs: child of the request that asked for the run, or, for the
    fires of a schedule, in a trace of the run's own with a link to the request that asked for the schedule."""

    def __init__(self, tracer: trace.Tracer, ids: RunIds, sampler: TraceIdRatioBased) -> None:
        self._tracer = tracer
        self._ids = ids
        self._sampler = sampler
        self._open: dict[Claim, Span] = {}
        self.instance_id = ""

    def began(self, claim: Claim) -> None:
        """Begin the span of an attempt."""
        spec = claim.spec
        asked_in = place(spec.traceparent) if spec.traceparent else None
        parent, links = NOWHERE, tuple[Link, ...]()
        if asked_in is not None and spec.reason not in OWN_TRACE:
            parent = set_span_in_context(NonRecordingSpan(asked_in), NOWHERE)
        else:
            trace_id = trace_of(spec.run_id)
            if trace_id & self._sampler.TRACE_ID_LIMIT >= self._sampler.bound:  # as the sampler would, for less
                attach(set_span_in_context(_unsampled(trace_id)))
                return
            if asked_in is not None:
                links = (Link(asked_in),)
            self._ids.next_is(trace_id)
        span = self._tracer.start_span(
            f"run {spec.name}", parent, SpanKind.CONSUMER, _attributes(claim, self.instance_id), links
        )
        attach(set_span_in_context(span))
        if span.is_recording():
            self._open[claim] = span

    def raised(self, claim: Claim, error: BaseException) -> None:
        """Note an error with its traceback."""
        span = self._open.get(claim)
        if span is not None and not isinstance(error, asyncio.CancelledError | JobTerminationException):
            span.record_exception(error)

    def ended(self, claim: Claim, outcome: Outcome) -> None:
        """End the span."""
        span = self._open.pop(claim, None)
        if span is None:
            return
        span.set_attribute("roundsman.outcome", OUTCOMES[type(outcome)])
        if isinstance(outcome, Failed | Retry):
            span.set_status(StatusCode.ERROR, outcome.error)
            span.set_attribute("error.type", outcome.error.partition(":")[0])
        elif isinstance(outcome, Lost):
            span.set_status(StatusCode.ERROR, outcome.why)
            span.set_attribute("error.type", "lost")
        span.end()


class SchedulingSpans(SchedulingTrace):
    """A span for each thing that is asked for."""

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer

    @contextmanager
    def scheduling(self, action: str, name: str, task_id: str) -> Iterator[None]:
        """Make the span current while the store is asked."""
        attributes = {
            "messaging.system": SYSTEM,
            "messaging.operation.name": action,
            "messaging.operation.type": "send",
            "roundsman.job.id": task_id,
        }
        if name:
            attributes["messaging.destination.name"] = name
        title = f"{action} {name}".rstrip()
        with self._tracer.start_as_current_span(title, kind=SpanKind.PRODUCER, attributes=attributes):
            yield

    def traceparent(self) -> str | None:
        """Return the present place in a trace."""
        return present_traceparent()


def trace_of(run_id: str) -> int:
    """Return the id of the trace that a run has to itself."""
    return int.from_bytes(blake2b(run_id.encode("utf-8", "replace"), digest_size=16).digest())


def _unsampled(trace_id: int) -> Span:
    return NonRecordingSpan(SpanContext(trace_id, random.getrandbits(64) or 1, is_remote=False))


def traces_url(endpoint: str) -> str:
    """Return where traces go below an OTLP endpoint, which may be the whole address already."""
    bare = endpoint.rstrip("/")
    return bare if bare.endswith("/v1/traces") else f"{bare}/v1/traces"


def _attributes(claim: Claim, instance_id: str) -> dict[str, Any]:
    spec = claim.spec
    attributes: dict[str, Any] = {
        "messaging.system": SYSTEM,
        "messaging.operation.name": "run",
        "messaging.operation.type": "process",
        "messaging.destination.name": spec.name,
        "messaging.message.id": spec.run_id,
        "messaging.client.id": instance_id,
        "roundsman.job.id": spec.job_id,
        "roundsman.attempt": claim.attempt,
        "roundsman.reason": spec.reason.value,
        "roundsman.fire_time": spec.fire_time.isoformat(),
    }
    if spec.missed:
        attributes["roundsman.missed"] = spec.missed
    if spec.correlation_id:
        attributes["messaging.message.conversation_id"] = spec.correlation_id
    return attributes
