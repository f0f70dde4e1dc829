"""Workers and their monitoring as everybody may see them."""

import re
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from application.monitoring.rhythm import job_id
from domain.errors import RoundsmanError
from domain.monitoring.backoff import Failures
from domain.monitoring.record import AlertRecord
from domain.monitoring.sample import MetricSample
from domain.monitoring.worker import Labels, ProviderId, ProviderName, Worker, WorkerId
from domain.scheduling.schedule import Pause, PutResult, ScheduleCounts, ScheduleInfo, ScheduleStatus

MOST_SELECTED = 10_000
"""Workers named in one request."""


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
    failures: int = 0
    """Looks that failed since the last that did not."""
    backing_off_until: datetime | None = None
    """When it is looked at again, if that is later than its rhythm says, because looks failed again and again."""

    @classmethod
    def of(cls, worker_id: str, info: ScheduleInfo, failures: Failures | None = None) -> "Monitoring":
        """Return what a schedule says of a worker's monitoring, with the ``failures`` of its looks."""
        when = info.descriptor
        until = failures.backing_off_until if failures else None
        # Who changed its rhythm, or resumed it, ended the backoff until the next failure.
        is_backing_off = until is not None and info.next_fire is not None and info.next_fire >= until
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
            failures=failures.count if failures else 0,
            backing_off_until=until if is_backing_off else None,
        )


class Selection(BaseModel):
    """Which workers are meant: those named, those with all these labels, of a provider, in a region; or all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    worker_ids: Annotated[tuple[WorkerId, ...], Field(min_length=1, max_length=MOST_SELECTED)] | None = None
    labels: Labels | None = None
    provider: ProviderName | None = None
    region: ProviderId | None = None
    all: bool = False

    @model_validator(mode="after")
    def _one_way(self) -> "Selection":
        by_facts = any(one is not None for one in (self.labels, self.provider, self.region))
        if [self.worker_ids is not None, by_facts, self.all].count(True) != 1:
            raise ValueError("say which workers: worker_ids, or labels, provider and region, or all")
        if self.labels == {} and self.provider is None and self.region is None:
            raise ValueError("no label selects no worker; for all of them say all")
        return self

    def selects(self, worker: Worker) -> bool:
        """Tell whether a worker is meant."""
        if self.worker_ids is not None:
            return worker.id in self.worker_ids
        if self.provider not in (None, worker.provider) or self.region not in (None, worker.region):
            return False
        return worker.is_selected_by(self.labels or {})


class Refused(BaseModel):
    """Why something asked for many could not be done for one: a problem as it would be the answer about it alone."""

    type: str
    """As in the API's own problems: ``urn:roundsman:problem:worker-not-found``."""
    status: int
    detail: str


class BulkStart(BaseModel):
    """What a bulk start did for one worker; ``monitoring`` is null and ``problem`` tells why where it failed."""

    worker_id: str
    result: Literal["created", "changed", "unchanged", "failed"]
    monitoring: Monitoring | None = None
    problem: Refused | None = None

    @classmethod
    def of(cls, worker_id: str, result: PutResult | RoundsmanError, found: Monitoring | None) -> "BulkStart":
        """Return what became of one worker."""
        if isinstance(result, RoundsmanError):
            words = re.findall(r"[A-Z]+(?=[A-Z][a-z]|$)|[A-Z][a-z]*", type(result).__name__)
            kind = f"urn:roundsman:problem:{'-'.join(words).lower()}"
            problem = Refused(type=kind, status=result.status, detail=str(result))
            return cls(worker_id=worker_id, result="failed", problem=problem)
        return cls(worker_id=worker_id, result=result.value, monitoring=found)


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
