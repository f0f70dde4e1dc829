"""Workers and their monitoring as everybody may see them."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from application.monitoring.rhythm import job_id
from domain.monitoring.record import AlertRecord
from domain.monitoring.sample import MetricSample
from domain.monitoring.worker import Worker
from domain.scheduling.schedule import Pause, ScheduleCounts, ScheduleInfo, ScheduleStatus


class MonitoringRequest(BaseModel):
    """How a worker is to be monitored: every ``interval_s`` seconds, or by a ``cron`` line in ``timezone``.

    Without either it keeps its rhythm; a new one begins with the interval of the settings. ``paused`` pauses or
    resumes; left out, a pause stays.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    interval_s: float | None = None
    cron: Annotated[str, Field(max_length=200)] | None = None
    timezone: Annotated[str, Field(max_length=100)] | None = None
    paused: bool | None = None


class Monitoring(BaseModel):
    """How a worker is monitored, and how it went so far."""

    job_id: str
    worker_id: str
    interval_s: float | None = None
    cron: str | None = None
    timezone: str | None = None
    when: str | None = None
    """The rhythm in words, whatever its kind."""
    paused: bool
    pause: Pause | None = None
    status: ScheduleStatus
    parked_reason: str | None = None
    next_run_time: datetime | None = None
    last_run_time: datetime | None = None
    last_outcome: str | None = None
    last_error: str | None = None
    running: list[str] = []
    counts: ScheduleCounts = ScheduleCounts()

    @classmethod
    def of(cls, worker_id: str, info: ScheduleInfo) -> "Monitoring":
        """Return what a schedule says of a worker's monitoring."""
        when = info.descriptor
        return cls(
            job_id=job_id(worker_id),
            worker_id=worker_id,
            interval_s=when.interval if when else None,
            cron=when.cron if when else None,
            timezone=when.timezone if when and when.cron else None,
            when=info.when,
            paused=info.paused is not None,
            pause=info.paused,
            status=info.status,
            parked_reason=info.parked.reason if info.parked else None,
            next_run_time=info.next_fire,
            last_run_time=info.last_fire,
            last_outcome=info.last_outcome,
            last_error=info.last_error,
            running=info.running,
            counts=info.counts,
        )


class WorkerView(Worker):
    """A worker with its monitoring and its last sample."""

    monitoring: Monitoring | None = None
    last_sample: MetricSample | None = None

    @classmethod
    def of(cls, worker: Worker, monitoring: Monitoring | None, last_sample: MetricSample | None) -> "WorkerView":
        """Put together what is known."""
        return cls(**dict(worker), monitoring=monitoring, last_sample=last_sample)


class WorkerPage(BaseModel):
    """Some workers in the order of their ids; ``next_cursor`` asks for what follows."""

    items: list[WorkerView]
    next_cursor: str | None


class SamplePage(BaseModel):
    """Samples, oldest first; ``next_cursor`` asks for what follows, None at the end."""

    items: list[MetricSample]
    next_cursor: str | None


class AlertPage(BaseModel):
    """Alerts: what is open, oldest first, then what was resolved, newest first."""

    items: list[AlertRecord]
    next_cursor: str | None


class MonitoringPage(BaseModel):
    """Monitored workers in the order of their ids."""

    items: list[Monitoring]
    next_cursor: str | None
