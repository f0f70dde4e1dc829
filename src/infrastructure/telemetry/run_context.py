"""What a log line says of the run, and of the trace, in which it was written."""

import logging
from contextvars import ContextVar

from opentelemetry.trace import get_current_span

from domain.runs.run import Claim

FIELDS = ("run_id", "job_id", "job", "attempt", "correlation_id", "trace_id", "span_id")
"""In the order in which they are told."""

_claim: ContextVar[Claim | None] = ContextVar("claim", default=None)


def enter_run(claim: Claim) -> None:
    """Let what is logged from here on, in this context and in those that copy it, tell of this run.

    asyncio tasks, ``asyncio.to_thread`` and the threads of sync bodies copy the context; a bare ``threading.Thread``
    and an executor do not: hand them ``contextvars.copy_context().run``.
    """
    _claim.set(claim)


def run_facts() -> dict[str, str | int]:
    """Return what is known of the run and of the trace that this is called in; nothing outside of them."""
    found: dict[str, str | int] = {}
    claim = _claim.get()
    if claim is not None:
        spec = claim.spec
        found = {"run_id": spec.run_id, "job_id": spec.job_id, "job": spec.name, "attempt": claim.attempt}
        if spec.correlation_id:
            found["correlation_id"] = spec.correlation_id
    span = get_current_span().get_span_context()
    if span.is_valid:
        found["trace_id"] = f"{span.trace_id:032x}"
        found["span_id"] = f"{span.span_id:016x}"
    return found


class RunFacts(logging.Filter):
    """Add the fields of ``FIELDS`` to each record, '' where one is not known; lets all pass.

    For a handler, which sees also what libraries log. What a caller gave as ``extra`` under these names is replaced
    within a run: nobody logs in the name of another run.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields."""
        known = run_facts()
        for name in FIELDS:
            setattr(record, name, known.get(name) or getattr(record, name, ""))
        return True
