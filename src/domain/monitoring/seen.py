"""What a provider saw of a worker, as a sample: with a reason for everything that it did not see."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from domain.monitoring.sample import CHECKS, METRICS, CheckStatus, Metrics, MetricSample, StatusChecks
from domain.monitoring.worker import Worker, WorkerStatus

NO_CHECKS = StatusChecks(system=CheckStatus.NOT_APPLICABLE, instance=CheckStatus.NOT_APPLICABLE)
"""Of a provider that checks no hardware."""


def sample_of(
    worker: Worker,
    observed_at: datetime,
    metrics: Mapping[str, Any],
    *,
    status: WorkerStatus = WorkerStatus.RUNNING,
    status_checks: StatusChecks = NO_CHECKS,
    missing: Mapping[str, str] | None = None,
    otherwise: str = "this provider does not measure it",
    sources: Mapping[str, str] | None = None,
) -> MetricSample:
    """Return a sample of ``worker`` with these ``metrics``; those that are null or left out get a reason.

    The reason is the one under the metric's name in ``missing``, or else ``otherwise``. Raises pydantic's
    ``ValidationError``, a ``ValueError``, for a metric that there is not, or a value that it cannot have.
    """
    given = Metrics.model_validate(dict(metrics))
    known = dict(missing or {})
    unseen = [name for name in METRICS if getattr(given, name) is None]
    unseen += [f"status_checks.{name}" for name in CHECKS if getattr(status_checks, name) is None]
    unseen += ["region"] if worker.region is None else []
    return MetricSample(
        worker_id=worker.id,
        worker_name=worker.name,
        provider=worker.provider,
        region=worker.region,
        observed_at=observed_at,
        collected_at=observed_at,
        status=status,
        status_checks=status_checks,
        metrics=given,
        missing=known | {name: known.get(name, otherwise) for name in unseen},
        sources=dict(sources or {}),
    )
