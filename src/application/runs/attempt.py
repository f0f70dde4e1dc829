"""One attempt of a run, from its stored data to its outcome: load, inject, run."""

import asyncio
import functools
import inspect
import json
import logging
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from application.runs.asking import Actor, asked_by
from application.runs.context import JobContext, StopSign
from application.runs.injection import Injector
from application.runs.observer import UNOBSERVED, RunObserver
from application.runs.registry import JobRegistry
from application.runs.threads import BodyThreads
from domain.runs.errors import JobTerminationException, UnusableResult
from domain.runs.job import BackgroundJob, JobDefinition
from domain.runs.outcome import Failed, Outcome, Retry, Succeeded, Terminated
from domain.runs.run import Claim

log = logging.getLogger(__name__)

RESULT_LIMIT = 65_536
"""Bytes of a result's JSON: it travels in an event and is kept beside the run."""
ERROR_LIMIT = 2_000
"""Characters of an error's text."""
NOTHING = Succeeded()
"""What nearly all bodies return."""


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


class Attempts:
    """Turn claims into outcomes. Whatever a body raises is an outcome too; only cancellation passes through."""

    def __init__(
        self,
        registry: JobRegistry,
        injector: Injector,
        threads: BodyThreads,
        observer: RunObserver = UNOBSERVED,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._registry = registry
        self._injector = injector
        self._threads = threads
        self._observer = observer
        self._now = now

    async def execute(self, claim: Claim, stopped: StopSign, report: Callable[[float, str], None]) -> Outcome:
        """Execute one claim. ``stopped`` is what the body sees as ``ctx.cancelled``, ``report`` takes its progress."""
        try:
            definition = self._registry.get(claim.spec.name)
            data = definition.load(claim.data, claim.spec.version)
        except Exception as error:  # noqa: BLE001 - also what the validators of a job's data raise
            return Failed(error_text(error), unloadable=True)
        ctx = _context(claim, stopped, report, self._now())
        raised: BaseException | None = None
        result: Any = None
        try:
            async with self._injector.scope(definition) as dependencies:
                try:
                    result = await self._run(definition.cls(**data, **dependencies), definition, ctx)
                except BaseException as error:
                    raised = error  # kept: leaving the scope may replace or swallow it
                    raise
        except BaseException as error:  # noqa: BLE001 - a body may raise anything; it becomes the outcome
            self._observer.raised(claim, raised or error)
            return failure(claim, raised or error, error)
        return succeeded(claim, definition, result) if raised is None else failure(claim, raised, raised)

    async def _run(self, job: BackgroundJob, definition: JobDefinition, ctx: JobContext) -> Any:
        name = definition.body
        body: Callable[..., Any] = getattr(job, name)
        args = (ctx,) if definition.takes == "positional" else ()
        kwargs = {"ctx": ctx} if definition.takes == "keyword" else {}
        with asked_by(Actor(ctx.job_id, "job", run_id=ctx.run_id)):
            if _is_async(getattr(definition.cls, name)):
                return await body(*args, **kwargs)
            result = await self._threads.call(body, *args, **kwargs)
            return await result if inspect.isawaitable(result) else result


@functools.lru_cache(maxsize=1_000)
def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function)


def succeeded(claim: Claim, definition: JobDefinition, result: Any) -> Outcome:
    """Return what a body's result makes of its run. One that cannot be kept fails for good: the work is done."""
    if result is None:
        return NOTHING
    try:
        return Succeeded(_json(definition, result))
    except UnusableResult as error:
        log.info("run %s, attempt %d, failed: %s", claim.spec.run_id, claim.attempt, error)
        return Failed(error_text(error))


def failure(claim: Claim, raised: BaseException, last: BaseException) -> Outcome:
    """Return what an exception makes of a run.

    ``raised`` decides; ``last`` is what leaving the dependencies made of it. A group that holds a single exception, as
    a TaskGroup raises it, counts as that exception. Cancellation is raised again.
    """
    trace = "".join(traceback.format_exception(last)).rstrip()
    if isinstance(raised, asyncio.CancelledError):
        if last is not raised:
            log.warning("run %s was cancelled; leaving its dependencies failed\n%s", claim.spec.run_id, trace)
        raise raised
    alone = _alone(raised)
    text = error_text(alone)
    if last is not raised:
        text = f"{text} (and leaving its dependencies failed: {error_text(last)})"[:ERROR_LIMIT]
    if isinstance(alone, JobTerminationException):
        return Terminated(plain(str(alone)) or "the body raised JobTerminationException")
    decision = claim.spec.retry.decide(alone, claim.retries)
    log.info("run %s, attempt %d, failed (%s)\n%s", claim.spec.run_id, claim.attempt, decision.why, trace)
    return Failed(text) if decision.delay_s is None else Retry(text, decision.delay_s)


def error_text(error: BaseException) -> str:
    """Return an error as one text that fits into the store, with what a group holds."""
    try:
        said = str(error)
    except Exception:  # noqa: BLE001 - its __str__ may be as broken as the rest
        said = "(it cannot say what it is)"
    text = f"{type(error).__name__}: {said}"
    if isinstance(error, BaseExceptionGroup):
        text = f"{text}: {'; '.join(error_text(part) for part in error.exceptions)}"
    return plain(text)


def plain(text: str) -> str:
    """Return ``text`` with what UTF-8 cannot carry escaped, cut to what the store keeps of it."""
    return text[:ERROR_LIMIT].encode("utf-8", "backslashreplace").decode()[:ERROR_LIMIT]


def _alone(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _json(definition: JobDefinition, result: Any) -> str:
    try:
        text = json.dumps(result, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise UnusableResult(job=definition.name, why=str(error), limit=RESULT_LIMIT) from error
    if size > RESULT_LIMIT:
        raise UnusableResult(job=definition.name, why=f"it has {size} bytes of JSON", limit=RESULT_LIMIT)
    return text


def _context(claim: Claim, stopped: StopSign, report: Callable[[float, str], None], now: datetime) -> JobContext:
    spec = claim.spec
    return JobContext(
        run_id=spec.run_id,
        job_id=spec.job_id,
        attempt=claim.attempt,
        fire_time=spec.fire_time,
        missed=spec.missed,
        deadline=now + timedelta(seconds=spec.timeout_s),
        token=claim.token,
        correlation_id=spec.correlation_id,
        queue=spec.queue,
        user_id=spec.user_id,
        team_id=spec.team_id,
        _report=report,
        _stop=stopped,
    )
