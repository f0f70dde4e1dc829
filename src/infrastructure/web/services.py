"""What the routes use, and how they reach it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from application.events.bus import EventBus
from application.jobs.service import JobService
from application.monitoring.acks import AlertAcks
from application.monitoring.alert_list import AlertList
from application.monitoring.alert_rules import AlertRules
from application.monitoring.channel_desk import ChannelDesk
from application.monitoring.registry import WorkerRegistry
from application.monitoring.rehearsal import Rehearsals
from application.monitoring.scheduler import WorkerMonitoringScheduler
from application.monitoring.silences import Silences
from application.runs.registry import JobRegistry
from application.runs.store import RunStore
from application.scheduling import BackgroundTasksBus, BackgroundTaskScheduler
from infrastructure.audit.log import RedisAuditLog
from infrastructure.runs.instances import RedisInstances
from infrastructure.telemetry.program_metrics import ProgramMetrics
from infrastructure.web.health import Health


@dataclass(frozen=True)
class Services:
    """The parts of the program that the API shows."""

    scheduler: BackgroundTaskScheduler
    bus: BackgroundTasksBus
    events: EventBus
    runs: RunStore
    jobs: JobService
    instances: RedisInstances
    registry: JobRegistry
    health: Health
    workers: WorkerRegistry
    monitoring: WorkerMonitoringScheduler
    alerts: AlertList
    acks: AlertAcks
    rules: AlertRules
    rehearsals: Rehearsals
    silences: Silences
    channels: ChannelDesk
    audit: RedisAuditLog
    metrics: ProgramMetrics | None = None


def services_of(request: Request) -> Services:
    """Return the services of the application that serves ``request``; they are asked for anew each time."""
    provide: Callable[[], Services] = request.app.state.services
    return provide()


FromServices = Annotated[Services, Depends(services_of)]
