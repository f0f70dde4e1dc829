"""What becomes of a request before the store sees it: it is checked, and made into a run."""

import json
import math
import secrets
from datetime import datetime

from application.jobs.store import NewJob
from application.runs.registry import JobRegistry
from application.scheduling.compiled import effective_retry
from application.scheduling.moments import at, milliseconds
from application.scheduling.tracing import SchedulingTrace
from domain.jobs.queue import Queues
from domain.jobs.request import JobRequest
from domain.runs.job import JobDefinition
from domain.runs.limits import JobLimits
from domain.runs.run import RunReason, RunSpec
from domain.scheduling.errors import TimeInThePast

PAST_TOLERANCE_S = 60.0
DIGITS = "0123456789abcdefghijklmnopqrstuv"
PAIRS = [high + low for high in DIGITS for low in DIGITS]
"""Ten bits in base 32: the library does it digit by digit, in Python."""
ID_BITS = range(120, -1, -10)


class Acceptance:
    """Make jobs of requests. It asks nobody: what is wrong is found here, or later by the store."""

    def __init__(self, registry: JobRegistry, queues: Queues, default_timeout_s: float, trace: SchedulingTrace) -> None:
        self._registry = registry
        self._queues = queues
        self._default_timeout_s = default_timeout_s
        self._trace = trace

    def job(self, request: JobRequest, now_ms: int, *, is_known: bool = False) -> NewJob:
        """Return the job that is asked for.

        Raises ``UnknownJob``, ``WrongTaskType``, ``InvalidData``, ``UnknownQueue``, and ``TimeInThePast`` unless it
        ``is_known``: asking again for what was accepted in time is no mistake.
        """
        definition = self._registry.expect(request.task, "scheduled")
        data = definition.dump(request.params)
        queue = self._queues.named(request.queue)
        job_id, now = new_id(now_ms), at(now_ms)
        due = request.scheduled_at
        if due is not None and not is_known and (late_s := (now - due).total_seconds()) > PAST_TOLERANCE_S:
            raise TimeInThePast(id=request.task, when=due.isoformat(), late_s=round(late_s))
        due_ms = None if due is None else milliseconds(due)
        expires_ms = None
        if request.expires_in_s is not None:
            expires_ms = max(due_ms or now_ms, now_ms) + math.ceil(request.expires_in_s * 1000)
        limits = definition.limits
        return NewJob(
            spec=self._spec(request, definition, job_id, queue, due or now),
            data=data,
            due_ms=due_ms,
            expires_ms=expires_ms,
            ahead_ms=self._queues.ahead_ms(request.priority),
            limit_key=_limit_key(definition, limits, data),
            at_once=limits.at_once if limits else 1,
            key=request.scoped_key,
            digest=request.digest if request.idempotency_key else "",
        )

    def _spec(self, request: JobRequest, definition: JobDefinition, job_id: str, queue: str, due: datetime) -> RunSpec:
        traceparent = self._trace.traceparent()
        return RunSpec(
            run_id=job_id,
            job_id=job_id,
            name=request.task,
            reason=RunReason.ONE_SHOT,
            fire_time=due,
            scheduled_at=request.scheduled_at,
            version=definition.version,
            timeout_s=request.timeout_s or definition.timeout_s or self._default_timeout_s,
            retry=effective_retry(definition.retry, request.max_retries),
            correlation_id=request.correlation_id or _trace_id(traceparent),
            traceparent=traceparent,
            queue=queue,
            priority=request.priority or None,
            user_id=request.user_id,
            team_id=request.team_id,
        )


def new_id(now_ms: int) -> str:
    """Return an id that sorts by time: 48 bits of milliseconds and 80 of chance, in base 32 (RFC 4648, section 7)."""
    number = (now_ms << 80 | int.from_bytes(secrets.token_bytes(10), "big")) << 2
    return "".join([PAIRS[number >> bits & 1023] for bits in ID_BITS])


def _trace_id(traceparent: str | None) -> str | None:
    """Return the trace's id of a W3C traceparent: what correlates a job with the request that nothing else names."""
    return None if traceparent is None else traceparent.split("-")[1]


def _limit_key(definition: JobDefinition, limits: JobLimits | None, data: str) -> str:
    """Return what tells apart the runs of a job of which only some may execute at once; '' when all may."""
    if limits is None or not limits.key_fields:
        return ""
    values = json.loads(data)
    return f"{definition.name}:{json.dumps([values.get(field) for field in limits.key_fields], separators=(',', ':'))}"
