"""From how a worker is to be monitored to the schedule that does it."""

from typing import Any

from pydantic import ValidationError

from application.monitoring.jobs import WorkerMetricsCollectionJob
from application.monitoring.phases import aligned_start, is_aligned
from application.monitoring.providers import MetricsProviders
from application.monitoring.rhythm import job_id
from application.monitoring.views import MonitoringRequest
from application.scheduling import RecurrentTaskDescriptor
from domain.monitoring.errors import InvalidMonitoring
from domain.monitoring.worker import Worker
from domain.runs.job import describe
from domain.scheduling.trigger import KINDS

JOB = WorkerMetricsCollectionJob.__definition__.name
VERSION = WorkerMetricsCollectionJob.__definition__.version


class MonitoringWishes:
    """Make descriptors. The interval is what is asked for, what it was, its provider's default, or the setting's."""

    def __init__(self, providers: MetricsProviders, default_interval_s: float) -> None:
        self._providers = providers
        self._default_interval_s = default_interval_s

    def descriptor(
        self, worker: Worker, request: MonitoringRequest, before: RecurrentTaskDescriptor | None
    ) -> RecurrentTaskDescriptor:
        """Return the schedule that is wanted; raise ``InvalidMonitoring``. The policy of the one before stays."""
        facts: dict[str, Any] = {"id": job_id(worker.id), "name": JOB, "data": {"worker_id": worker.id}}
        if before is not None:
            facts["policy"] = before.policy
        given = request.model_dump(include={"interval_s", "cron", "timezone"}, exclude_none=True)
        try:
            wanted = RecurrentTaskDescriptor.model_validate(
                {**facts, "version": VERSION, **self._trigger(worker, given, before)}
            )
        except ValidationError as error:
            why = describe(error).replace("interval:", "interval_s:", 1)
            raise InvalidMonitoring(worker_id=worker.id, why=why) from None
        return self._aligned(worker, wanted)

    def _trigger(self, worker: Worker, given: dict[str, Any], before: RecurrentTaskDescriptor | None) -> dict[str, Any]:
        """Return the trigger that is asked for, else the one there is, else the default."""
        old = before.model_dump(include={*KINDS, "timezone"}) if before else {}
        asked = {name.removesuffix("_s"): value for name, value in given.items()}
        if "interval" in asked or "cron" in asked:
            timezone = asked.get("timezone") or old.get("timezone") or "UTC"
            return {"interval": asked.get("interval"), "cron": asked.get("cron"), "timezone": timezone}
        return {"interval": self._default(worker), **old, **asked}

    def _default(self, worker: Worker) -> float:
        provider = self._providers.find(worker.provider)
        return (provider.default_interval_s if provider else None) or self._default_interval_s

    def _aligned(self, worker: Worker, wanted: RecurrentTaskDescriptor) -> RecurrentTaskDescriptor:
        """Put a worker of a batch into the batch's phase. A start that somebody chose stays."""
        start = wanted.policy.start
        if start is not None and not is_aligned(start):
            return wanted
        provider = self._providers.find(worker.provider)
        batch = provider.batch_of(worker) if provider and wanted.interval is not None else None
        phase = None
        if batch is not None and wanted.interval is not None:
            phase = aligned_start(worker.provider, batch, wanted.interval)
        if phase == start:
            return wanted
        return wanted.model_copy(update={"policy": wanted.policy.model_copy(update={"start": phase})})
