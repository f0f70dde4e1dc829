"""The container of the framework: registry, stores, engine, scheduler and bus."""

import os
import platform
from collections.abc import Callable
from typing import Any

from dependency_injector import containers, providers

from application.runs.injection import Injector
from application.runs.observer import UNOBSERVED, RunObserver
from application.runs.registry import JobRegistry
from application.scheduling import BackgroundTasksBus, BackgroundTaskScheduler
from application.scheduling.deeds import WriteDown, unwritten
from application.scheduling.tracing import UNTRACED, SchedulingTrace
from infrastructure.redis.connection import RedisStore
from infrastructure.runs.announcer import Announcer
from infrastructure.runs.instances import RedisInstances
from infrastructure.runs.scripts import Retention
from infrastructure.runs.store import RedisRunStore
from infrastructure.scheduling.claiming import Pace
from infrastructure.scheduling.engine import Engine
from infrastructure.scheduling.store import RedisJobStore
from infrastructure.settings import BackgroundJobsSettings


def retention(settings: BackgroundJobsSettings, exported_at_most: int) -> Retention:
    """Return what the settings say about keeping."""
    return Retention(
        events_kept=settings.events_kept,
        runs_kept_per_schedule=settings.runs_kept_per_schedule,
        finished_jobs_kept=settings.finished_jobs_kept,
        finished_jobs_ttl_s=settings.finished_jobs_ttl_s,
        dead_jobs_kept=settings.dead_jobs_kept,
        dead_jobs_ttl_s=settings.dead_jobs_ttl_s,
        exported_at_most=exported_at_most,
    )


def pace(settings: BackgroundJobsSettings) -> Pace:
    """Return what the settings say about taking, claiming and renewing."""
    return Pace(
        lease_ms=round(settings.lease_s * 1000),
        renewals_per_lease=settings.renewals_per_lease,
        batch=settings.batch,
        takeover_limit=settings.takeover_limit,
        default_timeout_s=settings.default_timeout_s,
    )


def make_scheduler(
    registry: JobRegistry,
    schedules: RedisJobStore,
    runs: RedisRunStore,
    engine: Engine,
    settings: BackgroundJobsSettings,
    executes: bool,
    actor: Callable[[], str],
    write_down: WriteDown,
    trace: SchedulingTrace,
) -> BackgroundTaskScheduler:
    """Return the scheduler; without the engine in a process that only controls."""
    scheduler = BackgroundTaskScheduler(
        registry,
        schedules,
        runs,
        engine=engine if executes else None,
        default_timeout_s=settings.default_timeout_s,
        actor=actor,
        write_down=write_down,
        trace=trace,
    )
    engine.park = scheduler.park
    return scheduler


def make_engine(
    store: RedisStore,
    instance_id: str,
    registry: JobRegistry,
    injector: Injector,
    settings: BackgroundJobsSettings,
    kept: Retention,
    facts: dict[str, str],
    observer: RunObserver,
    rules: str,
) -> Engine:
    """Return the engine, not started."""
    return Engine(
        store,
        instance_id,
        registry,
        injector,
        pace=pace(settings),
        retention=kept,
        concurrency=settings.concurrency,
        grace_s=settings.shutdown_grace_s,
        role=facts["role"],
        version=facts["version"],
        observer=observer,
        rules=rules,
    )


def make_announcer(
    store: RedisStore, instance_id: str, settings: BackgroundJobsSettings, kept: Retention, facts: dict[str, str]
) -> Announcer:
    """Return what announces a process that executes nothing, not started."""
    known = {**facts, "host": platform.node(), "pid": os.getpid()}
    return Announcer(store, instance_id, round(settings.lease_s * 1000), kept, lambda: known)


class SchedulingContainer(containers.DeclarativeContainer):
    """Give ``BackgroundTasksBus`` and ``BackgroundTaskScheduler`` to jobs and routes."""

    settings = providers.Dependency(instance_of=BackgroundJobsSettings)
    store = providers.Dependency(instance_of=RedisStore)
    instance_id = providers.Dependency(instance_of=str)
    facts = providers.Dependency(instance_of=dict)
    executes = providers.Dependency(instance_of=bool)
    registry = providers.Dependency(instance_of=JobRegistry)
    injector: providers.Dependency[Injector] = providers.Dependency()
    actor: providers.Dependency[Any] = providers.Dependency()
    """Returns who asks, for events and pauses."""
    write_down: providers.Dependency[Any] = providers.Dependency(default=providers.Object(unwritten))
    """Makes the note of what somebody asks for."""
    schedule_alone: providers.Dependency[Any] = providers.Dependency()
    observer = providers.Dependency(instance_of=RunObserver, default=providers.Object(UNOBSERVED))
    """Looks on while runs begin and end."""
    trace = providers.Dependency(instance_of=SchedulingTrace, default=providers.Object(UNTRACED))
    rules = providers.Dependency(instance_of=str, default=providers.Object(""))
    """Weights and limits of queues and jobs, as claim.lua reads them."""

    exported_at_most = providers.Dependency(instance_of=int, default=0)
    """How many jobs may wait for the history; 0 where nobody keeps one."""

    kept = providers.Singleton(retention, settings, exported_at_most)
    schedules = providers.Singleton(RedisJobStore, store, instance_id, kept)
    runs = providers.Singleton(RedisRunStore, store, instance_id, kept)
    engine = providers.Singleton(
        make_engine, store, instance_id, registry, injector, settings, kept, facts, observer, rules
    )
    announcer = providers.Singleton(make_announcer, store, instance_id, settings, kept, facts)
    instances = providers.Singleton(RedisInstances, store)
    scheduler = providers.Singleton(
        make_scheduler, registry, schedules, runs, engine, settings, executes, actor, write_down, trace
    )
    bus = providers.Singleton(BackgroundTasksBus, scheduler, schedule_alone)
