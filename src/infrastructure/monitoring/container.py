"""The container of monitoring: its stores, providers of metrics, engine and hosted services."""

from datetime import timedelta
from typing import Any

from dependency_injector import containers, providers

from application.events.bus import EventBus
from application.monitoring.acks import AlertAcks
from application.monitoring.alert_list import AlertList
from application.monitoring.alert_rules import AlertRules
from application.monitoring.alerting import AlertEngine
from application.monitoring.backoff import Backoff
from application.monitoring.channel_desk import ChannelDesk
from application.monitoring.channels import Channels
from application.monitoring.handler import WorkerNotificationHandler
from application.monitoring.intake import SampleIntake
from application.monitoring.policy import Policies
from application.monitoring.providers import MetricsProvider, MetricsProviders
from application.monitoring.registry import WorkerRegistry
from application.monitoring.rehearsal import Rehearsals
from application.monitoring.rhythm import Rhythms
from application.monitoring.scheduler import WorkerMonitoringScheduler
from application.monitoring.seeding import MonitoringSeed
from application.monitoring.sender import NotificationSender
from application.monitoring.silences import Silences
from application.monitoring.watch import AlertWatch
from application.scheduling import BackgroundTasksBus, BackgroundTaskScheduler
from application.scheduling.deeds import unwritten
from infrastructure.events.bus import RedisEventBus
from infrastructure.monitoring.alerts import RedisAlertBook
from infrastructure.monitoring.aws.provider import AwsProvider
from infrastructure.monitoring.channels.making import make_channels
from infrastructure.monitoring.deliveries import RedisDeliveries
from infrastructure.monitoring.fleet import RedisFleet
from infrastructure.monitoring.local import LocalProvider
from infrastructure.monitoring.looks import RedisLooks
from infrastructure.monitoring.outbox import OutboxOptions, RedisOutbox
from infrastructure.monitoring.policy import RedisPolicyBook
from infrastructure.monitoring.samples import RedisSamples
from infrastructure.monitoring.scripts import MonitoringRetention, MonitoringScripts
from infrastructure.monitoring.workers import RedisWorkers
from infrastructure.redis.connection import RedisStore
from infrastructure.scheduling.store import RedisJobStore
from infrastructure.settings import AlertsSettings, MonitoringSettings


def retention(settings: MonitoringSettings, events_kept: int) -> MonitoringRetention:
    """Return what the settings say about keeping."""
    return MonitoringRetention(samples_kept_s=settings.samples_kept_h * 3600, events_kept=events_kept)


def event_bus(bus: RedisEventBus) -> EventBus:
    """Give the bus by the name that jobs ask for."""
    return bus


def metrics_providers(local: LocalProvider, aws: AwsProvider, others: tuple[MetricsProvider, ...]) -> MetricsProviders:
    """Return who can measure workers: the program's own providers, and those of the settings."""
    return MetricsProviders([local, aws, *others])


def channels(settings: AlertsSettings) -> Channels:
    """Return the channels of the settings."""
    return make_channels(settings.channels)


def outbox_options(settings: AlertsSettings) -> OutboxOptions:
    """Return what the settings say about sending."""
    return OutboxOptions(
        interval_s=settings.group_interval_s,
        deliveries_kept=settings.deliveries_kept,
        deliveries_kept_s=settings.deliveries_kept_h * 3600,
    )


def book(scripts: MonitoringScripts, settings: AlertsSettings, sender: NotificationSender) -> RedisAlertBook:
    """Return the alerts; what is new in the outbox wakes the sender of this process, the others poll."""
    return RedisAlertBook(scripts, settings.routing, sender.wake)


def sender(outbox: RedisOutbox, channels: Channels, settings: AlertsSettings) -> NotificationSender:
    """Return the sender."""
    return NotificationSender(outbox, channels, give_up_after=timedelta(hours=settings.give_up_after_h))


class MonitoringContainer(containers.DeclarativeContainer):
    """Everything of monitoring. Routes want ``registry``, ``monitoring`` and ``alert_list``; the host, in this order,
    ``aws_provider``, ``intake``, the scheduler, ``sender``, ``handler`` and ``seed``, after the event bus."""

    settings = providers.Dependency(instance_of=MonitoringSettings)
    alert_settings = providers.Dependency(instance_of=AlertsSettings)
    events_kept = providers.Dependency(instance_of=int, default=100_000)
    is_only_machine = providers.Dependency(instance_of=bool, default=False)
    store = providers.Dependency(instance_of=RedisStore)
    instance_id = providers.Dependency(instance_of=str)
    events = providers.Dependency(instance_of=RedisEventBus)
    tasks = providers.Dependency(instance_of=BackgroundTasksBus)
    task_scheduler = providers.Dependency(instance_of=BackgroundTaskScheduler)
    schedules = providers.Dependency(instance_of=RedisJobStore)
    user_providers = providers.Dependency(instance_of=tuple, default=())
    write_down: providers.Dependency[Any] = providers.Dependency(default=providers.Object(unwritten))
    """Makes the note of what somebody asks for."""

    kept = providers.Singleton(retention, settings, events_kept)
    scripts = providers.Singleton(MonitoringScripts, store, instance_id, kept)
    workers = providers.Singleton(RedisWorkers, scripts)
    samples = providers.Singleton(RedisSamples, scripts)
    fleet = providers.Singleton(RedisFleet, scripts)
    outbox_options = providers.Singleton(outbox_options, alert_settings)
    outbox = providers.Singleton(RedisOutbox, scripts, instance_id, outbox_options)
    deliveries = providers.Singleton(RedisDeliveries, scripts, outbox_options)
    channels = providers.Singleton(channels, alert_settings)
    sender = providers.Singleton(sender, outbox, channels, alert_settings)
    book = providers.Singleton(book, scripts, alert_settings, sender)
    bus = providers.Singleton(event_bus, events)

    local_provider = providers.Singleton(LocalProvider)
    aws_provider = providers.Singleton(AwsProvider, settings.provided.aws, scripts, instance_id)
    metrics_providers = providers.Singleton(metrics_providers, local_provider, aws_provider, user_providers)
    rhythms = providers.Singleton(Rhythms, schedules)
    backoff = providers.Singleton(Backoff, fleet, rhythms, task_scheduler)
    policy_book = providers.Singleton(RedisPolicyBook, scripts)
    policies = providers.Singleton(Policies, policy_book, alert_settings.provided.rules)
    looks = providers.Singleton(RedisLooks, scripts)
    alert_engine = providers.Singleton(AlertEngine, workers, samples, book, rhythms, policies, looks)
    alert_watch = providers.Singleton(AlertWatch, alert_engine, workers, samples, book, rhythms, policies, looks)
    alert_rules = providers.Singleton(AlertRules, policies, policy_book, workers.provided.now, write_down)
    silences = providers.Singleton(Silences, policies, policy_book, workers.provided.now, write_down)
    rehearsals = providers.Singleton(Rehearsals, workers, samples, rhythms)
    alert_acks = providers.Singleton(AlertAcks, book, alert_engine, write_down)

    channel_desk = providers.Singleton(ChannelDesk, channels, outbox, deliveries, write_down, instance_id)
    intake = providers.Singleton(SampleIntake, samples, alert_engine)
    handler = providers.Singleton(WorkerNotificationHandler, events, alert_engine, intake, instance_id)
    monitoring = providers.Singleton(
        WorkerMonitoringScheduler,
        workers,
        samples,
        alert_engine,
        tasks,
        task_scheduler,
        schedules,
        fleet,
        metrics_providers,
        default_interval_s=settings.provided.interval_s,
    )
    registry = providers.Singleton(
        WorkerRegistry, workers, samples, metrics_providers, monitoring, alert_engine, write_down
    )
    alert_list = providers.Singleton(AlertList, book, resolved_kept=kept.provided.alerts_kept)
    seed = providers.Singleton(
        MonitoringSeed,
        workers,
        monitoring,
        tasks,
        hostname=local_provider.provided.hostname,
        interval_s=settings.provided.interval_s,
        local_worker=settings.provided.local_worker,
        is_only_machine=is_only_machine,
    )
