"""The root container: one small container a feature, composed here and nowhere else."""

from typing import Any

from dependency_injector import containers, providers

from application.runs.observer import RunObserver
from application.runs.registry import JobRegistry
from application.scheduling.tracing import SchedulingTrace
from infrastructure.audit.container import AuditContainer
from infrastructure.events.bus import RedisEventBus
from infrastructure.events.options import EventBusOptions
from infrastructure.jobs.container import JobsContainer
from infrastructure.jobs.rules import rules_of
from infrastructure.monitoring.container import MonitoringContainer
from infrastructure.redis.connection import RedisStore
from infrastructure.scheduling.container import SchedulingContainer
from infrastructure.settings import Settings
from infrastructure.web.access import actor

OWN_JOB_MODULES = ("application.monitoring.jobs",)
"""The program's own background jobs; always loaded."""


def event_bus(store: RedisStore, instance_id: str, settings: Settings) -> RedisEventBus:
    """Return the event bus, not started."""
    options = EventBusOptions(events_kept=settings.background_jobs.events_kept)
    return RedisEventBus(store.command, store.blocking, store.key, instance_id, options)


class RootContainer(containers.DeclarativeContainer):
    """Everything of one process. ``store`` is open, or about to be opened by whoever makes this."""

    settings = providers.Dependency(instance_of=Settings)
    store = providers.Dependency(instance_of=RedisStore)
    instance_id = providers.Dependency(instance_of=str)
    facts = providers.Dependency(instance_of=dict)
    executes = providers.Dependency(instance_of=bool)
    is_only_machine = providers.Dependency(instance_of=bool)
    """Whether no other machine can share the store: it is the embedded one."""
    schedule_alone: providers.Dependency[Any] = providers.Dependency()
    """Schedules with connections of its own: for threads while no loop of the program runs."""
    registry = providers.Dependency(instance_of=JobRegistry)
    injector: providers.Dependency[Any] = providers.Dependency()
    user_providers = providers.Dependency(instance_of=tuple, default=())
    """What measures workers beside the program's own providers."""
    observer = providers.Dependency(instance_of=RunObserver)
    trace = providers.Dependency(instance_of=SchedulingTrace)

    queues = settings.provided.queues.queues
    events = providers.Singleton(event_bus, store, instance_id, settings)
    audit = providers.Container(AuditContainer, settings=settings.provided.audit, store=store, instance_id=instance_id)
    scheduling = providers.Container(
        SchedulingContainer,
        settings=settings.provided.background_jobs,
        store=store,
        instance_id=instance_id,
        facts=facts,
        executes=executes,
        registry=registry,
        injector=injector,
        schedule_alone=schedule_alone,
        actor=providers.Object(actor),
        write_down=audit.writer,
        observer=observer,
        trace=trace,
        rules=providers.Singleton(rules_of, queues, registry),
        exported_at_most=settings.provided.history.exported_at_most,
    )
    jobs = providers.Container(
        JobsContainer,
        settings=settings.provided.queues,
        history_settings=settings.provided.history,
        data_dir=settings.provided.data_dir,
        background_jobs=settings.provided.background_jobs,
        store=store,
        instance_id=instance_id,
        registry=registry,
        runs=scheduling.runs,
        kept=scheduling.kept,
        write_down=audit.writer,
        trace=trace,
    )
    monitoring = providers.Container(
        MonitoringContainer,
        settings=settings.provided.monitoring,
        alert_settings=settings.provided.alerts,
        events_kept=settings.provided.background_jobs.events_kept,
        is_only_machine=is_only_machine,
        store=store,
        instance_id=instance_id,
        events=events,
        tasks=scheduling.bus,
        task_scheduler=scheduling.scheduler,
        schedules=scheduling.schedules,
        user_providers=user_providers,
        write_down=audit.writer,
    )
