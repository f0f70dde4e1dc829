"""What was seen of an instance, as a sample of its worker: with a reason for everything that is null."""

from datetime import UTC, datetime
from typing import Any

from domain.monitoring.sample import CHECKS, Metrics, MetricSample, StatusChecks
from domain.monitoring.worker import Worker, WorkerStatus
from infrastructure.monitoring.aws.seen import Instance, Seen, Values

NOT_READ = "it is not read from CloudWatch, as each metric is paid for"
NEVER = {
    "memory_limit_bytes": "EC2 does not tell it",
    "load_1m": "EC2 does not tell it",
    "process_count": "EC2 does not tell it",
    "disk_read_bytes_per_s": NOT_READ,
    "disk_write_bytes_per_s": NOT_READ,
}
NOT_RUNNING = "the instance is not running"
AFTER = "the instance was launched after this period"
SOURCES = {"memory_utilization": "cwagent", "filesystems": "cwagent", "uptime_s": "launch time"}
"""Where values are from that CloudWatch does not have of its own."""


def status_of(instance: Instance) -> WorkerStatus:
    """Return EC2's state as a worker's status."""
    return WorkerStatus(instance.state.replace("-", "_"))


def sample_of(worker: Worker, seen: Seen, instance: Instance, values: Values) -> MetricSample:
    """Return the sample of the newest closed period; its ``observed_at`` is the period's end."""
    end = datetime.fromtimestamp(values.end, UTC)
    metrics: dict[str, Any] = dict(values.metrics)
    missing = {**NEVER, **values.missing}
    if "cpu_utilization" in metrics:
        metrics["cpu_utilization"] = min(metrics["cpu_utilization"], 1.0)
    if "memory_utilization" in metrics:
        metrics["memory_utilization"] = min(metrics["memory_utilization"], 1.0)
    if values.filesystems:
        metrics["filesystems"] = values.filesystems
    uptime_s = _uptime_s(instance, end)
    if isinstance(uptime_s, str):
        missing["uptime_s"] = uptime_s
    else:
        metrics["uptime_s"] = uptime_s
    checks = StatusChecks.model_validate(seen.checks.model_dump() if seen.checks else dict.fromkeys(CHECKS))
    if seen.checks is None:
        missing |= {f"status_checks.{name}": seen.checks_missing for name in CHECKS}
    return MetricSample(
        worker_id=worker.id,
        worker_name=worker.name,
        provider=worker.provider,
        region=worker.region,
        observed_at=end,
        collected_at=max(seen.at, end),
        status=status_of(instance),
        status_checks=checks,
        metrics=Metrics.model_validate(metrics),
        missing={name: why for name, why in missing.items() if name not in metrics},
        sources={name: source for name, source in SOURCES.items() if name in metrics},
        period_s=values.period_s,
    )


def _uptime_s(instance: Instance, end: datetime) -> float | str:
    if instance.state != "running" or instance.launched_at is None:
        return NOT_RUNNING
    uptime_s = (end - instance.launched_at).total_seconds()
    return uptime_s if uptime_s >= 0 else AFTER
