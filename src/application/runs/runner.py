"""Execute claimed runs: load, inject, start, run, settle."""

import asyncio
import contextvars
import inspect
import json
import logging
import threading
import traceback
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from application.runs.context import JobContext
from application.runs.injection import Injector
from application.runs.registry import JobRegistry
from application.runs.store import Settlements
from application.runs.threads import BodyThreads
from domain.runs.errors import InvalidData, JobTerminationException, UnknownJob, UnusableResult
from domain.runs.job import BackgroundJob, JobDefinition
from domain.runs.outcome import Cancelled, Failed, Lost, Outcome, Released, Retry, Succeeded, Terminated
from domain.runs.run import Claim

log = logging.getLogger(__name__)

RESULT_LIMIT = 65_536
"""Bytes of a result's JSON: it travels in an event and is kept beside the run."""
ERROR_LIMIT = 2_000
"""Characters of an error's text."""


class JobRunner:
    """The heart: every claimed run of this instance goes through ``_execute``.

    ``held`` maps run ids to claims from the claim until the store has settled them: what must be renewed, and what
    fills the slots. The tick's thread adds to it, the event loop takes away.
    """

    def __init__(
        self, registry: JobRegistry, injector: Injector, settlements: Settlements, *, concurrency: int
    ) -> None:
        self._registry = registry
        self._injector = injector
        self._settlements = settlements
        self._concurrency = concurrency
        self.held: dict[str, Claim] = {}
        self.threads = BodyThreads()
        self._tasks: dict[Claim, asyncio.Task[None]] = {}
        self._ending: dict[Claim, Outcome] = {}
        self._settling: set[Claim] = set()

    @property
    def free_slots(self) -> int:
        """How many runs may be claimed now. Any thread may ask."""
        return max(self._concurrency - len(self.held), 0)

    def hold(self, claims: Iterable[Claim]) -> None:
        """Count claims as ours from now on; called by the thread that made them, before ``start``."""
        for claim in claims:
            self.held[claim.spec.run_id] = claim

    def start(self, claims: Iterable[Claim]) -> None:
        """Begin to execute held claims; on the event loop."""
        for claim in claims:
            if self.held.get(claim.spec.run_id) is not claim:
                continue  # lost or given back before it began
            for older in [other for other in self._tasks if other.spec.run_id == claim.spec.run_id]:
                self._end(older, Lost("this instance itself has taken it over, with a newer claim"))
            # An empty context: what a container keeps per context is made anew for this run, and leaks into no other.
            task = asyncio.create_task(
                self._execute(claim), name=f"run {claim.spec.run_id}", context=contextvars.Context()
            )
            self._tasks[claim] = task

    def revoke(self, run_id: str, why: str) -> None:
        """Cancel the body of a run that is no longer ours; its outcome is dropped."""
        claim = self.held.get(run_id)
        if claim is not None:
            self._end(claim, Lost(why))

    async def drain(self, grace_s: float) -> None:
        """Let running bodies end for ``grace_s`` seconds, then cancel them and give their runs back."""
        for claim in list(self.held.values()):
            if claim not in self._tasks and claim not in self._settling:
                self._finish(claim, Released(started=False))
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=grace_s)
        for claim in list(self._tasks):
            self._end(claim, Released(started=True))
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=grace_s)

    def forget(self, claims: Iterable[Claim]) -> None:
        """Free the slots of claims that the store has answered for."""
        for claim in claims:
            self._settling.discard(claim)
            if self.held.get(claim.spec.run_id) is claim:
                del self.held[claim.spec.run_id]

    def _end(self, claim: Claim, outcome: Outcome) -> None:
        """End a claim from outside: cancel its body, whose own outcome no longer counts."""
        task = self._tasks.get(claim)
        if task is not None:
            if self._ending.setdefault(claim, outcome) is outcome:
                task.cancel()
        elif claim not in self._settling:
            self._finish(claim, outcome)

    def _finish(self, claim: Claim, outcome: Outcome) -> None:
        if isinstance(outcome, Lost):
            log.warning("run %s, attempt %d, was lost: %s", claim.spec.run_id, claim.attempt, outcome.why)
            self.forget([claim])
        else:
            self._settling.add(claim)
            self._settlements.add(claim, outcome)

    async def _execute(self, claim: Claim) -> None:
        try:
            outcome = await self._attempt(claim)
        except asyncio.CancelledError:
            outcome = Cancelled("the body was cancelled")
        finally:
            self._tasks.pop(claim, None)
        self._finish(claim, self._ending.pop(claim, outcome))

    async def _attempt(self, claim: Claim) -> Outcome:
        """Return the outcome of one attempt, whatever the body does."""
        stopped = threading.Event()
        try:
            definition = self._registry.get(claim.spec.name)
            data = definition.load(claim.data)
        except (InvalidData, UnknownJob) as error:
            return Failed(str(error), unloadable=True)
        try:
            async with self._injector.scope(definition) as dependencies, asyncio.timeout(claim.spec.timeout_s) as limit:
                result = await self._run(
                    definition.cls(**data, **dependencies), definition, self._context(claim, stopped)
                )
            return Succeeded(_result(definition, result))
        except JobTerminationException as error:
            return Terminated(str(error) or "the body raised JobTerminationException")
        except TimeoutError as error:
            late = f"the body did not end within its timeout of {claim.spec.timeout_s:g} s"
            return _failure(claim, TimeoutError(late) if limit.expired() else error)
        except Exception as error:  # noqa: BLE001 - a body may raise anything; it becomes the outcome
            return _failure(claim, error)
        finally:
            stopped.set()

    def _context(self, claim: Claim, stopped: threading.Event) -> JobContext:
        spec = claim.spec
        loop = asyncio.get_running_loop()

        def report(percent: float, message: str) -> None:
            loop.call_soon_threadsafe(self._settlements.progress, claim, percent, message)

        return JobContext(
            run_id=spec.run_id,
            job_id=spec.job_id,
            attempt=claim.attempt,
            fire_time=spec.fire_time,
            missed=spec.missed,
            deadline=datetime.now(UTC) + timedelta(seconds=spec.timeout_s),
            token=claim.token,
            correlation_id=spec.correlation_id,
            _report=report,
            _cancel=stopped,
        )

    async def _run(self, job: BackgroundJob, definition: JobDefinition, ctx: JobContext) -> Any:
        body: Callable[..., Any] = getattr(job, definition.body)
        args = (ctx,) if takes_context(body) else ()
        if inspect.iscoroutinefunction(body):
            return await body(*args)
        result = await self.threads.call(body, *args)
        return await result if inspect.isawaitable(result) else result


def takes_context(body: Callable[..., Any]) -> bool:
    """Tell whether a body has a parameter for the context."""
    kinds = [parameter.kind for parameter in inspect.signature(body).parameters.values()]
    return any(kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD) for kind in kinds)


def _result(definition: JobDefinition, result: Any) -> str:
    if result is None:
        return "null"
    try:
        text = json.dumps(result, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise UnusableResult(job=definition.name, why=str(error), limit=RESULT_LIMIT) from error
    if len(text) > RESULT_LIMIT:
        raise UnusableResult(job=definition.name, why=f"it has {len(text)} bytes of JSON", limit=RESULT_LIMIT)
    return text


def _failure(claim: Claim, error: Exception) -> Outcome:
    decision = claim.spec.retry.decide(error, claim.retries)
    log.info(
        "run %s, attempt %d, failed (%s)\n%s",
        claim.spec.run_id,
        claim.attempt,
        decision.why,
        "".join(traceback.format_exception(error)).rstrip(),
    )
    text = f"{type(error).__name__}: {error}"[:ERROR_LIMIT]
    return Failed(text) if decision.delay_s is None else Retry(text, decision.delay_s)
