"""A runner with everything real around it, but for the store: what it settles is collected in a list."""

import asyncio
import itertools
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from dependency_injector import containers

from application.runs.registry import JobRegistry
from application.runs.runner import JobRunner
from application.scheduling import RecurrentBackgroundJob, RetryPolicy, backgroundjob
from domain.runs.outcome import Outcome
from domain.runs.run import Claim, RunReason, RunSpec
from infrastructure.runs.injection import ContainerInjector
from support import wait_until

FIRE_TIME = datetime(2026, 11, 22, 8, tzinfo=UTC)


class Settled:
    """A ``Settlements`` that keeps what it is given."""

    def __init__(self) -> None:
        self.outcomes: list[tuple[Claim, Outcome]] = []
        self.reports: list[tuple[str, float, str]] = []

    def add(self, claim: Claim, outcome: Outcome) -> None:
        self.outcomes.append((claim, outcome))

    def progress(self, claim: Claim, percent: float, message: str) -> None:
        self.reports.append((claim.spec.run_id, percent, message))

    def of(self, claim: Claim) -> Outcome:
        """The one outcome of a claim."""
        (outcome,) = [outcome for other, outcome in self.outcomes if other is claim]
        return outcome


class RunnerKit:
    def __init__(
        self, *jobs: type, container: containers.Container | None = None, concurrency: int = 10, clean_up_s: float = 5.0
    ) -> None:
        self.settled = Settled()
        injector = ContainerInjector([container] if container is not None else [])
        self.runner = JobRunner(
            JobRegistry(jobs), injector, self.settled, concurrency=concurrency, clean_up_s=clean_up_s
        )
        self._numbers = itertools.count(1)

    def claim(
        self,
        job: type | str,
        data: str = "{}",
        *,
        timeout_s: float = 60.0,
        retry: RetryPolicy | None = None,
        run_id: str = "",
        token: str = "",
        version: int = 1,
    ) -> Claim:
        """A claim as the store hands it out, held by the runner."""
        number = next(self._numbers)
        name = job if isinstance(job, str) else job.__definition__.name  # type: ignore[attr-defined]
        spec = RunSpec(
            run_id=run_id or f"r{number}",
            job_id="j1",
            name=name,
            reason=RunReason.FIRE,
            fire_time=FIRE_TIME,
            version=version,
            missed=2,
            timeout_s=timeout_s,
            retry=retry or RetryPolicy(),
            correlation_id="c1",
        )
        claim = Claim(spec=spec, data=data, lane=f"{name}@{version}", attempt=1, retries=0, token=token or str(number))
        self.runner.hold([claim])
        return claim

    def start(self, job: type | str, data: str = "{}", **options: Any) -> Claim:
        claim = self.claim(job, data, **options)
        self.runner.start([claim])
        return claim

    async def outcome(self, claim: Claim) -> Outcome:
        """The outcome of a claim, when it is there."""
        await wait_until(lambda: any(other is claim for other, _ in self.settled.outcomes), "an outcome")
        return self.settled.of(claim)

    async def run(self, job: type | str, data: str = "{}", **options: Any) -> Outcome:
        """Start a claim and return what it ends with."""
        return await self.outcome(self.start(job, data, **options))


def job_of(body: Callable[..., Any]) -> type:
    """A recurrent job with this body, which takes ``self``."""
    return backgroundjob(task_type="recurrent", name="Job")(type("Job", (RecurrentBackgroundJob,), {"run_every": body}))


async def outcome_of(body: Callable[..., Any], **options: Any) -> Outcome:
    """What one run of a job with this body ends with."""
    kit = RunnerKit(job_of(body))
    return await kit.run("Job", **options)


async def forever() -> None:
    """Wait for cancellation."""
    await asyncio.Event().wait()
