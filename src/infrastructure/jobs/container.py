"""The container of jobs: their store and their service."""

from pathlib import Path
from typing import Any

from dependency_injector import containers, providers

from application.jobs.history import JobHistory, NoHistory
from application.jobs.publishing import QueuePublisher
from application.jobs.service import JobService
from application.runs.registry import JobRegistry
from application.scheduling.deeds import WriteDown, unwritten
from application.scheduling.tracing import UNTRACED, SchedulingTrace
from infrastructure.jobs.history.connection import HistoryConnection
from infrastructure.jobs.history.exports import ExportSet
from infrastructure.jobs.history.keeper import HistoryKeeper
from infrastructure.jobs.history.part import HistoryPart
from infrastructure.jobs.history.settings import HistorySettings
from infrastructure.jobs.publisher import InProcessPublisher
from infrastructure.jobs.store import RedisJobs
from infrastructure.redis.connection import RedisStore
from infrastructure.runs.scripts import Retention
from infrastructure.runs.store import RedisRunStore
from infrastructure.settings import BackgroundJobsSettings, QueuesSettings


def job_publisher(store: RedisStore, instance_id: str, kept: Retention, settings: QueuesSettings) -> InProcessPublisher:
    """Return what hands jobs over to the engine."""
    return InProcessPublisher(store, instance_id, kept, settings.idempotency_kept_h * 3600)


def job_service(
    registry: JobRegistry,
    publisher: QueuePublisher,
    jobs: RedisJobs,
    runs: RedisRunStore,
    settings: QueuesSettings,
    background_jobs: BackgroundJobsSettings,
    write_down: WriteDown,
    trace: SchedulingTrace,
    history: JobHistory,
) -> JobService:
    """Return the service of jobs."""
    timeout_s = background_jobs.default_timeout_s
    return JobService(
        registry,
        publisher,
        jobs,
        runs,
        settings.queues,
        default_timeout_s=timeout_s,
        write_down=write_down,
        trace=trace,
        history=history,
    )


def history_part(
    store: RedisStore, instance_id: str, kept: Retention, settings: HistorySettings, data_dir: Path
) -> HistoryPart | None:
    """Return the history, not started; None where nobody keeps one."""
    if not settings.enabled:
        return None
    connection = HistoryConnection(settings.address(data_dir))
    exports = ExportSet(store, instance_id, kept, with_params=settings.params)
    return HistoryPart(connection, HistoryKeeper(connection, exports, settings), exports)


def job_history(part: HistoryPart | None) -> JobHistory:
    """Return what is asked for jobs that are over."""
    return NoHistory() if part is None else part.connection


class JobsContainer(containers.DeclarativeContainer):
    """Give ``JobService`` to jobs and routes."""

    settings = providers.Dependency(instance_of=QueuesSettings)
    background_jobs = providers.Dependency(instance_of=BackgroundJobsSettings)
    history_settings = providers.Dependency(instance_of=HistorySettings)
    data_dir = providers.Dependency(instance_of=Path)
    store = providers.Dependency(instance_of=RedisStore)
    instance_id = providers.Dependency(instance_of=str)
    registry = providers.Dependency(instance_of=JobRegistry)
    runs = providers.Dependency(instance_of=RedisRunStore)
    kept = providers.Dependency(instance_of=Retention)
    write_down: providers.Dependency[Any] = providers.Dependency(default=providers.Object(unwritten))
    trace = providers.Dependency(instance_of=SchedulingTrace, default=providers.Object(UNTRACED))

    publisher = providers.Singleton(job_publisher, store, instance_id, kept, settings)
    job_store = providers.Singleton(RedisJobs, store, runs)
    history_part = providers.Singleton(history_part, store, instance_id, kept, history_settings, data_dir)
    history = providers.Singleton(job_history, history_part)
    service = providers.Singleton(
        job_service, registry, publisher, job_store, runs, settings, background_jobs, write_down, trace, history
    )
