"""The background jobs of monitoring: one that measures a worker, one that looks for those not heard of."""

import asyncio
import logging
from typing import Any

from application.events.bus import EventBus
from application.monitoring.backoff import Backoff
from application.monitoring.fleet import Watched
from application.monitoring.intake import SampleIntake
from application.monitoring.providers import MetricsProviders
from application.monitoring.silences import Silences
from application.monitoring.stores import Workers
from application.monitoring.watch import AlertWatch
from application.scheduling import (
    Injected,
    JobContext,
    JobTerminationException,
    RecurrentBackgroundJob,
    RetryPolicy,
    backgroundjob,
)
from domain.monitoring.errors import CollectionFailed, WorkerNotFound, WorkerVanished
from domain.monitoring.sample import MetricSample
from domain.monitoring.worker import Worker, WorkerStatus

log = logging.getLogger(__name__)

COLLECTION_TIMEOUT_S = 30.0
AHEAD = "the sample's time is ahead of the store's clock, so the clock of the one or the other is wrong; mend that"
GOING = frozenset({WorkerStatus.SHUTTING_DOWN, WorkerStatus.TERMINATED})
"""What there is no way back from: nothing is to be measured any more."""
PROVIDER_TIMEOUT_S = 20.0
"""Less than the run has, so that a provider that does not answer is told of, and not only cut off."""


# No retries: the next fire is one, and a sample of later is no sample of now.
@backgroundjob(task_type="recurrent", retry=RetryPolicy(max_retries=0), timeout_s=COLLECTION_TIMEOUT_S)
class WorkerMetricsCollectionJob(RecurrentBackgroundJob):
    """Measure one worker: store the sample, tell it (``worker.metrics.collected``), follow the worker's status.

    A look that fails is told (``worker.collection.failed``), makes the worker unreachable, and fails its run; one that
    fails again and again is looked at less often until a look succeeds. A worker
    that is removed, terminated, or unknown to its provider ends the schedule.
    """

    worker_id: str
    workers: Injected[Workers]
    intake: Injected[SampleIntake]
    providers: Injected[MetricsProviders]
    backoff: Injected[Backoff]
    bus: Injected[EventBus]

    async def run_every(self, ctx: JobContext) -> dict[str, Any]:
        """Take one sample; running twice for one moment stores it once."""
        watched = await self.backoff.watched(self.worker_id)
        if watched is None:
            raise JobTerminationException(f"the worker '{self.worker_id}' was removed")
        worker = watched.worker
        if worker.status is WorkerStatus.TERMINATED:
            raise JobTerminationException(f"the worker '{self.worker_id}' is terminated: {worker.status_reason}")
        sample = await self._look(watched, ctx)
        verdict = await self.intake.take(sample, ctx.run_id)
        if verdict == "gone":
            raise JobTerminationException(f"the worker '{self.worker_id}' was removed")
        if verdict == "ahead":
            error = CollectionFailed(worker_id=worker.id, why=AHEAD)
            await self._tell_failure(watched, error, ctx)
            raise error
        await self._follow(worker, sample.status, f"seen by the provider '{worker.provider}'")
        is_over = sample.status in GOING
        await self.backoff.ended(watched, goes_on=not is_over)
        if is_over:
            raise JobTerminationException(f"the worker '{self.worker_id}' is {sample.status.replace('_', ' ')}")
        return {"stored": verdict == "stored", "observed_at": sample.observed_at.isoformat()}

    async def _look(self, watched: Watched, ctx: JobContext) -> MetricSample:
        worker = watched.worker
        try:
            provider = self.providers.get(worker.provider)
            async with asyncio.timeout(PROVIDER_TIMEOUT_S):
                return await provider.collect(worker, watched.now)
        except WorkerVanished as error:
            await self._follow(worker, WorkerStatus.TERMINATED, str(error))
            await self.backoff.ended(watched, goes_on=False)
            raise JobTerminationException(str(error)) from error
        except Exception as error:
            await self._tell_failure(watched, _as_failure(worker, error), ctx)
            raise

    async def _tell_failure(self, watched: Watched, failure: CollectionFailed, ctx: JobContext) -> None:
        worker, failures = watched.worker, await self.backoff.failed(watched, await self.workers.now())
        until = failures.backing_off_until
        facts = {
            "worker_id": worker.id,
            "worker_name": worker.name,
            "provider": worker.provider,
            "region": worker.region,
            "error": str(failure),
            "run_id": ctx.run_id,
            "failures": failures.count,
            "backing_off_until": until and until.isoformat(),
        }
        await self.bus.publish("worker.collection.failed", facts, correlation_id=ctx.run_id)
        await self._follow(worker, WorkerStatus.UNREACHABLE, str(failure))

    async def _follow(self, worker: Worker, status: WorkerStatus, reason: str) -> None:
        """Bring the worker's status in line with what was seen; one that was removed meanwhile needs none."""
        if worker.status is status:
            return
        now = await self.workers.now()
        try:
            await self.workers.change(worker.id, lambda found: found.observe(status, reason, now))
        except WorkerNotFound:
            log.info("worker %s was removed while it was looked at", worker.id)


def _as_failure(worker: Worker, error: Exception) -> CollectionFailed:
    if isinstance(error, CollectionFailed):
        return error
    why = f"the provider did not answer within {PROVIDER_TIMEOUT_S:g} s" if isinstance(error, TimeoutError) else error
    return CollectionFailed(worker_id=worker.id, why=str(why) or type(error).__name__)


@backgroundjob(task_type="recurrent", retry=RetryPolicy(max_retries=0), timeout_s=60.0)
class WorkerSilenceCheckJob(RecurrentBackgroundJob):
    """Do for alerts what only a clock does: silent workers, regions that are down, repeats, and what nobody ends."""

    watch: Injected[AlertWatch]
    silences: Injected[Silences]

    async def run_every(self) -> dict[str, Any]:
        """Check regions before silent workers, which they may hide; then what is due, and what is abandoned."""
        regions = await self.watch.check_providers()
        silent = await self.watch.check_silence()
        due = await self.watch.check_due()
        closed = await self.watch.close_the_abandoned()
        forgotten = await self.silences.purge()
        return {
            "regions": len(regions),
            "silent": len(silent),
            "due": due,
            "closed": closed,
            "silences_forgotten": forgotten,
        }
