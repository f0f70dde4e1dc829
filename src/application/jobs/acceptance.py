"""What becomes of requests before the store sees them: they are checked, and made into jobs."""

import json
import math
import secrets
from collections.abc import Iterator
from datetime import datetime
from operator import attrgetter
from typing import Any

from application.jobs.publishing import UNNAMED, JobPattern, NewJob
from application.runs.registry import JobRegistry
from application.scheduling.compiled import effective_retry
from application.scheduling.moments import at, milliseconds
from application.scheduling.tracing import SchedulingTrace
from domain.jobs.queue import Queues
from domain.jobs.request import JobRequest
from domain.runs.job import JobDefinition
from domain.runs.run import RunReason, RunSpec
from domain.scheduling.errors import TimeInThePast

PAST_TOLERANCE_S = 60.0
DIGITS = "0123456789abcdefghijklmnopqrstuv"
PAIRS = [high + low for high in DIGITS for low in DIGITS]
"""Ten bits in base 32: the library does it digit by digit, in Python."""
ID_BITS = range(120, 0, -10)
IDS_A_PAIR = 256
"""So many ids differ in their last pair of digits alone: its lowest two bits say nothing."""

_pattern_of = attrgetter(*(JobRequest.model_fields.keys() - {"params", "idempotency_key"}))


class Acceptance:
    """Check requests. It asks nobody: what is wrong is found here, or later by the store."""

    def __init__(self, registry: JobRegistry, queues: Queues, default_timeout_s: float, trace: SchedulingTrace) -> None:
        self.registry = registry
        self.queues = queues
        self.default_timeout_s = default_timeout_s
        self._trace = trace

    def begin(self, now_ms: int) -> "Intake":
        """Return what makes jobs of the requests of one call."""
        return Intake(self, now_ms, self._trace.traceparent())


class Intake:
    """Make jobs of the requests of one call. Most of them are alike but for their data: that much is made once."""

    def __init__(self, acceptance: Acceptance, now_ms: int, traceparent: str | None) -> None:
        self._of = acceptance
        self._now_ms = now_ms
        self._traceparent = traceparent
        self._ids = new_ids(now_ms)
        self._patterns: dict[Any, JobPattern] = {}

    def job(self, request: JobRequest, *, is_known: bool = False) -> NewJob:
        """Return the job that is asked for.

        Raises ``UnknownJob``, ``WrongTaskType``, ``InvalidData``, ``UnknownQueue``, and ``TimeInThePast`` unless it
        ``is_known``: asking again for what was accepted in time is no mistake.
        """
        definition = self._of.registry.expect(request.task, "scheduled")
        data = definition.dump(request.params)
        limit_key = _limit_key(definition, data) if definition.limits else ""
        alike = (_pattern_of(request), limit_key, is_known)
        pattern = self._patterns.get(alike)
        if pattern is None:
            pattern = self._patterns[alike] = self._pattern(request, definition, limit_key, is_known)
        if request.idempotency_key is None:
            return NewJob(next(self._ids), pattern, data)
        return NewJob(next(self._ids), pattern, data, request.scoped_key, request.digest)

    def _pattern(self, request: JobRequest, definition: JobDefinition, limit_key: str, is_known: bool) -> JobPattern:
        queue = self._of.queues.named(request.queue)
        now, due = at(self._now_ms), request.scheduled_at
        if due is not None and not is_known and (late_s := (now - due).total_seconds()) > PAST_TOLERANCE_S:
            raise TimeInThePast(id=request.task, when=due.isoformat(), late_s=round(late_s))
        due_ms = None if due is None or is_known else milliseconds(due)
        expires_ms = None
        if request.expires_in_s is not None:
            expires_ms = max(due_ms or self._now_ms, self._now_ms) + math.ceil(request.expires_in_s * 1000)
        limits = definition.limits
        return JobPattern(
            spec=self._spec(request, definition, queue, due or now),
            due_ms=due_ms,
            expires_ms=expires_ms,
            ahead_ms=self._of.queues.ahead_ms(request.priority),
            limit_key=limit_key,
            at_once=limits.at_once if limits else 1,
        )

    def _spec(self, request: JobRequest, definition: JobDefinition, queue: str, due: datetime) -> RunSpec:
        return RunSpec(
            run_id=UNNAMED,
            job_id=UNNAMED,
            name=request.task,
            reason=RunReason.ONE_SHOT,
            fire_time=due,
            scheduled_at=request.scheduled_at,
            version=definition.version,
            timeout_s=request.timeout_s or definition.timeout_s or self._of.default_timeout_s,
            retry=effective_retry(definition.retry, request.max_retries),
            correlation_id=request.correlation_id or _trace_id(self._traceparent),
            traceparent=self._traceparent,
            queue=queue,
            priority=request.priority or None,
            user_id=request.user_id,
            team_id=request.team_id,
        )


def new_ids(now_ms: int) -> Iterator[str]:
    """Yield ids that sort by time, and those of one call as they come.

    The first is 48 bits of milliseconds and 80 of chance, in base 32 (RFC 4648, section 7); each that follows is one
    more.
    """
    number = now_ms << 80 | secrets.randbits(79)  # a bit less than there is room for, for all that follow
    while True:
        bits = number << 2
        head, first = "".join([PAIRS[bits >> shift & 1023] for shift in ID_BITS]), number % IDS_A_PAIR
        for tail in range(first, IDS_A_PAIR):
            yield head + PAIRS[tail << 2]
        number += IDS_A_PAIR - first


def _trace_id(traceparent: str | None) -> str | None:
    """Return the trace's id of a W3C traceparent: what correlates a job with the request that nothing else names."""
    return None if traceparent is None else traceparent.split("-")[1]


def _limit_key(definition: JobDefinition, data: str) -> str:
    """Return what tells apart the runs of a job of which only some may execute at once; '' when all may."""
    if definition.limits is None or not definition.limits.key_fields:
        return ""
    values = json.loads(data)
    fields = [values.get(field) for field in definition.limits.key_fields]
    return f"{definition.name}:{json.dumps(fields, separators=(',', ':'))}"
