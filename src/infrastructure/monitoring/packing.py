"""Pack a sample into some fifty bytes of a stream entry.

Redis stores small whole numbers in one to three bytes, and the names of equal fields once a node. So values become
whole numbers (fractions in ten-thousandths, loads in hundredths, which is all the digits that they have), null
becomes an empty text, and what seldom changes is the sample's *shape*: names, status, reasons, mount points, the
memory limit. A shape is stored once, and an entry holds its number.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic_core import from_json

from domain.monitoring.sample import CHECKS, FRACTION_DIGITS, LOAD_DIGITS, CheckStatus, MetricSample

SHAPE = "h"
DELAY = "c"
MOUNTS = "fs"
FRACTION = 10**FRACTION_DIGITS
LOAD = 10**LOAD_DIGITS

FIELDS: dict[str, tuple[str, int]] = {
    "cpu_utilization": ("cpu", FRACTION),
    "memory_utilization": ("mem", FRACTION),
    "load_1m": ("load", LOAD),
    "disk_read_bytes_per_s": ("dr", 1),
    "disk_write_bytes_per_s": ("dw", 1),
    "network_rx_bytes_per_s": ("rx", 1),
    "network_tx_bytes_per_s": ("tx", 1),
    "uptime_s": ("up", 1),
    "process_count": ("pc", 1),
}
"""Metric → the field's name in an entry, and what its value is multiplied by."""

CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def shape_of(sample: MetricSample) -> str:
    """Return what seldom changes, always in the same words."""
    checks, mounts = sample.status_checks, sample.metrics.filesystems
    shape: dict[str, Any] = {
        "worker_name": sample.worker_name,
        "provider": sample.provider,
        "region": sample.region,
        "status": sample.status,
        "status_checks": {name: getattr(checks, name) for name in CHECKS},
        "missing": sample.missing,
        "sources": sample.sources or None,
        "memory_limit_bytes": sample.metrics.memory_limit_bytes,
        "mounts": None if mounts is None else sorted(mounts),
    }
    if checks.attached_ebs is CheckStatus.NOT_APPLICABLE:
        del shape["status_checks"]["attached_ebs"]
    if sample.period_s is not None:
        shape["period_s"] = sample.period_s
    return CANONICAL.encode(shape)


def pack(sample: MetricSample) -> list[str | int]:
    """Return the fields of an entry, but for its shape: names and values in turn."""
    fields: list[str | int] = [DELAY, round((sample.collected_at - sample.observed_at) / timedelta(milliseconds=1))]
    for metric, (name, scale) in FIELDS.items():
        value = getattr(sample.metrics, metric)
        fields += [name, "" if value is None else round(value * scale)]
    mounts = sample.metrics.filesystems or {}
    return [*fields, MOUNTS, ",".join(str(round(mounts[mount] * FRACTION)) for mount in sorted(mounts))]


def unpack(worker_id: str, entry_id: str, fields: Mapping[str, str], shape: str) -> MetricSample:
    """Return the sample that was packed."""
    seldom: dict[str, Any] = from_json(shape)
    observed_at = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=int(entry_id.partition("-")[0]))
    metrics: dict[str, Any] = {"memory_limit_bytes": seldom.pop("memory_limit_bytes")}
    for metric, (name, scale) in FIELDS.items():
        text = fields.get(name, "")
        metrics[metric] = int(text) / scale if text else None
    mounts = seldom.pop("mounts")
    if mounts is not None:
        values = fields[MOUNTS].split(",") if mounts else []
        metrics["filesystems"] = {mount: int(value) / FRACTION for mount, value in zip(mounts, values, strict=True)}
    known = {name: value for name, value in seldom.items() if value is not None}
    return MetricSample.model_validate(
        {
            **known,
            "worker_id": worker_id,
            "observed_at": observed_at,
            "collected_at": observed_at + timedelta(milliseconds=int(fields[DELAY])),
            "metrics": metrics,
        }
    )
