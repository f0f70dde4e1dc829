"""The container of jobs: their store and their service."""

from typing import Any

from dependency_injector import containers, providers

from application.jobs.service import JobService
from application.runs.registry import JobRegistry
from application.scheduling.deeds import WriteDown, unwritten
from application.scheduling.tracing import UNTRACED, SchedulingTrace
from infrastructure.jobs.store import RedisJobs
from infrastructure.redis.connection import RedisStore
from infrastructure.runs.scripts import Retention
from infrastructure.runs.store import RedisRunStore
from infrastructure.settings import BackgroundJobsSettings, QueuesSettings


def job_store(
    store: RedisStore, runs: RedisRunStore, instance_id: str, kept: Retention, settings: QueuesSettings
) -> RedisJobs:
    """Return the store of jobs."""
    return RedisJobs(store, runs, instance_id, kept, settings.idempotency_kept_h * 3600)


def job_service(
    registry: JobRegistry,
    jobs: RedisJobs,
    runs: RedisRunStore,
    settings: QueuesSettings,
    background_jobs: BackgroundJobsSettings,
    write_down: WriteDown,
    trace: SchedulingTrace,
) -> JobService:
    """Return the service of jobs."""
    timeout_s = background_jobs.default_timeout_s
    return JobService(
        registry, jobs, runs, settings.queues, default_timeout_s=timeout_s, write_down=write_down, trace=trace
    )


class JobsContainer(containers.DeclarativeContainer):
    """Give ``JobService`` to jobs and routes."""

    settings = providers.Dependency(instance_of=QueuesSettings)
    background_jobs = providers.Dependency(instance_of=BackgroundJobsSettings)
    store = providers.Dependency(instance_of=RedisStore)
    instance_id = providers.Dependency(instance_of=str)
    registry = providers.Dependency(instance_of=JobRegistry)
    runs = providers.Dependency(instance_of=RedisRunStore)
    kept = providers.Dependency(instance_of=Retention)
    write_down: providers.Dependency[Any] = providers.Dependency(default=providers.Object(unwritten))
    trace = providers.Dependency(instance_of=SchedulingTrace, default=providers.Object(UNTRACED))

    job_store = providers.Singleton(job_store, store, runs, instance_id, kept, settings)
    service = providers.Singleton(job_service, registry, job_store, runs, settings, background_jobs, write_down, trace)
