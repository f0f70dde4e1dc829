"""Workers and samples as tables and sentences."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from infrastructure.cli.answers import Answer
from infrastructure.cli.output import NOTHING, Column, amount, field, percent, pick, shown
from infrastructure.cli.schedule_views import describe_rest, describe_trigger
from infrastructure.cli.times import describe_duration, describe_moment

Row = Mapping[str, Any]


def worker_columns(now: datetime) -> list[Column]:
    """Return the columns of a list of workers."""
    return [
        Column("ID", field("id")),
        Column("NAME", field("name")),
        Column("PROVIDER", field("provider")),
        Column("STATUS", field("status")),
        Column("MONITORING", lambda row: describe_monitoring(pick(row, "monitoring"))),
        Column("CPU", lambda row: percent(pick(row, "last_sample.metrics.cpu_utilization")), right=True),
        Column("MEMORY", lambda row: percent(pick(row, "last_sample.metrics.memory_utilization")), right=True),
        Column("LAST SAMPLE", lambda row: describe_moment(pick(row, "last_sample.observed_at"), now)),
    ]


def worker_facts(worker: Row, now: datetime) -> list[tuple[str, object]]:
    """Return what there is to say of one worker."""
    labels = worker.get("labels")
    named = [f"{name}={value}" for name, value in labels.items()] if isinstance(labels, Mapping) else []
    monitoring = worker.get("monitoring")
    return [
        ("Id", worker.get("id")),
        ("Name", worker.get("name")),
        ("Provider", worker.get("provider")),
        ("Account", worker.get("account")),
        ("Region", worker.get("region")),
        ("Instance", worker.get("instance_id")),
        ("Labels", named),
        ("Status", worker.get("status")),
        ("Since", describe_moment(worker.get("status_since"), now)),
        ("Because", worker.get("status_reason")),
        ("Registered", describe_moment(worker.get("created_at"), now)),
        ("Monitoring", describe_monitoring(monitoring)),
        *_monitoring_facts(monitoring, now),
        ("Last sample", describe_moment(pick(worker, "last_sample.observed_at"), now)),
        *_metric_facts(worker.get("last_sample")),
    ]


def sample_columns(now: datetime) -> list[Column]:
    """Return the columns of a list of samples."""
    return [
        Column("OBSERVED", lambda row: describe_moment(pick(row, "observed_at"), now)),
        Column("STATUS", field("status")),
        Column("CPU", lambda row: percent(pick(row, "metrics.cpu_utilization")), right=True),
        Column("MEMORY", lambda row: percent(pick(row, "metrics.memory_utilization")), right=True),
        Column("LOAD", field("metrics.load_1m"), right=True),
        Column("FULLEST FILESYSTEM", lambda row: _fullest(pick(row, "metrics.filesystems"))),
        Column("DISK READ", lambda row: amount(pick(row, "metrics.disk_read_bytes_per_s"), "B/s"), right=True),
        Column("DISK WRITE", lambda row: amount(pick(row, "metrics.disk_write_bytes_per_s"), "B/s"), right=True),
        Column("NET IN", lambda row: amount(pick(row, "metrics.network_rx_bytes_per_s"), "B/s"), right=True),
        Column("NET OUT", lambda row: amount(pick(row, "metrics.network_tx_bytes_per_s"), "B/s"), right=True),
    ]


def describe_monitoring(monitoring: object) -> str | None:
    """Return ``every 5 seconds``, or ``every 5 minutes, UTC, paused`` (or ``backing off``); None when nobody looks."""
    if not isinstance(monitoring, Mapping):
        return None
    standing = monitoring.get("status")
    rhythm = pick(monitoring, "when") or describe_trigger(monitoring) or NOTHING
    if pick(monitoring, "backing_off_until"):
        return f"{rhythm}, backing off"
    return rhythm if standing in (None, "active") else f"{rhythm}, {standing}"


def describe_put(worker_id: str, answer: Answer, now: datetime) -> str:
    """Say what ``workers monitor`` did."""
    first = "Watching" if answer.status == 201 else "Still watching"
    coming = describe_moment(answer.body.get("next_run_time"), now)
    next_look = "" if coming == "-" else f" Next look: {coming}."
    return f"{first} {worker_id}: {describe_monitoring(answer.body)}.{next_look}"


def bulk_columns() -> list[Column]:
    """Return the columns of what a bulk start did."""
    return [
        Column("ID", field("worker_id")),
        Column("RESULT", field("result")),
        Column("MONITORING", lambda row: describe_monitoring(pick(row, "monitoring"))),
        Column("WHY NOT", field("problem.detail")),
    ]


def describe_bulk(answer: Row) -> str:
    """Say in one line what a bulk start did."""
    counts = [f"{shown(answer.get(result))} {result}" for result in ("created", "changed", "unchanged", "failed")]
    return f"{', '.join(counts)}."


def import_columns() -> list[Column]:
    """Return the columns of what an import did."""
    return [
        Column("ID", field("id")),
        Column("NAME", field("name")),
        Column("REGION", field("region")),
        Column("OUTCOME", field("outcome")),
        Column("MONITORING", field("monitoring")),
        Column("PROBLEM", field("problem")),
    ]


def describe_import(result: Row) -> str:
    """Count what an import did."""
    count = ", ".join(f"{result.get(name, 0)} {name}" for name in ("created", "updated", "unchanged"))
    items = result.get("items")
    problems = sum(1 for item in items if pick(item, "problem")) if isinstance(items, list) else 0
    return f"Imported: {count}." + (f" With problems: {problems}." if problems else "")


def describe_removed(worker_id: str, before: Row) -> str:
    """Say what ``workers rm`` ended, by what was known before."""
    ended = [f"Worker {worker_id} is removed."]
    if isinstance(before.get("monitoring"), Mapping):
        ended.append("Its monitoring is stopped, its alerts are closed.")
    running = pick(before, "monitoring.running")
    if isinstance(running, list) and running:
        ended.append(f"Told to end: {', '.join(str(run) for run in running)}")
    return "\n".join(ended)


def _monitoring_facts(monitoring: object, now: datetime) -> list[tuple[str, object]]:
    if not isinstance(monitoring, Mapping):
        return []
    return [
        ("Paused", describe_rest(monitoring.get("pause"), now)),
        ("Parked", monitoring.get("parked_reason")),
        ("Next look", describe_moment(monitoring.get("next_run_time"), now)),
        ("Last look", describe_moment(monitoring.get("last_run_time"), now)),
        ("Last outcome", monitoring.get("last_outcome")),
        ("Last error", monitoring.get("last_error")),
        ("Failed looks", monitoring.get("failures") or None),
        ("Backing off until", describe_moment(monitoring.get("backing_off_until"), now)),
    ]


def _metric_facts(sample: object) -> list[tuple[str, object]]:
    """Return each metric with its value, or why it has none."""
    metrics, missing = pick(sample, "metrics"), pick(sample, "missing")
    if not isinstance(metrics, Mapping):
        return []
    reasons = missing if isinstance(missing, Mapping) else {}
    return [(name, _metric(name, value, reasons.get(name))) for name, value in metrics.items()]


def _metric(name: str, value: object, reason: object) -> object:
    if value is None:
        return f"- ({shown(reason)})" if reason else None
    if isinstance(value, Mapping):
        return [f"{mount}  {percent(used)}" for mount, used in value.items()]
    if name.endswith("_utilization"):
        return percent(value)
    if name.endswith("_bytes_per_s"):
        return amount(value, "B/s")
    if name.endswith("_bytes"):
        return amount(value, "B")
    if name.endswith("_s") and isinstance(value, int | float):
        return describe_duration(value)
    return value


def _fullest(filesystems: object) -> str | None:
    if not isinstance(filesystems, Mapping):
        return None
    used = {mount: part for mount, part in filesystems.items() if isinstance(part, int | float)}
    if not used:
        return None
    mount = max(used, key=lambda name: used[name])
    return f"{mount}  {percent(used[mount])}"
